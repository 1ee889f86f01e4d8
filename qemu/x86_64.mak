# SPDX-License-Identifier: GPL-2.0
include ../lab.mak

CONFIG_Q35=y
CONFIG_VTD=y
CONFIG_AMD_IOMMU=y
CONFIG_ISA_DEBUG=y
