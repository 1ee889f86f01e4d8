# SPDX-License-Identifier: GPL-2.0
"""make kunit, make prove: run the series' KUnit suites through the kernel's
own kunit.py, and read the results with its parser.

Cases marked in patches/guards as the guards of a patch have to fail on the
kernel without that patch: build/stock, the base with the tests alone.

DEBUG=1 runs them on a kernel with the lab's debug options, as KASAN and
lockdep. A splat in the log fails any run.

The kernel's own suites of what the series changes have a kernel of their own, and
come to the same on build/stock and on the series (make same).
"""

import argparse
import dataclasses
import functools
import importlib
import io
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Iterator

from lab import LabError, splats
from lab.machines import QEMU_BINARY
from lab.vm import qemu_binary
from scripts import patchset, tree
from scripts.cases import FAILED, PASSED, SKIPPED, Case, compare, show
from scripts.workbench import (BUILD, CROSS, LINUX, PATCHES, ROOT, STOCK, UNSHARED,
                               StepFailed, die, in_parallel, jobs, locked,
                               run_step)

KUNITCONFIG = "lib/kunit/iommu_group.kunitconfig"
OWN_CONFIG = ROOT / "scripts/own.kunitconfig"
UM_CONFIG = ROOT / "scripts/um.kunitconfig"     # what UML does without
# which needs what ours needs, but not our suites
NOT_OURS = "--filter=module!=iommu_group_kunit"
DEBUG_CONFIG = ROOT / "lab/kernel/debug.config"
GUARDS = PATCHES / "guards"
ARCHITECTURES = ("um", "x86_64", "arm64")
BUILD_TIME = 1800          # seconds
RUN_TIME = 600
ONE_TIME = 20              # for a test that runs alone, and may hang without a fix
ENDLESS = f"timed out after {ONE_TIME} seconds"    # says kunit.py
BROKEN = "kunit output"    # the case that stands for output without sense
SPLATS = "kernel log"      # and the one for splats beside the cases
# Registers of fake devices need memory that the kernel leaves alone; the virtual
# machines of kunit.py have 1 GB
ARGUMENTS = {
    # on the default processor of QEMU 7.2 the kernel prints nothing, under TCG
    "x86_64": ("--qemu_args=-cpu max", "--kernel_args=mem=768M",
               "--kernel_args=iommu_group_kunit.mmio=0x30000000"),
    # a device can be late where another processor is its driver's
    "arm64": ("--qemu_args=-smp 2", "--kernel_args=mem=768M",
              "--kernel_args=iommu_group_kunit.mmio=0x70000000"),
}


# Fewer random topologies where each takes 50 times as long
DEBUG_ARGUMENTS = ("--kernel_args=iommu_group_kunit.topologies=50",)
# make kunit LONG=1: more of what has no end
LONG_ARGUMENTS = ("--kernel_args=kunit.timeout=3600",
                  "--kernel_args=iommu_group_kunit.topologies=100000",
                  "--kernel_args=iommu_group_kunit.decision_devices=6")
LONG_RUN_TIME = 7200


# kunit.py names QEMU by its Debian name, and has it try KVM before TCG
WITHOUT_KVM = """#!/bin/sh
for word; do
	shift
	[ "$word" != kvm ] || word=tcg
	set -- "$@" "$word"
done
exec '{}' "$@"
"""


def qemu_environment(arch: str) -> dict[str, str]:
    """An environment in which kunit.py starts the lab's QEMU, and with TCG
    unless KVM=1: some machines have a KVM that does not work."""
    if arch not in QEMU_BINARY or os.environ.get("KVM") == "1":
        return {}
    folder = BUILD / "without-kvm"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / QEMU_BINARY[arch]
    unfinished = program.with_suffix(f".{os.getpid()}")
    unfinished.write_text(WITHOUT_KVM.format(qemu_binary(arch)))
    unfinished.chmod(0o755)
    unfinished.rename(program)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@functools.cache
