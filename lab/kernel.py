# SPDX-License-Identifier: GPL-2.0
"""Builds the lab's kernels: the stock tree and the series, in one way."""

import argparse
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab import LabError
from scripts.tree import make_tree
from scripts.workbench import (LINUX, STOCK, UNSHARED, StepFailed, die, kbuild,
                               locked, run_step)

CONFIGS = Path(__file__).resolve().parent / "kernel"
LATE_ALIAS = CONFIGS / "edu_late_alias.h"
ALIGNED = CONFIGS / "switchtec_aligned.h"
RACE = CONFIGS / "kcsan_control.h"
LEAK = CONFIGS / "kmemleak_control.h"
PORTS = CONFIGS / "port_control.h"

# Names of fragments; that of ALONE is not added to the architecture's
ALONE = "iommufd"
DEBUG = "debug"
KCSAN = "kcsan"
MODULE = "module"
ACPI = "acpi"               # of arm64; x86-64 has it anyway
VFIO = "vfio"
VARIANTS = (DEBUG, KCSAN, MODULE, ACPI, VFIO, ALONE)
# Few objects depend on what these change
CLOSE = (MODULE, ACPI)

# What QEMU starts: ELF through PVH on x86-64, the flat image on arm64.
IMAGES = {"x86_64": "vmlinux", "arm64": "arch/arm64/boot/Image"}


@dataclass(frozen=True)
class Kernel:
    """A built kernel."""
    name: str       # "stock" or "series"
    arch: str
    variant: str    # "" or some of VARIANTS, with "-" between
    out: Path       # kbuild's output directory

    @property
    def tree(self) -> Path:
        return self.out.parent

    @property
    def image(self) -> Path:
        return self.out / IMAGES[self.arch]

    @property
    def label(self) -> str:
        return "-".join(filter(None, (self.name, self.arch, self.variant)))

    @property
    def release(self) -> str:
        return (self.out / "include/config/kernel.release").read_text().strip()

    def modules(self) -> list[Path]:
        return [(self.out / line).with_suffix(".ko") for line in
                (self.out / "modules.order").read_text().split()]


@dataclass(frozen=True)
class Packaged(Kernel):
    """A kernel of make deb, as its package installs it."""
    files: Path     # what the package holds

    @property
    def image(self) -> Path:
        return next((self.files / "boot").glob("vmlinuz-*"))

    def modules(self) -> list[Path]:
        return sorted((self.files / "lib/modules").rglob("ntb_*.ko"))


def trees() -> dict[str, Path]:
    """Where the kernels' sources are; LAB_STOCK and LAB_SERIES override."""
    return {"stock": Path(os.environ.get("LAB_STOCK", STOCK)).resolve(),
            "series": Path(os.environ.get("LAB_SERIES", LINUX)).resolve()}


def make_trees() -> None:
    """Bring the default trees up to date with patches/ and linux/."""
    if not {"LAB_STOCK", "LAB_SERIES"} & set(os.environ):
        make_tree()


def fragments_of(arch: str, variant: str) -> list[Path]:
    names = [variant] if variant == ALONE else [arch, *variant.split("-")]
    return [CONFIGS / f"{name}.config" for name in names if name]


def configure(tree: Path, out: Path, arch: str, fragments: list[Path]) -> None:
    """Write .config from @fragments, and check that kconfig took them."""
    for fragment in fragments:
        if not fragment.exists():
            raise LabError(f"no kernel configuration {fragment}")
    wanted = "".join(f.read_text() for f in fragments)
    config, fragment = out / ".config", out / ".lab-fragment"
    out.mkdir(exist_ok=True)
    fragment.write_text(wanted)
    run_step(f"configure {out.parent.name} {out.name.lstrip('.')}",
             kbuild(tree, out.name, arch, "allnoconfig"),
             env={"KCONFIG_ALLCONFIG": str(fragment)},
             log=f"lab-config-{out.parent.name}{out.name}")
    taken = set(config.read_text().splitlines())
    # The last word on an option counts, for kconfig as here
    options = {line.partition("=")[0]: line for line in wanted.splitlines()
               if line.startswith("CONFIG_")}
    missing = [line for line in options.values() if line not in taken]
    if missing:
        config.unlink()
        raise LabError(f"{tree}: kconfig did not take {', '.join(missing)} of "
                       f"{', '.join(f.name for f in fragments)}: an option was "
                       f"renamed, or what it depends on is not set")


