# SPDX-License-Identifier: GPL-2.0
"""Which configurations make deb takes; lab/test_deb.py boots what it builds."""

from pathlib import Path

import pytest

from scripts import deb

GOOD = "CONFIG_PCI_QUIRKS=y\nCONFIG_NTB_SWITCHTEC=m\nCONFIG_AMD_IOMMU=y\n"


@pytest.mark.parametrize("text, lacking", [
    (GOOD, []),
    (GOOD.replace("AMD", "INTEL"), []),
    (GOOD.replace("CONFIG_NTB_SWITCHTEC=m", "# CONFIG_NTB_SWITCHTEC is not set"),
     ["CONFIG_NTB_SWITCHTEC"]),
    ("CONFIG_PCI_QUIRKS=y\n",
     ["CONFIG_NTB_SWITCHTEC", "CONFIG_INTEL_IOMMU or CONFIG_AMD_IOMMU"])])
def test_essential_options(tmp_path: Path, text: str, lacking: list[str]) -> None:
    config = tmp_path / "config"
    config.write_text(text)
    assert deb.unset(config) == lacking


def test_own_fragment_is_enough() -> None:
    assert not deb.unset(deb.OWN_CONFIG)
