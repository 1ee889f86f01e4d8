# SPDX-License-Identifier: GPL-2.0
"""make deps: install what the workbench needs and the system does not have.

Each Debian package is listed with something that shows it is there: a
command, a file or a Python module. So nothing but the missing is asked of
apt, and a system without apt is told what to install its own way.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.workbench import StepFailed, die, run_step, say

PACKAGES = {
    # what kbuild runs, and the headers its host programs use
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "cpio": "cpio",
    "kmod": "kmod",
    "xz-utils": "xz",
    "libc6-dev": "/usr/include/stdio.h",
    "libelf-dev": "/usr/include/libelf.h",
    "libssl-dev": "/usr/include/openssl/ssl.h",
    # the arm64 machines
    "gcc-aarch64-linux-gnu": "aarch64-linux-gnu-gcc",
    "libc6-dev-arm64-cross": "/usr/aarch64-linux-gnu/include/stdio.h",
    # one build's objects serve the other trees
    "ccache": "ccache",
    # the series: trees, mails
    "git": "git",
    "b4": "b4",
    # make check
    "sparse": "sparse",
    "codespell": "codespell",
    "python3-ply": "module ply",
    "python3-git": "module git",
    # the tests
    "python3-pytest": "module pytest",
    "python3-pytest-subtests": "module pytest_subtests",
    # the machines of the lab
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-system-arm": "qemu-system-aarch64",
    "qemu-efi-aarch64": "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
    # make same: iommufd's selftest, and VFIO's
    "libcap-dev": "/usr/include/sys/capability.h",
    "uuid-dev": "/usr/include/uuid/uuid.h",
    # and the script of the NTB drivers
    "bash-static": "/bin/bash-static",
    # the selftest of IOMMU groups in a guest: kselftest installs, and is a shell
    # script there
    "rsync": "rsync",
    "busybox-static": "/bin/busybox",
    # make model
    "spin": "spin",
    # make qemu
    "ninja-build": "ninja",
    "pkg-config": "pkg-config",
    "dpkg-dev": "dpkg-source",
    "patch": "patch",
    "libglib2.0-dev": "/usr/include/glib-2.0/glib.h",
    "libfdt-dev": "/usr/include/libfdt.h",
    "python3-venv": "module ensurepip",
    "python3-setuptools": "module setuptools",
}


def present(witness: str) -> bool:
    kind, _, name = witness.rpartition(" ")
    if kind == "module":
        return importlib.util.find_spec(name) is not None
    if witness.startswith("/"):
        return Path(witness).exists()
    return shutil.which(witness) is not None


def missing(packages: dict[str, str]) -> list[str]:
    return [name for name, witness in packages.items() if not present(witness)]


def require(packages: dict[str, str]) -> None:
    """Install those of @packages (name: what shows it) that are missing."""
    lacking = missing(packages)
    if not lacking:
        return
    what = " ".join(lacking)
    say(f"missing: {what}")
    command = f"apt-get install --no-install-recommends {what}"
    if not shutil.which("apt-get"):
        raise StepFailed("this system has no apt-get; install what Debian calls: "
                         f"{what}")
    if os.geteuid() != 0:
        raise StepFailed(f"missing: {what}\nas root: {command}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run_step("Package lists", ["apt-get", "-o", "Acquire::Retries=2", "-o",
                                   "Acquire::http::Timeout=30", "update"], env=env,
                 timeout=300)
        run_step(f"Install {len(lacking)} packages",
                 ["apt-get", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=2",
                  "-o", "DPkg::Lock::Timeout=120", "install", "-y",
                  "--no-install-recommends", *lacking], env=env,
                 log="install-packages", timeout=1800)
    except StepFailed as error:
        raise StepFailed(f"{error}\nmissing: {what}\nwith a network: {command}"
                         ) from None
    importlib.invalidate_caches()
    if left := missing(packages):
        raise StepFailed(f"still missing after their installation: {' '.join(left)}")


def main() -> None:
    if sys.version_info < (3, 11):
        die(f"Python {sys.version.split()[0]} is too old, 3.11 is needed")
    try:
        require(PACKAGES)
    except (StepFailed, subprocess.SubprocessError) as error:
        die(str(error))


if __name__ == "__main__":
    main()
