# SPDX-License-Identifier: GPL-2.0
"""make check: what a maintainer would run before reading the series.

Each mail passes checkpatch; each patch builds for um on those before it, and what
it touches compiles for x86-64; and no touched file has a warning of the compiler
with W=1 or of kernel-doc that it does not have on the base, nor one of sparse at
the end of the series. Only files that one of the configurations builds are compiled.

x86-64 is built whole at both ends of the series, and where a Makefile or Kconfig
changes what it has. After a change to a header, all that the series touches is
compiled for both; what else includes it, at the end. IOMMU drivers that only arm64
has are compiled at the end.

FULL=1 adds arm64, builds all three whole after each patch, and the series on
others, and runs coccicheck: see full.py.
"""

import argparse
import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Iterable

from lab.kernel import configure, fragments_of
from scripts import base, deps, full, git, patchset, series, tree
from scripts.cases import FAILED, PASSED, SKIPPED, Case, show
from scripts.kunit import KUNITCONFIG, UM_CONFIG
from scripts.patchset import Commit
from scripts.workbench import (BUILD, LINUX, LOGS, STOCK, UNSHARED, StepFailed,
                               die, end_on_sigterm, in_parallel, kbuild, locked,
                               run_step)

BISECT = BUILD / "bisect"  # a worktree that stands at one commit after the other
BUILD_TIME = 1800          # seconds for one build
FULL = os.environ.get("FULL") == "1"
OUTS = {"um": ".bisect-um", "x86_64": ".bisect-x86_64",
        **({"arm64": full.ARM64.out} if FULL else {})}
TARGETS = {"um": ("linux",), "x86_64": ("vmlinux", "modules"),
           "arm64": full.ARM64.targets}
# checkpatch's helpers need modules of the Python that runs this
PYTHON_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# The base has no history, in which a Fixes: tag could be looked up. Who maintains
# a new file is asked of get_maintainer.pl, see maintained().
CHECKPATCH = ("--strict", "--no-signoff", "--terse", "--show-types", "--no-summary",
              "--ignore", "UNKNOWN_COMMIT_ID,FILE_PATH_CHANGES")
# bookworm's does not know the keyword, and kbuild then goes on without sparse
SPARSE = "CHECK=sparse -D__typeof_unqual__=__typeof__"
# Of the kernel, what no object depends on
NOT_BUILT = ("Documentation/", "MAINTAINERS", "tools/testing/")
NO_SPARSE = "sparse is not available or not up to date"
# What it says of MODULE_LICENSE() and the like in any module
NOT_UNDERSTOOD = "error: bad constant expression"
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


def checkpatch(mail: Path) -> Case:
    name = f"checkpatch {mail.name}"
    try:
        log = run_step(name, ["perl", "scripts/checkpatch.pl", *CHECKPATCH, mail],
                       cwd=LINUX, env={"PATH": PYTHON_PATH},
                       log=f"check-{name}".replace(" ", "-"), timeout=BUILD_TIME,
                       ok=(0, 1))
        said = "\n".join([*log.read_text(errors="replace").splitlines()[1:],
                          misspelled(mail.read_text(errors="replace"))]).strip()
    except StepFailed as error:
        return Case(name, FAILED, str(error))
    return Case(name, FAILED if said else PASSED, said)


