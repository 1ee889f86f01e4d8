# SPDX-License-Identifier: GPL-2.0
"""make deb: Debian packages of the patched kernel for x86-64, in build/deb.

CONFIG= names the configuration, as /boot/config-* of the host that the packages
are for. Without it x86_64_defconfig and scripts/deb.config are taken.
"""

import os
import re
import shutil
from pathlib import Path

from scripts import deps, git, tree
from scripts.workbench import (BUILD, LINUX, ROOT, StepFailed, die, jobs, kbuild,
                               locked, run_step, say)

DEB = BUILD / "deb"
SERIES = DEB / "series"        # the hash of the tree that they were built from
OUT = ".deb-x86_64"
OWN_CONFIG = ROOT / "scripts/deb.config"
ARCH = "x86_64"
# Part of the release, so that the packages stand beside the distribution's
LOCALVERSION = "-iommu-groups"
TIMEOUT = 6 * 3600
NEEDED_BYTES = 12 << 30
PACKAGES = {
    "debhelper": "dh",
    "libdw-dev": "/usr/include/elfutils/libdw.h",
    "rsync": "rsync",
}
# Without one of these the packages are of no use on a host with an NTB
ESSENTIAL = (("PCI_QUIRKS",), ("NTB_SWITCHTEC",), ("INTEL_IOMMU", "AMD_IOMMU"))
# Keys that only a distribution's build has; debug information, which takes ten
# times the room
CHANGES = ("--set-str", "SYSTEM_TRUSTED_KEYS", "",
           "--set-str", "SYSTEM_REVOCATION_KEYS", "",
           "--disable", "DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT",
           "--disable", "DEBUG_INFO_DWARF4", "--disable", "DEBUG_INFO_DWARF5",
           "--enable", "DEBUG_INFO_NONE")


def options(config: Path) -> set[str]:
    """The options that are built in or modules."""
    return set(re.findall(r"(?m)^CONFIG_(\w+)=[ym]$", config.read_text()))


def unset(config: Path) -> list[str]:
    """What @config lacks of ESSENTIAL."""
    has = options(config)
    return [" or ".join(f"CONFIG_{name}" for name in names)
            for names in ESSENTIAL if not has & set(names)]


def configure(given: str | None) -> None:
    """Write .config, and refuse one that is of no use."""
    out = LINUX / OUT
    out.mkdir(exist_ok=True)
    config = out / ".config"
    if given:
        if not Path(given).is_file():
            raise StepFailed(f"CONFIG={given}: no such file")
        shutil.copyfile(given, config)
    else:
        run_step("Default configuration", kbuild(LINUX, OUT, ARCH, "x86_64_defconfig"),
                 log="deb-config")
        with config.open("a") as default:
            default.write(OWN_CONFIG.read_text())
    run_step("Change the configuration",
             ["scripts/config", "--file", config, *CHANGES], cwd=LINUX,
             log="deb-config")
    run_step("Complete the configuration", kbuild(LINUX, OUT, ARCH, "olddefconfig"),
             log="deb-config")
    lacking = unset(config) if given else [
        f"CONFIG_{name}" for name in sorted(options(OWN_CONFIG) - options(config))]
    if lacking:
        raise StepFailed(f"{given or OWN_CONFIG}: this kernel is without "
                         f"{', '.join(lacking)}: not set, or what it depends on is "
                         "not set")


def build(given: str | None) -> list[Path]:
    """Returns the packages, which replace those of an earlier run."""
    deps.require(PACKAGES)
    on = tree.make_tree()
    if shutil.disk_usage(BUILD).free < NEEDED_BYTES:
        raise StepFailed(f"{BUILD}: {NEEDED_BYTES >> 30} GiB of free space are "
                         "needed to build the packages")
    with locked("deb"):
        configure(given)
        # kbuild leaves them beside its output folder
        products = ("*.deb", "*.changes", "*.buildinfo")
        for pattern in products:
            for old in LINUX.glob(pattern):
                old.unlink()
        run_step(f"Build packages of {on.version} with the series",
                 kbuild(LINUX, OUT, ARCH, f"LOCALVERSION={LOCALVERSION}",
                        "bindeb-pkg"),
                 env={"DEB_BUILD_OPTIONS": f"parallel={jobs()} terse"},
                 log="deb-build", timeout=TIMEOUT)
        # what was not built from a series on record is no proof of one
        series = None if tree.unrefreshed() else git.resolve(LINUX, "series^{tree}")
        DEB.mkdir(exist_ok=True)
        for old in DEB.iterdir():
            old.unlink()
        for pattern in products:
            for product in LINUX.glob(pattern):
                product.rename(DEB / product.name)
        if series:
            SERIES.write_text(series + "\n")
    return sorted(DEB.glob("*.deb"))


def main() -> None:
    try:
        packages = build(os.environ.pop("CONFIG", None))
    except StepFailed as error:
        die(str(error))
    for package in packages:
        say(f"{package.relative_to(ROOT)}  {package.stat().st_size >> 20} MiB")
    say("install: apt install ./" + next(
        str(package.relative_to(ROOT)) for package in packages
        if package.name.startswith("linux-image")) + " (docs/hosts.md)")


if __name__ == "__main__":
    main()
