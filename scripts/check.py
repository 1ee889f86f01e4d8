# SPDX-License-Identifier: GPL-2.0
"""make check: what a maintainer would run before reading the series.

Each mail passes checkpatch; each patch builds for um and x86-64 on those
before it; and no touched file has a warning of sparse, of the compiler with
W=1 or of kernel-doc that it does not have on the base. Only files that one of
the two configurations builds are compiled.
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Iterable

from lab.kernel import configure
from scripts import base, git, patchset, series, tree
from scripts.cases import FAILED, PASSED, SKIPPED, Case, show
from scripts.kunit import KUNITCONFIG
from scripts.patchset import Commit
from scripts.workbench import (BUILD, LINUX, LOGS, StepFailed, die, kbuild, locked,
                               run_step)

BISECT = BUILD / "bisect"  # a worktree that stands at one commit after the other
BUILD_TIME = 1800          # seconds for one build
OUTS = {"um": ".bisect-um", "x86_64": ".bisect-x86_64"}
TARGETS = {"um": ("linux",), "x86_64": ("vmlinux", "modules")}
# checkpatch's helpers need modules of the Python that runs this
PYTHON_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# The base has no history, in which a Fixes: tag could be looked up. Who maintains
# a new file is asked of get_maintainer.pl, see maintained().
CHECKPATCH = ("--strict", "--no-signoff", "--codespell", "--terse", "--show-types",
              "--no-summary", "--ignore", "UNKNOWN_COMMIT_ID,FILE_PATH_CHANGES")
EVERYBODY = "linux-kernel@vger.kernel.org"
WARNING = re.compile(r"^(?:\.\./)*(?P<file>[\w/.+-]+\.[ch]):\d+(?::\d+)?:\d*:? "
                     r"*(?P<text>(?:warning|error): .*)$", re.M)
KERNEL_DOC = re.compile(r"^(?:Warning|Error): (?P<file>[\w/.+-]+\.[ch]):\d+ "
                        r"(?P<text>.*)$", re.M | re.I)

# how often a file has a warning, wherever in the file
Warnings = Counter[tuple[str, str]]


def found(pattern: re.Pattern, output: str, files: set[str]) -> Warnings:
    return Counter((match["file"], match["text"])
                   for match in pattern.finditer(output) if match["file"] in files)


def checkpatch() -> list[Case]:
    cases = []
    for mail in sorted(series.SERIES.glob("*.patch")):
        if mail.name.startswith("0000-"):
            continue
        name = f"checkpatch {mail.name}"
        try:
            log = run_step(name, ["perl", "scripts/checkpatch.pl", *CHECKPATCH, mail],
                           cwd=LINUX, env={"PATH": PYTHON_PATH}, log=f"check-{name}".replace(" ", "-"),
                           timeout=300, ok=(0, 1))
            said = "\n".join(log.read_text(errors="replace").splitlines()[1:])
            cases.append(Case(name, FAILED if said.strip() else PASSED, said))
        except StepFailed as error:
            cases.append(Case(name, FAILED, str(error)))
    return cases


def maintained(paths: Iterable[str]) -> list[Case]:
    """Does MAINTAINERS, with the series, know somebody for each new file?"""
    cases = []
    for path in sorted(paths):
        log = run_step(f"Maintainers of {path}",
                       ["perl", "scripts/get_maintainer.pl", "--no-git-fallback",
                        "--no-rolestats", "-f", path], cwd=LINUX,
                       log="check-maintainers", timeout=300)
        who = log.read_text().split("\n", 1)[1].strip()
        cases.append(Case(f"maintainers of {path}",
                          PASSED if who.replace(EVERYBODY, "").strip() else FAILED,
                          f"MAINTAINERS has no entry that covers {path}"))
    return cases


class Walk:
    """A walk over the series in a worktree of its own."""

    def __init__(self, on: base.Base) -> None:
        self.commits = patchset.commits(LINUX, on.commit, tree.marks(LINUX)[0])
        self.touched = {path for commit in self.commits
                        for _, path in commit.changes}
        self.config = (LINUX / KUNITCONFIG).read_text() + (
            LINUX / "tools/testing/kunit/configs/arch_uml.config").read_text()
        if not git.resolve(BISECT, "HEAD"):
            tree.discard(BISECT)
            run_step("Check out build/bisect",
                     ["git", "-C", LINUX, "worktree", "add", "--quiet", "--force",
                      "--detach", BISECT, on.commit], env=git.environment(),
                     timeout=600)
        self.base = on.commit
        self.objects: dict[str, set[str]] = {arch: set() for arch in OUTS}
        self.said: list[tuple[str, Warnings]] = []

    def go(self, commit: str) -> None:
        git.git(BISECT, "checkout", "--quiet", "--force", "--detach", commit)

    def configure(self, what: str) -> None:
        out = OUTS["um"]
        (BISECT / out).mkdir(exist_ok=True)
        (BISECT / out / ".config").write_text(self.config)
        run_step(f"Configure {what} (um)", kbuild(BISECT, out, "um", "olddefconfig"),
                 log="check-config-um", timeout=300)
        configure(BISECT, BISECT / OUTS["x86_64"], "x86_64", "")

    def build(self, what: str) -> None:
        """Build for both architectures; raises StepFailed."""
        self.configure(what)
        for arch, out in OUTS.items():
            log = f"check-build-{arch}"
            try:
                run_step(f"Build {what} ({arch})",
                         kbuild(BISECT, out, arch, *TARGETS[arch]), log=log,
                         timeout=BUILD_TIME)
            except StepFailed as error:
                # the cause of a parallel build's end is seldom its last line
                causes = re.findall(r"(?m)^.*(?:error:|\*\*\* .*\.o\]).*$",
                                    (LOGS / f"{log}.log").read_text(errors="replace"))
                raise StepFailed("\n".join([*causes, str(error)])) from None

    def warnings(self, what: str, files: set[str]) -> Warnings:
        """What sparse, W=1 and kernel-doc say about those of @files that the
        worktree has."""
        here = sorted(path for path in files if path.endswith((".c", ".h"))
                      and (BISECT / path).exists())
        if not here:
            return Counter()
        log = run_step(f"kernel-doc of {what}",
                       ["scripts/kernel-doc", "-none", *here], cwd=BISECT,
                       log="check-kernel-doc", timeout=300, ok=range(256))
        all_ = found(KERNEL_DOC, log.read_text(errors="replace"), files)
        for arch, out in OUTS.items():
            objects = [path for path in map(object_of, here)
                       if path in self.objects[arch]]
            if objects:
                log = run_step(f"sparse and W=1 of {what} ({arch})",
                               kbuild(BISECT, out, arch, "-k", "W=1", "C=2", *objects),
                               log=f"check-warnings-{arch}", timeout=BUILD_TIME)
                # both architectures may say the same of a file
                all_ |= found(WARNING, log.read_text(errors="replace"), files)
        return all_

    def step(self, number: int, commit: Commit) -> Case:
        """Build one patch and hear what is said about what it touches."""
        name = f"{number:04d}-{commit.slug}.patch"
        what = f"patch {number} of {len(self.commits)}"
        self.go(commit.hash)
        try:
            self.build(what)
            for arch, out in OUTS.items():
                self.objects[arch] |= {
                    path for path in map(object_of, self.touched)
                    if path.endswith(".o") and (BISECT / out / path).exists()}
            self.said.append((name, self.warnings(
                what, {path for _, path in commit.changes})))
        except StepFailed as error:
            return Case(f"build {name}", FAILED, str(error))
        return Case(f"build {name}", PASSED)

    def compare(self) -> list[Case]:
        """What is said that is not said of the base, which needs no build but
        that of the files in question."""
        self.go(self.base)
        self.configure("the base")
        known = self.warnings("the base", self.touched)
        return [Case(f"warnings {name}", FAILED if said - known else PASSED,
                     "".join(f"{file}: {text}\n"
                             for file, text in sorted(said - known)))
                for name, said in self.said]


def object_of(path: str) -> str:
    return str(Path(path).with_suffix(".o")) if path.endswith(".c") else path


def walk(on: base.Base) -> list[Case]:
    with locked("bisect"):
        way = Walk(on)
        cases = [way.step(number, commit)
                 for number, commit in enumerate(way.commits, 1)]
        way.go(way.commits[-1].hash)
        unbuilt = sorted(
            path for path in way.touched
            if path.endswith(".c") and (BISECT / path).exists()
            and not any(object_of(path) in built for built in way.objects.values()))
        return cases + way.compare() + [
            Case(f"compile {path}", SKIPPED, "no configuration builds it")
            for path in unbuilt]


def check() -> list[Case]:
    on = tree.make_tree()
    series.make_series()
    new = {path for commit in patchset.commits(LINUX, on.commit, tree.marks(LINUX)[0])
           for path in commit.adds}
    return checkpatch() + maintained(new) + walk(on)


def main() -> None:
    try:
        cases = check()
    except StepFailed as error:
        die(str(error))
    show(cases)
    sys.exit(any(case.status == FAILED for case in cases))


if __name__ == "__main__":
    main()
