# SPDX-License-Identifier: GPL-2.0
"""make qemu: QEMU with the Switchtec NTB model, in build/qemu/bin.

Debian's source package plus qemu/: the model, the hooks that build it and the
devices that the lab needs, nothing else. A second run compiles what changed.
Programs of this folder are complete: each gets its name when it is linked.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Optional

from scripts import apt
from scripts.workbench import (BUILD, ROOT, UNSHARED, StepFailed, die, jobs, locked,
                               run_step, say)

SUITE, VERSION = "trixie", "10.0."
HOME = BUILD / "qemu"
SOURCE = HOME / "source"
# Below the source: then QEMU names its sources by relative paths, and ccache
# serves every clone of this repository
OBJECTS = SOURCE / "build"
BIN = HOME / "bin"
CONFIGURED = HOME / "configured"        # what OBJECTS was configured from
PUBLISHED = HOME / "published"          # and what BIN was built from
NEEDED_BYTES = 2 << 30

OURS = ROOT / "qemu"
MODEL = ("switchtec-ntb.c", "switchtec-regs.h")     # to hw/misc
OBJECT = "hw_misc_switchtec-ntb.c.o"
HOOKS = OURS / "build-hooks.patch"
DEVICES = OURS / "devices.mak"
# Arm's takes long, and nobody starts it without ARM64=1. It stays once it is there
TARGETS = ("x86_64", *["aarch64"] * (os.environ.get("ARM64") == "1" or
                                     (BIN / "qemu-system-aarch64").exists()))
PROGRAMS = [f"qemu-system-{target}" for target in TARGETS]
# The model alone is instrumented: the rest of QEMU is not on trial
SANITIZED = "qemu-system-x86_64-sanitized"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")

CONFIGURE = (
    "--target-list=" + ",".join(f"{t}-softmmu" for t in TARGETS),
    "--without-default-features", "--without-default-devices",
    *(f"--with-devices-{t}=lab" for t in TARGETS),
    "--enable-system", "--enable-tcg", "--enable-fdt=system",
    "--disable-tools", "--disable-docs", "--disable-debug-info",
    # Firmware comes with Debian's QEMU
    "--disable-install-blobs",
    "--firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu",
    "--disable-download", "--python=/usr/bin/python3")
MESON_NEEDED = (1, 5)


def digest(*parts: Path | str) -> str:
    summed = hashlib.sha256()
    for part in parts:
        text = part.read_bytes() if isinstance(part, Path) else part.encode()
        summed.update(len(text).to_bytes(8, "big") + text)
    return summed.hexdigest()


def configuration() -> str:
    """Changes when QEMU must be configured anew."""
    return digest(HOOKS, DEVICES, *(OURS / f"{t}.mak" for t in TARGETS),
                  SUITE, VERSION, str(SOURCE), *CONFIGURE)


def contents() -> str:
    """Changes when the programs must be built anew."""
    return digest(configuration(), *(OURS / name for name in MODEL), *SANITIZE)


def program(arch: str) -> Path:
    """The program for a kernel architecture, whether it is built or not."""
    return BIN / f"qemu-system-{'aarch64' if arch == 'arm64' else arch}"


def recorded(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def built() -> bool:
    """Are the programs there, and made from what qemu/ has now?"""
    return (recorded(PUBLISHED) == contents() and
            all((BIN / name).exists() for name in [*PROGRAMS, SANITIZED]))


def meson_path() -> Optional[Path]:
    """Where a meson of bookworm-backports is unpacked; None if the system's
    own is new enough for QEMU."""
    if shutil.which("meson"):
        said = subprocess.run(["meson", "--version"], capture_output=True,
                              text=True, check=False).stdout
        numbers = re.match(r"(\d+)\.(\d+)", said)
        if numbers and (int(numbers[1]), int(numbers[2])) >= MESON_NEEDED:
            return None
    folder = HOME / "meson"
    if not folder.exists():
        suite = f"{apt.release().get('VERSION_CODENAME', 'bookworm')}-backports"
        apt.unpack(apt.fetch_deb("meson", suite), folder)
    return folder / "usr/lib/python3/dist-packages"


def environment() -> dict[str, str]:
    env = {"CCACHE_BASEDIR": str(SOURCE), "CCACHE_NOHASHDIR": "1", **UNSHARED}
    if meson := meson_path():
        env["PYTHONPATH"] = str(meson)
    if shutil.which("ccache"):
        env["CC"] = "ccache gcc"
    return env


def unpack() -> None:
    """Debian's source with our hooks, under its name once it is complete."""
    if shutil.disk_usage(HOME).free < NEEDED_BYTES:
        raise StepFailed(f"{HOME}: {NEEDED_BYTES >> 30} GiB of free space are "
                         f"needed to build QEMU")
    dsc = apt.fetch_source("qemu", SUITE, VERSION)
    partial = HOME / "source.partial"
    for folder in (partial, SOURCE):
        shutil.rmtree(folder, ignore_errors=True)
    run_step(f"Unpack {dsc.name}",
             ["dpkg-source", "--no-check", "-x", dsc, partial], cwd=HOME,
             timeout=600)
    try:
        run_step("Apply the hooks of the NTB model",
                 ["patch", "-p1", "--fuzz=0", "-i", HOOKS], cwd=partial)
    except StepFailed as error:
        raise StepFailed(f"{HOOKS.relative_to(ROOT)} does not apply to "
                         f"{dsc.name}: {error}") from None
    partial.rename(SOURCE)