def borrow_objects(kernel: Kernel) -> None:
    """Let a variant's first build begin with the objects of the kernel that it
    varies. kbuild knows which of them depend on an option that differs; ccache
    has to preprocess each source to find out, which takes minutes."""
    parts = [part for part in kernel.variant.split("-") if part]
    if kernel.out.exists() or not parts or set(parts) - set(CLOSE):
        return
    for count in range(len(parts) - 1, -1, -1):
        near = kernel.tree / "-".join([f".lab-{kernel.arch}", *parts[:count]])
        if not near.exists():
            continue
        unfinished = kernel.out.with_name(f"{kernel.out.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with locked(f"lab-{kernel.name}{near.name}"):
            run_step(f"copy {near.name} to {kernel.out.name}",
                     ["cp", "-a", near, unfinished],
                     log=f"lab-copy-{kernel.label}")
        move_tools(unfinished, near, kernel.out)
        unfinished.rename(kernel.out)
        return


def move_tools(folder: Path, old: Path, new: Path) -> None:
    """Tell tools/build, which notes absolute paths, that the build folder @old is
    at @new now: objtool would be built anew, and after it all that it checks."""
    for note in folder.glob("tools/**/.*"):
        if note.suffix in (".cmd", ".d"):
            times = note.stat()
            note.write_text(note.read_text().replace(f"{old}/", f"{new}/"))
            os.utime(note, ns=(times.st_atime_ns, times.st_mtime_ns))


def build_kernel(name: str, arch: str = "x86_64", variant: str = "") -> Kernel:
    """Build the kernel @name ("stock", "series") and return it."""
    tree = trees()[name]
    if not (tree / "Kbuild").exists():
        raise LabError(f"no kernel source in {tree}: run 'make tree'")
    out = tree / ("-".join(filter(None, (f".lab-{arch}", variant))))
    kernel = Kernel(name, arch, variant, out)
    # kbuild names sources relative to its output directory, see kbuild()
    included = [LATE_ALIAS, *[RACE] * (KCSAN in variant),
                *[LEAK] * (DEBUG in variant)]
    flags = ["CFLAGS_pci-sysfs.o=" + " ".join(
        f"-include {os.path.relpath(path, out)}" for path in included),
             f"CFLAGS_portdrv.o=-include {os.path.relpath(PORTS, out)}"]
    if (name, arch) == ("stock", "arm64"):
        flags.append("CFLAGS_ntb_hw_switchtec.o=-include " +
                     os.path.relpath(ALIGNED, out))
    with locked(f"lab-{name}{out.name}"):
        borrow_objects(kernel)
        configure(tree, out, arch, fragments_of(arch, variant))
        run_step(f"build {name} kernel {tree.name}/{out.name}",
                 kbuild(tree, out.name, arch, *flags,
                        # the PVH entry calls memcmp() before KASAN is set up
                        "KASAN_SANITIZE_string.o=n",
                        Path(IMAGES[arch]).name, "modules"),
                 # variants borrow from it, see above
                 env={} if variant else UNSHARED, log=f"lab-build-{kernel.label}")
    # ALONE has no driver of ports
    symbols = (out / "System.map").read_text()
    for symbol, path, where in (("lab_edu_late_alias", LATE_ALIAS, "pci-sysfs"),
                                ("lab_link_to_port", PORTS, "pcie/portdrv")):
        if symbol not in symbols and (path, variant) != (PORTS, ALONE):
            raise LabError(f"{kernel.image} lacks what {path.name} adds: "
                           f"drivers/pci/{where}.c is no longer built as "
                           f"CFLAGS_{Path(where).name}.o assumes")
    return kernel


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m lab.kernel",
                                     description=__doc__)
    parser.add_argument("name", choices=trees(), nargs="?", default="series")
    parser.add_argument("arch", choices=IMAGES, nargs="?", default="x86_64")
    parser.add_argument("variant", choices=("", *VARIANTS), nargs="?", default="")
    try:
        print(build_kernel(**vars(parser.parse_args())).image)
    except (LabError, StepFailed) as error:
        die(str(error))


if __name__ == "__main__":
    main()
