# SPDX-License-Identifier: GPL-2.0
"""What make check FULL=1 builds besides: kernels that nothing here boots.

The series is built whole on each of these; on arm64 each patch is. Fragments of
scripts/full/ make the configurations, on top of allnoconfig. And the kernel's
semantic patches are matched against what the series touches.
"""

import functools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from lab import LabError
from lab.kernel import configure
from scripts.cases import FAILED, PASSED, Case
from scripts.workbench import (CROSS, LOGS, ROOT, UNSHARED, StepFailed, in_parallel,
                               kbuild, run_step)

FRAGMENTS = ROOT / "scripts/full"
BUILD_TIME = 7200
PACKAGES = {
    **{f"gcc-{prefix.rstrip('-')}": f"{prefix}gcc" for prefix in CROSS.values()},
    "coccinelle": "spatch",
    "ocaml-nox": "ocamlopt",    # one semantic patch has a part in it
}
# Sources that coccicheck is given at a time: one, as by kbuild, has it read all
# semantic patches for each, and many exhaust its stack
AT_ONCE = 4
# What it reads of kbuild's environment
OF_KBUILD = {"C": "2", "MODE": "report", "srctree": ".", "srcroot": ".",
             "LINUXINCLUDE": "-Iinclude"}
# Reports that are wrong, and new with the series
NO_DEFECTS = Counter({
    # iommu_init_device() is entered and left with iommu_probe_device_lock held, and
    # drops it in between: a return after that is taken for a forgotten unlock, and
    # one more since it may start over
    ("drivers/iommu/iommu.c", "preceding lock on line"): 2,
    # an address, and a size that has a bit set, too
    ("lib/kunit/virtio_iommu_test.c",
     "WARNING: sum of probable bitmasks, consider |"): 1,
})
REPORT = re.compile(r"(?m)^(?P<file>[\w/.+-]+\.[ch]):\d+:\d+-\d+: (?P<text>.*)$")
# of the end of a parallel build, which is seldom in its last line
CAUSE = re.compile(r"(?m)^.*(?:error:|undefined reference|\*\*\* .*\.o\]).*$")


@dataclass(frozen=True)
class Configuration:
    arch: str
    parts: tuple[str, ...]      # of the configuration, besides the base

    @property
    def name(self) -> str:
        return "-".join((self.arch, *self.parts))

    @property
    def out(self) -> str:
        """One for an architecture: kbuild knows what depends on what has changed
        since the configuration before."""
        return f".full-{self.arch}"

    @property
    def targets(self) -> tuple[str, ...]:
        return "vmlinux", *["modules"] * ("modules" in self.parts)

    def configure(self, tree: Path) -> None:
        own = [self.arch, *[f"{self.arch}-iommu"] * ("iommu" in self.parts)]
        files = [FRAGMENTS / f"{name}.config" for name in ("base", *self.parts)]
        # what an architecture has nothing to say to, has no file
        files += [path for path in (FRAGMENTS / f"{name}.config" for name in own)
                  if path.exists()]
        try:
            configure(tree, tree / self.out, self.arch, files)
        except LabError as error:
            raise StepFailed(str(error)) from None


# The IOMMU API is on wherever s390 has PCI
CONFIGURATIONS = [
    Configuration(arch, ("pci", "modules", iommu))
    for arch in ("arm64", "riscv", "i386", "powerpc", "s390", "x86_64")
    for iommu in ("iommu", "no-iommu")
    if (arch, iommu) not in (("s390", "no-iommu"), ("x86_64", "iommu"))
] + [
    Configuration("x86_64", ("modules", "iommu")),
    Configuration("s390", ("modules",)),
    Configuration("x86_64", ("pci", "iommu")),
]
ARM64 = CONFIGURATIONS[0]


def build(tree: Path, configuration: Configuration,
          complaints: Callable[[str], str]) -> Case:
    """Build @tree; fails if it cannot be, or by what @complaints makes of it."""
    case = f"build on {configuration.name}"
    log = f"check-full-{configuration.name}"
    try:
        configuration.configure(tree)
        path = run_step(f"Build the series on {configuration.name}",
                        kbuild(tree, configuration.out, configuration.arch,
                               *configuration.targets), log=log, env=UNSHARED,
                        timeout=BUILD_TIME)
    except StepFailed as error:
        path = LOGS / f"{log}.log"
        said = path.read_text(errors="replace") if path.exists() else ""
        return Case(case, FAILED, "\n".join([*CAUSE.findall(said), str(error)]))
    found = complaints(path.read_text(errors="replace"))
    return Case(case, FAILED if found else PASSED, found)


def groups(sources: list[str]) -> list[list[str]]:
    """Those that coccicheck reads at a time. What it reports of one may come from
    the others: who compares has to keep to them."""
    return [sources[first:first + AT_ONCE]
            for first in range(0, len(sources), AT_ONCE)]


def coccicheck(tree: Path, what: str, sources: list[list[str]]) -> str:
    """What the semantic patches of @tree report about its @sources, in groups.
    Lines that a report names besides its own are left out, as they differ from
    commit to commit."""
    said = in_parallel([
        functools.partial(run_step, f"coccicheck of {what}, from {group[0]}",
                          ["scripts/coccicheck", " ".join(group)], cwd=tree,
                          env=OF_KBUILD, timeout=BUILD_TIME,
                          log=f"check-coccicheck-{group[0].replace('/', '-')}")
        for group in sources])
    return re.sub(r"\bline \d+", "line", "".join(
        log.read_text(errors="replace") for log in said))
