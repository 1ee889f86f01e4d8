# SPDX-License-Identifier: GPL-2.0
include ../lab.mak

CONFIG_ARM_VIRT=y