def copy_ours() -> None:
    """Copy qemu/ into the source; an unchanged file keeps its time."""
    where = {OURS / name: SOURCE / "hw/misc" / name for name in MODEL}
    devices = SOURCE / "configs/devices"
    where[DEVICES] = devices / "lab.mak"
    for target in TARGETS:
        where[OURS / f"{target}.mak"] = devices / f"{target}-softmmu/lab.mak"
    for ours, theirs in where.items():
        if not theirs.exists() or theirs.read_bytes() != ours.read_bytes():
            shutil.copyfile(ours, theirs)


def configure(env: dict[str, str]) -> None:
    CONFIGURED.unlink(missing_ok=True)
    unpack()
    copy_ours()
    OBJECTS.mkdir()
    run_step("Configure QEMU", ["../configure", *CONFIGURE], cwd=OBJECTS,
             env=env, timeout=600)
    CONFIGURED.write_text(configuration())


def publish(path: Path, name: str) -> None:
    unfinished = BIN / f".{name}"
    shutil.copy2(path, unfinished)
    unfinished.rename(BIN / name)


def link_sanitized(env: dict[str, str]) -> None:
    """A second x86-64 program from the same objects, but for the model's."""
    compdb = subprocess.run(["ninja", "-t", "compdb", "-x"], cwd=OBJECTS,
                            capture_output=True, text=True, check=True).stdout
    commands = {entry["output"]: shlex.split(entry["command"])
                for entry in json.loads(compdb)}
    plain = next(name for name in commands if name.endswith(OBJECT))
    checked = plain.removesuffix(".o") + ".sanitized.o"

    def swap(command: list[str]) -> list[str]:
        return [checked if word == plain else word for word in command]

    link = swap(commands[PROGRAMS[0]])
    if checked not in link:
        raise StepFailed(f"QEMU's link command does not name {plain}")
    link[link.index("-o") + 1] = SANITIZED
    run_step("Compile the NTB model with sanitizers",
             [*swap(commands[plain]), *SANITIZE], cwd=OBJECTS, env=env)
    run_step(f"Link {SANITIZED}", [*link, *SANITIZE], cwd=OBJECTS, env=env)


def build() -> None:
    """Bring build/qemu/bin up to date; StepFailed says what is missing."""
    HOME.mkdir(parents=True, exist_ok=True)
    with locked("qemu"):
        if built():
            return
        env = environment()
        if recorded(CONFIGURED) != configuration():
            configure(env)
        copy_ours()
        run_step("Build QEMU with the NTB model",
                 ["ninja", f"-j{jobs()}", *PROGRAMS], cwd=OBJECTS, env=env,
                 timeout=3600)
        link_sanitized(env)
        BIN.mkdir(exist_ok=True)
        for name in [*PROGRAMS, SANITIZED]:
            publish(OBJECTS / name, name)
        PUBLISHED.write_text(contents())


def main() -> None:
    if own := os.environ.get("QEMU"):
        say(f"QEMU={own} is used, nothing to build")
        return
    try:
        build()
    except (StepFailed, subprocess.SubprocessError, OSError) as error:
        die(f"{error}\nQEMU with the NTB model was not built; the lab runs the "
            f"cases that the system's QEMU can. To use a QEMU of your own: "
            f"QEMU=<program>")
    say(f"QEMU with the NTB model is up to date: {BIN}")


if __name__ == "__main__":
    main()
