# SPDX-License-Identifier: GPL-2.0
"""What the series costs a machine that has no DMA aliases."""
