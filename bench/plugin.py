# SPDX-License-Identifier: GPL-2.0
"""The plugins that count what QEMU executes."""

import re
import subprocess
from pathlib import Path

from lab import LabError
from lab.vm import qemu_binary
from scripts.workbench import BUILD, run_step

# The oldest interface that a QEMU of this major version takes
API = {7: 1, 8: 1, 9: 2, 10: 2}


def build(name: str) -> Path:
    """Compile bench/@name.c for the QEMU that the lab uses."""
    version = subprocess.run([qemu_binary("x86_64"), "--version"], text=True,
                             capture_output=True, timeout=60, check=True).stdout
    found = re.search(r"version (\d+)\.", version)
    if not found or int(found[1]) not in API:
        raise LabError(f"no plugin interface known for '{version.strip()}'; "
                       f"QEMU= can name another one")
    out = BUILD / "bench"
    out.mkdir(parents=True, exist_ok=True)
    plugin = out / f"{name}.so"
    run_step(f"compile the plugin {name}",
             ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror",
              "-Wno-unused-parameter", f"-DPLUGIN_API={API[int(found[1])]}",
              "-o", plugin, Path(__file__).resolve().parent / f"{name}.c"])
    return plugin