def tool(name: str) -> ModuleType:
    """A module of the kernel's kunit.py."""
    sys.path.insert(0, str(LINUX / "tools/testing/kunit"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def parse(output: str) -> list[Case]:
    """The cases in the kernel's @output. What the parser calls an error, as a
    plan that was not kept, is a failed case too."""
    complaints = io.StringIO()
    result = tool("kunit_parser").parse_run_tests(
        iter(output.splitlines()), tool("kunit_printer").Printer(output=complaints))
    cases = [case for suite in result.subtests for case in leaves(suite, ())]
    errors = [line for line in complaints.getvalue().splitlines()
              if "[ERROR]" in line]
    if errors or not cases:
        cases.append(Case(BROKEN, FAILED,
                          "\n".join(errors) or "no test ran; the output ends:\n"
                          + "\n".join(output.splitlines()[-20:])))
    return cases


def leaves(test, above: tuple[str, ...]) -> Iterator[Case]:
    """The tests below @test that have none below them."""
    path = (*above, test.name)
    if test.subtests:
        for below in test.subtests:
            yield from leaves(below, path)
        return
    status = tool("kunit_parser").TestStatus
    suite, *case = path
    yield Case(f"{suite}.{' '.join(case)}".rstrip("."),
               {status.SUCCESS: PASSED, status.SKIPPED: SKIPPED}.get(
                   test.status, FAILED),
               test.skip_reason or "\n".join(test.log))


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A built kernel with the suites."""

    where: Path            # its tree
    arch: str
    debug: bool = False
    own: bool = False      # for the kernel's own suites

    @property
    def kind(self) -> str:
        return (self.arch + "-debug" * self.debug + "-own" * self.own)

    @property
    def name(self) -> str:
        return f"{self.kind} KUnit kernel of build/{self.where.name}"

    def command(self, verb: str, *more: str) -> list[str]:
        cross = CROSS.get(self.arch, "")
        return [sys.executable, "tools/testing/kunit/kunit.py", verb,
                f"--kunitconfig={KUNITCONFIG}",
                *([f"--kunitconfig={DEBUG_CONFIG}"] if self.debug else []),
                *([f"--kunitconfig={OWN_CONFIG}"] if self.own else []),
                *([f"--kunitconfig={UM_CONFIG}"] if self.arch == "um" else []),
                f"--build_dir=.kunit-{self.kind}", f"--arch={self.arch}",
                f"--make_options=CC=ccache {cross}gcc",
                *([f"--cross_compile={cross}"] if cross else []), *more]

    def build(self) -> None:
        if not (self.where / KUNITCONFIG).exists():
            raise StepFailed(f"{self.where / KUNITCONFIG} is missing: no patch"
                             + (f" that is marked {patchset.TESTS_ONLY}"
                                if self.where == STOCK else "") + " adds it")
        run_step(f"Build the {self.name}", self.command("build", f"--jobs={jobs()}"),
                 cwd=self.where, log=f"kunit-build-{self.kind}-{self.where.name}",
                 env=UNSHARED, timeout=BUILD_TIME)

    def boot(self, title: str, log: str, *more: str, limit: int = RUN_TIME) -> str:
        """What a boot printed. A test that fails is no failure of the step."""
        path = run_step(title, self.command("exec", f"--timeout={limit}", *more),
                        cwd=self.where, env=qemu_environment(self.arch), log=log,
                        timeout=limit + 60, ok=(0, 1))
        return path.read_text(errors="replace").partition("\n")[2]


def splat_case(output: str) -> Case:
    """Did the kernel complain of anything, in whatever case?"""
    found = splats.find(output.splitlines())
    return Case(SPLATS, FAILED if found else PASSED, "\n".join(found))


def run(where: Path, arch: str, debug: bool = False, own: bool = False,
        long: bool = False) -> list[Case]:
    """Build the kernel of the tree @where for its KUnit suites and run them."""
    kernel = Kernel(where, arch, debug, own)
    with locked(f"kunit-{where.name}-{kernel.kind}"):
        kernel.build()
        output = kernel.boot(f"Run the {kernel.name}",
                             f"kunit-{kernel.kind}-{where.name}",
                             "--raw_output=all", *([NOT_OURS] if own else []),
                             *ARGUMENTS.get(arch, ()),
                             *(LONG_ARGUMENTS if long else
                               DEBUG_ARGUMENTS if debug else ()),
                             limit=LONG_RUN_TIME if long else RUN_TIME)
    cases, log = parse(output), splat_case(output)
    if log.status == FAILED or all(case.name != BROKEN for case in cases):
        cases.append(log)
    return cases


def run_each(where: Path, arch: str) -> list[Case]:
    """The same with a boot for each test: one that kills the kernel fails, and
    takes no other with it."""
    kernel = Kernel(where, arch)
    with locked(f"kunit-{where.name}-{arch}"):
        kernel.build()
        listed = kernel.boot(f"List the tests of the {kernel.name}",
                             f"kunit-list-{arch}-{where.name}", "--list_tests")
        tests = re.findall(r"(?m)^\w+\.\w+$", listed)
        if not tests:
            raise StepFailed(f"the {kernel.name} lists no test, but:\n{listed}")
        outputs = in_parallel([functools.partial(
            kernel.boot, f"Run {test} on the {kernel.name}",
            f"kunit-{arch}-{where.name}-{test}", "--raw_output=all", test,
            limit=ONE_TIME) for test in tests])
    return [case for test, output in zip(tests, outputs, strict=True)
            for case in parse_one(test, output)]


def parse_one(test: str, output: str) -> list[Case]:
    """The same of a boot for one test, which fails if it ends the kernel. One that
    has ended before says nothing about the test."""
    cases = parse(output)
    if all(case.name != BROKEN for case in cases):
        return cases
    begun = f"# Subtest: {test.partition('.')[0]}\n" in output
    return [Case(test if begun else BROKEN, FAILED, output)]


# --- guards -----------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Guards:
    """patches/guards: which cases show what each patch is for.

    A line is `<suite>.<case>[ <param>]  <patch>`: the case fails without the
    patch, or with a third word, `hangs`, does not come to an end.
    `-  <patch>  <reason>`: no KUnit case can show it, and why. Two blanks
    separate; the patch is named without its number and .patch.
    """

    cases: dict[str, str]      # name of the case -> patch
    excused: dict[str, str]    # patch -> reason
    hangs: set[str] = dataclasses.field(default_factory=set)    # cases


def read_guards(path: Path = GUARDS) -> Guards:
    guards = Guards({}, {})
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise StepFailed(f"{path} is missing: it lists, a line each, the KUnit cases "
                         "that fail without a patch: <suite>.<case>[ <param>]  "
                         "<patch>") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = re.split(r"\s{2,}|\t", line.strip())
        if len(fields) < 2 or (len(fields) < 3 if fields[0] == "-"
                               else fields[2:] not in ([], ["hangs"])):
            raise StepFailed(f"{path}:{number}: neither `<suite>.<case>[ <param>]  "
                             "<patch>[  hangs]` nor `-  <patch>  <reason>` (two "
                             "blanks between)")
        if fields[0] == "-":
            guards.excused[patchset.slug_of(fields[1])] = " ".join(fields[2:])
        else:
            guards.cases[fields[0]] = patchset.slug_of(fields[1])
            if fields[2:]:
                guards.hangs.add(fields[0])
    return guards


def check_guards(guards: Guards, series: patchset.Patchset) -> list[str]:
    """What is wrong with patches/guards itself."""
    slugs = {patch.slug for patch in series.patches}
    guarded = set(guards.cases.values())
    return ([f"patches/guards names {slug}, which is no patch of the series"
             for slug in sorted((guarded | set(guards.excused)) - slugs)]
            + [f"{patch.name} has no guard: name in patches/guards a case that "
               "fails without it, or say there why none can"
               for patch in series.patches if not patch.tests_only
               and patch.slug not in guarded | set(guards.excused)])


def judge(stock: list[Case], guards: Guards) -> list[Case]:
    """What the results on build/stock say about the guards: a Case each, that
    passed if the guard failed there."""
    verdicts = []
    seen = {case.name: case for case in stock}
    for name, slug in guards.cases.items():
        case = seen.get(name)
        if case is None:
            verdict, why = FAILED, f"{name} did not run on the stock kernel"
        elif ENDLESS in case.log and name not in guards.hangs:
            verdict, why = FAILED, (f"{name} has no end on the stock kernel, which "
                                    "says nothing about why: if it has to, add "
                                    f"`hangs` in patches/guards\n{case.log}")
        elif case.status == FAILED:
            verdict, why = PASSED, case.log
        else:
            verdict, why = FAILED, (f"{name} guards {slug}, but {case.status} on the "
                                    "stock kernel: it guards nothing")
        verdicts.append(Case(f"guard {name}", verdict, why))
    for case in stock:
        if case.status == FAILED and case.name not in guards.cases:
            verdicts.append(Case(f"guard {case.name}", FAILED,
                                 "fails on the stock kernel, but patches/guards does "
                                 f"not list it:\n{case.log}"))
    return verdicts


def prove() -> list[Case]:
    """Run the suites on the stock kernel and judge the guards."""
    guards = read_guards()
    verdicts = [Case("patches/guards", FAILED, complaint)
                for complaint in check_guards(guards, patchset.load())]
    return verdicts + judge(run_each(STOCK, "um"), guards)


def same() -> list[Case]:
    """Run the kernel's own suites on the stock kernel and the series."""
    results = {where: run(where, "um", own=True) for where in (STOCK, LINUX)}
    # what is wrong with a run as a whole excuses nothing in the other one
    runs = [Case(f"{where.name}: {case.name}", case.status, case.log)
            for where, cases in results.items()
            for case in cases if case.name in (BROKEN, SPLATS)]
    return runs + compare(*([case for case in cases
                             if case.name not in (BROKEN, SPLATS)]
                            for cases in results.values()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m scripts.kunit",
                                     description=__doc__.partition("\n")[0])
    parser.add_argument("arch", nargs="?", default="um")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--prove", action="store_true",
                      help="show that guards fail on the stock kernel")
    what.add_argument("--debug", action="store_true",
                      help=f"with the options of {DEBUG_CONFIG.relative_to(ROOT)}")
    parser.add_argument("--long", action="store_true",
                        help="100000 random topologies, and all of six devices")
    arguments = parser.parse_args()
    if arguments.arch not in ARCHITECTURES:
        die(f"ARCH={arguments.arch}: KUnit runs on {', '.join(ARCHITECTURES)}")
    try:
        tree.make_tree()
        cases = (prove() if arguments.prove else
                 run(LINUX, arguments.arch, arguments.debug, long=arguments.long))
    except (LabError, StepFailed) as error:
        die(str(error))
    show(cases)
    sys.exit(any(case.status == FAILED for case in cases))


if __name__ == "__main__":
    main()
