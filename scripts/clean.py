# SPDX-License-Identifier: GPL-2.0
"""make clean: remove what builds left. make distclean: remove all of build/,
with the trees and what was downloaded."""

import os
import shutil
import sys

from scripts import tree
from scripts.workbench import BUILD, LINUX, STOCK, StepFailed, die, locked, say

# what the next run would have to fetch, import or check out again
KEPT = {"apt", "kernel.org", "linux", "stock", "base.json", "imported.json",
        "tree.json"}


def clean() -> None:
    """Build folders stand as dot-folders in the trees and beside them."""
    for worktree in (LINUX, STOCK, BUILD):
        for path in worktree.glob(".*-*"):
            if path.is_dir():
                say(f"remove {path}")
                shutil.rmtree(path)
    for path in BUILD.glob("[!.]*"):
        if path.name not in KEPT:
            say(f"remove {path}")
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    if (LINUX / ".git").exists():
        tree.prune()


def distclean() -> None:
    if (LINUX / ".git").exists() and not os.environ.get("FORCE"):
        if work := tree.unrefreshed():
            raise StepFailed(f"build/linux has {work} that patches/ does not have: "
                             "make refresh, or lose it by make distclean FORCE=1")
    for path in BUILD.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def main() -> None:
    try:
        if BUILD.exists():
            with locked("tree"):
                distclean() if sys.argv[1:] == ["all"] else clean()
    except StepFailed as error:
        die(str(error))


if __name__ == "__main__":
    main()