def misspelled(mail: str) -> str:
    """What codespell says of @mail's message and added lines. checkpatch would
    search each line for all of codespell's words: minutes instead of a second."""
    own = "\n".join(line for line in mail.splitlines()
                    if not line.startswith((" ", "-")))
    done = subprocess.run(["codespell", "-"], input=own, text=True, timeout=60,
                          capture_output=True, check=False)
    if done.returncode not in (os.EX_OK, os.EX_DATAERR):
        raise StepFailed(f"codespell: status {done.returncode}: {done.stderr}")
    return done.stdout


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
        self.config = "".join(path.read_text() for path in (
            LINUX / KUNITCONFIG, UM_CONFIG,
            LINUX / "tools/testing/kunit/configs/arch_uml.config"))
        if not git.resolve(BISECT, "HEAD"):
            tree.discard(BISECT)
            run_step("Check out build/bisect",
                     ["git", "-C", LINUX, "worktree", "add", "--quiet", "--force",
                      "--detach", BISECT, on.commit], env=git.environment(),
                     timeout=600)
        git.unlock(BISECT)
        self.base = on.commit
        self.objects = {object_of(path) for path in self.touched
                        if path.endswith(".c")}
        self.unbuilt = set(self.objects)
        self.reconfigured: set[str] = set()     # architectures, by this patch
        self.known: Warnings = Counter()    # said of the base anyway

    def go(self, commit: str) -> None:
        git.git(BISECT, "checkout", "--quiet", "--force", "--detach", commit)

    def go_one_on(self, commit: Commit) -> None:
        """Check out @commit. A header that it changes keeps its time, so that make
        compiles of what includes it only what the series touches: the rest would
        be most of the kernel, and has seen the base's."""
        headers = [] if FULL else [BISECT / path for _, path in commit.changes
                                   if path.endswith(".h")]
        times = {header: header.stat() for header in headers if header.exists()}
        self.go(commit.hash)
        for header, time in times.items():
            if header.exists():
                os.utime(header, ns=(time.st_atime_ns, time.st_mtime_ns))
        if headers:
            self.touch(".c")
            # else the next checkout takes files of another time for changed, too
            git.git(BISECT, "update-index", "-q", "--refresh")

    def touch(self, kind: str) -> None:
        """Have make take all of that @kind for changed."""
        for path in self.touched:
            if path.endswith(kind) and (BISECT / path).exists():
                (BISECT / path).touch()

    def configure_um(self, what: str) -> None:
        out = OUTS["um"]
        (BISECT / out).mkdir(exist_ok=True)
        (BISECT / out / ".config").write_text(self.config)
        run_step(f"Configure {what} (um)", kbuild(BISECT, out, "um", "olddefconfig"),
                 log="check-config-um", timeout=300)

    def configure(self, what: str) -> None:
        """Write the configurations, which only a Kconfig file can change."""
        self.configure_um(what)
        configure(BISECT, BISECT / OUTS["x86_64"], "x86_64",
                  fragments_of("x86_64", ""))
        if FULL:
            full.ARM64.configure(BISECT)

    @staticmethod
    def configurations() -> dict[str, str]:
        return {arch: (BISECT / out / ".config").read_text()
                for arch, out in OUTS.items()}

    def concerns(self, arch: str, files: set[str]) -> bool:
        """Would anything be compiled if @files have changed? Not if @arch has
        built none of them so far, and nothing says that it should."""
        return any(not path.startswith(NOT_BUILT) and
                   (not path.endswith(".c") or
                    (BISECT / OUTS[arch] / object_of(path)).exists())
                   for path in files)

    def rebuilt(self, arch: str, files: set[str]) -> bool:
        """Is all of @arch built once @files have changed?"""
        return FULL or arch == "um" or arch in self.reconfigured or any(
            Path(path).name.startswith(("Makefile", "Kbuild")) and
            # of a folder that this configuration has
            (BISECT / OUTS[arch] / path).with_name("built-in.a").exists()
            for path in files)

    def build(self, what: str, arch: str, files: set[str], at_end: bool) -> set[str]:
        """Build after @files have changed, at an end of the series in any case.
        Returns those of self.objects that the configuration has."""
        if at_end or self.rebuilt(arch, files) and self.concerns(arch, files):
            self.make(what, arch)
        return {path for path in self.objects
                if (BISECT / OUTS[arch] / path).exists()}

    @staticmethod
    def kbuild(title: str, log: str, arch: str, *arguments: str) -> str:
        """What a build says."""
        try:
            path = run_step(title, kbuild(BISECT, OUTS.get(arch, full.ARM64.out),
                                          arch, *arguments), log=log,
                            env=UNSHARED, timeout=BUILD_TIME)
        except StepFailed as error:
            # the cause of a parallel build's end is seldom its last line
            causes = full.CAUSE.findall(
                (LOGS / f"{log}.log").read_text(errors="replace"))
            raise StepFailed("\n".join([*causes, str(error)])) from None
        return path.read_text(errors="replace")

    def make(self, what: str, arch: str) -> None:
        self.kbuild(f"Build {what} ({arch})", f"check-build-{arch}", arch,
                    *TARGETS[arch])

    def compiled(self, what: str, arch: str, objects: list[str],
                 sparse: bool) -> str:
        """What W=1, and with @sparse that too, says about the sources of
        @objects."""
        if not objects:
            return ""
        tools = "sparse and W=1" if sparse else "W=1"
        said = self.kbuild(f"{tools} of {what} ({arch})", f"check-warnings-{arch}",
                           arch, "-k", "W=1", *(["C=2", SPARSE] if sparse else []),
                           *objects)
        if NO_SPARSE in said:
            raise StepFailed(f"kbuild says that {NO_SPARSE}: see "
                             f"{LOGS}/check-warnings-{arch}.log")
        return said

    def warnings(self, what: str, files: set[str], at_end: bool = False) -> Warnings:
        """Build the commit that is checked out; what W=1, kernel-doc and, at an
        end of the series, sparse say about those of @files that it has. The
        architectures take turns where a build of one has no work for all
        processors."""
        here = sorted(path for path in files if path.endswith((".c", ".h"))
                      and (BISECT / path).exists())
        built = in_parallel([functools.partial(self.build, what, arch, files, at_end)
                             for arch in OUTS])
        self.unbuilt -= set().union(*built)
        said, left = [], set(map(object_of, here))
        if any(path.endswith(".h") for path in files):
            # kbuild knows which of them include it
            left |= {object_of(path) for path in self.touched
                     if path.endswith(".c") and (BISECT / path).exists()}
        sources = files | {path for path in self.touched if object_of(path) in left}
        # what both have is compiled for the one that has more drivers
        for arch, objects in reversed(list(zip(OUTS, built))):
            said.append(self.compiled(what, arch, sorted(left & objects), at_end))
            left -= objects
        all_: Warnings = Counter()
        if here:
            log = run_step(f"kernel-doc of {what}",
                           ["scripts/kernel-doc", "-none", *here], cwd=BISECT,
                           log="check-kernel-doc", timeout=300, ok=range(256))
            all_ = found(KERNEL_DOC, log.read_text(errors="replace"), files)
        for output in said:
            # both architectures may say the same of a header
            all_ |= found(WARNING, output, sources)
        return Counter({key: count for key, count in all_.items()
                        if key[1] != NOT_UNDERSTOOD})

    def start(self) -> None:
        """Build the base and hear what is said about it anyway."""
        # KUnit's stock kernel is another configuration than the base's, which ccache
        # would see in each object. kbuild knows that few depend on what differs
        self.go(git.git(LINUX, "rev-parse", tree.marks(STOCK)[0]))
        self.configure_um("the base with the tests")
        self.make("the base with the tests", "um")
        self.go(self.base)
        for out in OUTS.values():
            for path in self.objects:
                # else one that a later commit of an earlier walk has would count
                (BISECT / out / path).unlink(missing_ok=True)
        self.configure("the base")
        self.known = self.warnings("the base", self.touched, at_end=True)

    def end(self) -> Case:
        """Hear what is said about the last patch's state of all files, and of
        what includes them."""
        self.touch(".h")
        try:
            new = self.warnings("the series", self.touched, at_end=True) - self.known
        except StepFailed as error:
            return Case("sparse", FAILED, str(error))
        return Case("sparse", FAILED if new else PASSED, listed(new))

    def semantic_patches(self) -> Case:
        """Hear what coccicheck says of the series, and not of the base."""
        case = "coccicheck"

        # programs do without the kernel's helpers that it would propose
        groups = full.groups(sorted(path for path in self.touched
                                    if path.endswith((".c", ".h"))
                                    and not path.startswith("tools/")))

        def said(what: str, groups: list[list[str]]) -> Warnings:
            here = [[path for path in group if (BISECT / path).exists()]
                    for group in groups]
            return found(full.REPORT,
                         full.coccicheck(BISECT, what, list(filter(None, here))),
                         set().union(*here))

        try:
            new = said("the series", groups) - full.NO_DEFECTS
            self.go(self.base)
            new -= said("the base", [group for group in groups
                                     if {file for file, _ in new} & set(group)])
        except StepFailed as error:
            return Case(case, FAILED, str(error))
        finally:
            self.go(self.commits[-1].hash)
        return Case(case, FAILED if new else PASSED, listed(new))

    def drivers_of_arm64(self) -> Case:
        """Compile what of drivers/iommu neither of the two has."""
        case = "compile drivers/iommu on arm64"
        try:
            full.ARM64.configure(BISECT)
            self.kbuild(case.capitalize(), "check-build-arm64", "arm64",
                        "drivers/iommu/")
        except StepFailed as error:
            return Case(case, FAILED, str(error))
        self.unbuilt = {path for path in self.unbuilt
                        if not (BISECT / full.ARM64.out / path).exists()}
        return Case(case, PASSED)

    def elsewhere(self) -> list[Case]:
        """Build the last patch's state on what else there is."""
        cases = [full.build(BISECT, configuration, lambda said: listed(
                     found(WARNING, said, self.touched)))
                 for configuration in full.CONFIGURATIONS
                 if configuration != full.ARM64]
        outs = {configuration.out for configuration in full.CONFIGURATIONS}
        self.unbuilt = {path for path in self.unbuilt
                        if not any((BISECT / out / path).exists() for out in outs)}
        return cases

    def step(self, number: int, commit: Commit) -> list[Case]:
        """Build one patch and hear what is said about what it touches."""
        name = f"{number:04d}-{commit.slug}.patch"
        what = f"patch {number} of {len(self.commits)}"
        files = {path for _, path in commit.changes}
        self.go_one_on(commit)
        try:
            self.reconfigured = set()
            if any(Path(path).name.startswith("Kconfig") for path in files):
                before = self.configurations()
                self.configure(what)
                after = self.configurations()
                self.reconfigured = {arch for arch in OUTS
                                     if after[arch] != before[arch]}
            new = self.warnings(what, files) - self.known
        except StepFailed as error:
            return [Case(f"build {name}", FAILED, str(error))]
        return [Case(f"build {name}", PASSED),
                Case(f"warnings {name}", FAILED if new else PASSED, listed(new))]


