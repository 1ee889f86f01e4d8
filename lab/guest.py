# SPDX-License-Identifier: GPL-2.0
"""Builds the guest's programs and the initramfs that carries them."""

import os
from pathlib import Path

from lab import LabError
from lab.kernel import ALONE, CONFIGS, VFIO, Kernel
from scripts.workbench import BUILD, kbuild, locked, run_step

SOURCES = Path(__file__).resolve().parent / "guest"
SHARED = SOURCES / "guest.c"
COMPILERS = {"x86_64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}
TIMEOUT = CONFIGS / "selftest_timeout.h"
BUSYBOX = Path("/bin/busybox")
# VFIO's own, but for two that take or measure much time
VFIO_SELFTESTS = ("vfio_dma_mapping_test", "vfio_dma_mapping_mmio_test",
                  "vfio_iommufd_setup_test", "vfio_pci_device_test",
                  "vfio_pci_sriov_uapi_test")
FLAGS = ("-static", "-Os", "-s", "-std=gnu11", "-D_GNU_SOURCE",
         "-Wall", "-Wextra", "-Werror")


def stale(target: Path, *sources: Path) -> bool:
    return not target.exists() or any(
        s.stat().st_mtime_ns > target.stat().st_mtime_ns for s in sources)


def build_programs(arch: str) -> list[Path]:
    """Compile every program of lab/guest that is older than its source."""
    out = BUILD / "lab" / f"guest-{arch}"
    out.mkdir(parents=True, exist_ok=True)
    programs = []
    for source in sorted(SOURCES.glob("*.c")):
        if source == SHARED:
            continue
        program = out / source.stem
        programs.append(program)
        if stale(program, source, SHARED, SOURCES / "guest.h", Path(__file__)):
            unfinished = program.with_suffix(".tmp")
            run_step(f"compile guest program {source.stem} for {arch}",
                     [COMPILERS[arch], *FLAGS, "-o", unfinished, source, SHARED],
                     log=f"lab-guest-{arch}-{source.stem}")
            unfinished.rename(program)
    return programs


def iommufd_selftests(selftests: Path) -> dict[str, list[str | Path]]:
    return {name: ["-include", selftests / "kselftest_harness.h", "-include", TIMEOUT,
                   selftests / f"iommu/{name}.c", "-lcap"]
            for name in ("iommufd", "iommufd_fail_nth")}


def vfio_selftests(selftests: Path) -> dict[str, list[str | Path]]:
    vfio = selftests / "vfio"
    shared = sorted((vfio / "lib").rglob("*.c"))
    return {name: [vfio / f"{name}.c", *shared, "-I", vfio / "lib/include",
                   "-I", selftests.parents[1] / "include", "-luuid", "-pthread"]
            for name in VFIO_SELFTESTS}


# The kernel's own, in kernels of these variants
SELFTESTS = {ALONE: iommufd_selftests, VFIO: vfio_selftests}


def build_selftests(kernel: Kernel) -> list[Path]:
    """Compile the kernel's own selftests from the sources of @kernel's tree."""
    selftests = kernel.tree / "tools/testing/selftests"
    out = BUILD / "lab" / f"selftests-{kernel.label}"
    out.mkdir(parents=True, exist_ok=True)
    run_step(f"install the headers of {kernel.label}",
             kbuild(kernel.tree, kernel.out.name, kernel.arch, "headers"),
             log=f"lab-headers-{kernel.label}")
    programs = []
    for name, how in SELFTESTS[kernel.variant](selftests).items():
        program = out / name
        programs.append(program)
        sources = [part for part in how if str(part).endswith(".c")]
        if stale(program, *sources, TIMEOUT, Path(__file__)):
            unfinished = program.with_suffix(".tmp")
            run_step(f"compile selftest {name} of {kernel.label}",
                     [COMPILERS[kernel.arch], "-static", "-O2", "-D_GNU_SOURCE=",
                      "-Wall", "-Wno-unused-function",
                      "-isystem", kernel.out / "usr/include", "-I", selftests,
                      "-o", unfinished, *how],
                     log=f"lab-selftest-{kernel.label}-{name}")
            unfinished.rename(program)
    return programs


def build_initramfs(kernel: Kernel) -> Path:
    """The initramfs for @kernel: the programs in /bin, /init, its modules."""
    out = BUILD / "lab"
    with locked(f"lab-guest-{kernel.arch}"):
        programs = build_programs(kernel.arch)
        if kernel.variant in SELFTESTS:
            programs += build_selftests(kernel)
    modules = kernel.modules()
    lines = [f"dir {d} 0755 0 0" for d in
             ("/dev", "/proc", "/sys", "/tmp", "/bin", "/modules")]
    # For messages of init before it has mounted devtmpfs
    lines.append("nod /dev/console 0600 0 0 c 5 1")
    lines += [f"file /bin/{p.name} {p} 0755 0 0" for p in programs]
    lines.append("slink /init bin/init 0755 0 0")
    lines += [f"file /modules/{m.name} {m} 0644 0 0" for m in modules]

    tool = kernel.out / "usr/gen_init_cpio"
    if not tool.exists():
        raise LabError(f"{tool} is missing: build the kernel first")
    with locked(f"lab-initramfs-{kernel.label}"):
        description = out / f"initramfs-{kernel.label}.list"
        archive = out / f"initramfs-{kernel.label}.cpio"
        text = "\n".join(lines) + "\n"
        if (not description.exists() or description.read_text() != text or
                stale(archive, *programs, *modules)):
            description.write_text(text)
            unfinished = archive.with_suffix(".tmp")
            run_step(f"pack initramfs for {kernel.label}",
                     [tool, "-o", unfinished, description],
                     log=f"lab-initramfs-{kernel.label}")
            os.replace(unfinished, archive)
    return archive


def extend_initramfs(kernel: Kernel, initramfs: Path, what: str,
                     lines: list[str]) -> Path:
    """@initramfs for @kernel, and @lines as gen_init_cpio takes them. The kernel
    unpacks one archive after the other: the second can do without the first's
    folders."""
    name = BUILD / "lab" / f"initramfs-{what}-{kernel.label}"
    description, archive = name.with_suffix(".list"), name.with_suffix(".cpio")
    own = name.with_suffix(".own.cpio")
    with locked(name.name):
        description.write_text("\n".join(lines) + "\n")
        run_step(f"pack {what} for {kernel.label}",
                 [kernel.out / "usr/gen_init_cpio", "-o", own, description],
                 log=f"lab-{name.name}")
        archive.write_bytes(initramfs.read_bytes() + own.read_bytes())
    return archive


def busybox(*applets: str) -> list[str]:
    """Lines for extend_initramfs()."""
    return [f"file {BUSYBOX} {BUSYBOX} 0755 0 0",
            *(f"slink /bin/{applet} busybox 0755 0 0" for applet in applets)]
