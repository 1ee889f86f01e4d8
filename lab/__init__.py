# SPDX-License-Identifier: GPL-2.0
"""Boots kernels on machines that QEMU makes, and looks at their IOMMU groups."""


class LabError(Exception):
    """The lab could not do what it was asked; the text is for the user."""