def listed(warnings: Warnings) -> str:
    return "".join(f"{file}: {text}\n" for file, text in sorted(warnings))


def object_of(path: str) -> str:
    return str(Path(path).with_suffix(".o")) if path.endswith(".c") else path


def walk(on: base.Base) -> list[Case]:
    with locked("bisect"):
        way = Walk(on)
        way.start()
        cases = [case for number, commit in enumerate(way.commits, 1)
                 for case in way.step(number, commit)]
        cases += [way.end(),
                  *([*way.elsewhere(), way.semantic_patches()] if FULL
                    else [way.drivers_of_arm64()])]
        return cases + [
            Case(f"compile {path}", SKIPPED, "no configuration builds it")
            for path in sorted(way.touched)
            if object_of(path) in way.unbuilt and (BISECT / path).exists()]


def check() -> list[Case]:
    if FULL:
        deps.require(full.PACKAGES)
    on = tree.make_tree()
    series.make_series()
    new = {path for commit in patchset.commits(LINUX, on.commit, tree.marks(LINUX)[0])
           for path in commit.adds}
    mails = [mail for mail in series.SERIES.glob("*.patch")
             if not mail.name.startswith("0000-")]
    # the largest takes a minute: not the last, with an idle processor
    mails.sort(key=lambda mail: mail.stat().st_size, reverse=True)
    checked = in_parallel([functools.partial(checkpatch, mail) for mail in mails])
    return checked + maintained(new) + walk(on)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m scripts.check",
                                     description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="where the results go, too")
    arguments = parser.parse_args()
    end_on_sigterm()
    try:
        cases = check()
    except StepFailed as error:
        die(str(error))
    show(cases)
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(case)
                                              for case in cases]))
    sys.exit(any(case.status == FAILED for case in cases))


if __name__ == "__main__":
    main()
