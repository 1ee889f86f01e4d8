# SPDX-License-Identifier: GPL-2.0
"""The contract between PCI, IOMMU core and driver core, and its proof."""
