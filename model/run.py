# SPDX-License-Identifier: GPL-2.0
"""make model: every interleaving of what the contract is about, searched.

contract.pml is the model. What happens in it, and which rule may still be
broken there, and why, is in the tables here and nowhere else; test_contract.py
checks that each search comes out as they say.

    python3 -m model.run                           all that the tests do, as a table
    python3 -m model.run hotreg GATE=0 FWSPEC=0    one scenario
    python3 -m model.run --trace hotreg RETRY=0    the shortest way to break a rule
"""

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, Mapping, Optional

from scripts.workbench import BUILD, StepFailed, die, locked, run_step, say

MODEL = Path(__file__).resolve().parent / "contract.pml"
OUT = BUILD / "model"
TOOLS = {"spin": "spin", "gcc": "gcc"}      # command, Debian package
LIMIT = 300             # seconds a search may take; the longest takes 3
DEPTH = 20000           # of the stack of a search; the deepest needs 1000

Switches = Mapping[str, int]

# The kernel, see README.md
BUILT = dict(PASSES=1, REF=1, REL=1, UNREG=1, GATE=1, RETRY=1, ALIAS=1, TOPO=1,
             COMMON=1, KEEP=1, REFUSE=1, REPLAY=1, FW=1, STOP=1, HOLD=4)
MAINLINE = dict.fromkeys(BUILT, 0)

# What happens
QUIET = dict(FWSPEC=1, ALIASY=1, NONISO=0, COLD=0, BOOT=0, EARLY=0, IOMMU=0,
             DRIVERS=0, NOWAIT=0, REMOVE=0, LATE=0, FAIL=0)
B, X, Y = 1, 2, 4       # values of DRIVERS

# Each scenario is searched with all of these
VARIANTS = (dict(FWSPEC=1, ALIASY=1), dict(FWSPEC=0, ALIASY=1),
            dict(FWSPEC=1, ALIASY=0))

RULES = ("P1", "P2", "P3", "P4", "P5", "P6")


# Why the kernel as built may break a rule
HOLES = {
    "early": "a driver that registers before fs_initcall_sync binds to a device that "
             "is not finished and has no group yet, though the IOMMU is there",
}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Things that happen at the same time."""

    name: str
    what: str
    events: Switches
    mainline: str           # the rules that mainline breaks, with VARIANTS[0]
    holes: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by rule


SCENARIOS = (
    Scenario("hot", "hot-add, the IOMMU is there, a driver for X",
             dict(DRIVERS=X), "P1 P2 P3"),
    Scenario("hotreg", "hot-add while an IOMMU registers",
             dict(IOMMU=1), "P2 P3"),
    Scenario("hotregdrv", "hotreg and a driver for X",
             dict(IOMMU=1, DRIVERS=X), "P1 P2 P3 P6"),
    Scenario("coldreg", "devices can bind, an IOMMU and a driver for X register",
             dict(COLD=1, IOMMU=1, DRIVERS=X), "P1 P3 P6"),
    Scenario("coldregnw", "coldreg, the driver does not wait for an IOMMU",
             dict(COLD=1, IOMMU=1, DRIVERS=X, NOWAIT=1), "P1 P3 P6"),
    Scenario("coldrm", "coldreg and removal of X",
             dict(COLD=1, IOMMU=1, DRIVERS=X, REMOVE=1), "P1 P5 P6"),
    Scenario("unbind", "coldregnw, the driver of X is unbound",
             dict(COLD=1, IOMMU=1, DRIVERS=X, NOWAIT=1, REMOVE=2), "P1 P3 P6"),
    Scenario("hotrm", "hotreg and removal of X",
             dict(IOMMU=1, REMOVE=1), "P2 P3 P5"),
    Scenario("hotunreg", "hotreg, then the IOMMU unregisters",
             dict(IOMMU=2), "P2 P5"),
    Scenario("hotrereg", "hotunreg, then it registers again",
             dict(IOMMU=3), "P2 P3 P5"),
    Scenario("hotrmunreg", "hotunreg and removal of X",
             dict(IOMMU=2, REMOVE=1), "P2 P5"),
    Scenario("coldrmunreg", "coldrm, then the IOMMU unregisters",
             dict(COLD=1, IOMMU=2, DRIVERS=X, REMOVE=1), "P1 P5 P6"),
    Scenario("coldrereg", "coldreg, the IOMMU unregisters and registers again",
             dict(COLD=1, IOMMU=3, DRIVERS=X), "P1 P3 P5 P6"),
    Scenario("boot", "final fixups wait for pci_apply_final_quirks(), an IOMMU "
             "registers before or after, then a driver for X",
             dict(BOOT=1, IOMMU=1, DRIVERS=X), "P1 P2 P3 P6"),
    Scenario("early", "boot, IOMMU and driver are there from the start",
             dict(BOOT=1, EARLY=1, DRIVERS=X), "P1 P2 P3",
             {"P1": "early", "P6": "early"}),
    Scenario("late", "hot-add, pci_add_dma_alias(Y), a driver for Y",
             dict(DRIVERS=Y, LATE=1), "P1 P2 P3"),
    Scenario("noniso", "hotreg, the bridge does not isolate",
             dict(NONISO=1, IOMMU=1), "P2 P3"),
    Scenario("nonisodrv", "noniso, a driver may have B before the IOMMU is there",
             dict(NONISO=1, IOMMU=1, DRIVERS=B, NOWAIT=1), "P1 P2 P3 P6"),
    Scenario("fail", "hot-add, probe_device(Y) fails, a driver for Y",
             dict(DRIVERS=Y, FAIL=1), "P1 P2"),
    Scenario("failreg", "fail while the IOMMU registers",
             dict(IOMMU=1, DRIVERS=Y, FAIL=1), "P1 P2 P3 P5"),
    Scenario("failunreg", "failreg, then the IOMMU unregisters",
             dict(IOMMU=2, DRIVERS=Y, FAIL=1), "P1 P2 P5"),
    Scenario("failattach", "hot-add, attaching Y fails, a driver for Y",
             dict(DRIVERS=Y, FAIL=2), "P1 P2"),
    Scenario("attachreg", "failattach while the IOMMU registers",
             dict(IOMMU=1, DRIVERS=Y, FAIL=2), "P1 P2 P3 P5"),
)
SCENARIO = {scenario.name: scenario for scenario in SCENARIOS}

# What the kernel as built would break, and where, without one of its parts
NEEDED = (
    (dict(PASSES=0), "hot", VARIANTS[0], "P1 P2 P3"),
    (dict(REF=0), "hotrm", VARIANTS[0], "P5"),
    (dict(REL=0), "hotrm", VARIANTS[0], "P5"),
    (dict(UNREG=0), "hotunreg", VARIANTS[0], "P5"),
    (dict(GATE=0), "coldreg", VARIANTS[0], "P1 P6"),
    (dict(RETRY=0), "hotreg", VARIANTS[0], "P3"),
    (dict(ALIAS=0), "late", VARIANTS[0], "P1 P2"),
    (dict(TOPO=0), "noniso", VARIANTS[0], "P3"),
    (dict(COMMON=0), "late", VARIANTS[2], "P3 P4"),
    (dict(KEEP=0), "failattach", VARIANTS[0], "P1"),
    (dict(REFUSE=0), "fail", VARIANTS[0], "P1"),
    (dict(REPLAY=0), "coldreg", VARIANTS[0], "P3"),
    (dict(FW=0), "hotregdrv", VARIANTS[0], "P6"),
    (dict(STOP=0), "coldrm", VARIANTS[0], "P1"),
    (dict(HOLD=0), "coldrereg", VARIANTS[1], "P1 P6"),
    (dict(HOLD=3), "coldrereg", VARIANTS[0], "P1 P3"),
)


def kernel(**changes: int) -> Switches:
    return {**BUILT, **changes}


def spelled(values: Switches) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


@dataclasses.dataclass(frozen=True)
class Result:
    """How a search ended."""

    states: int
    broken: frozenset[str]  # rules, "deadlock"

    def __str__(self) -> str:
        return f"{self.states:8} states, {' '.join(sorted(self.broken)) or 'all hold'}"


def missing_tool() -> Optional[str]:
    """Why nothing can be searched here, and the remedy."""
    for command, package in TOOLS.items():
        if not shutil.which(command):
            return (f"{command} is missing; as root: apt-get install "
                    f"--no-install-recommends {package}")
    return None


def build(name: str = "pan", *flags: str) -> Path:
    """Compile the search; without optimization, which takes longer than it saves."""
    program = OUT / name
    OUT.mkdir(parents=True, exist_ok=True)
    run_step(f"spin {MODEL.name}", ["spin", "-a", MODEL], cwd=OUT, timeout=60)
    run_step(f"compile {name}",
             ["gcc", "-O0", "-w", "-DSAFETY", *flags, "-o", program, "pan.c"],
             cwd=OUT, timeout=300)
    return program


def environment(switches: Switches) -> dict[str, str]:
    return {name: str(value) for name, value in switches.items()}


def mask(rules: set[str] | frozenset[str]) -> int:
    return sum(1 << RULES.index(rule) for rule in rules)


def search(program: Path, events: Switches, built: Switches,
           rules: Optional[set[str]] = None) -> Result:
    """Every interleaving of @events in the kernel @built. A path ends where it
    breaks one of @rules; the others (all others, without @rules) go on."""
    switches = {**QUIET, **events, **built,
                "RULES": mask(set(RULES) if rules is None else rules)}
    try:
        done = subprocess.run([program, f"-m{DEPTH}", "-w20", "-c0"],
                              env=environment(switches), capture_output=True,
                              text=True, timeout=LIMIT, check=False, cwd=OUT)
    except subprocess.TimeoutExpired:
        raise StepFailed(f"the search took more than {LIMIT} s: {switches}") from None
    states = re.search(r"(\d+) states, stored", done.stdout)
    if done.returncode or not states or "search depth too small" in done.stdout:
        raise StepFailed(f"the search did not end properly: {switches}\n"
                         f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Result(int(states[1]), frozenset(broken(done.stdout)))


def broken(output: str) -> Iterator[str]:
    for what in re.findall(r"^pan:\d+: (.*)", output, re.MULTILINE):
        rule = re.search(r"RULES&(\d+)", what)
        if rule:
            yield RULES[int(rule[1]).bit_length() - 1]
        elif what.startswith("invalid end state"):
            yield "deadlock"
        else:
            raise StepFailed(f"not a rule of the model: {what}")


def trace(events: Switches, built: Switches, rules: set[str]) -> Iterator[str]:
    """The shortest way to break one of @rules: who does which line."""
    source = MODEL.read_text().splitlines()
    env = environment({**QUIET, **events, **built, "RULES": mask(rules)})
    trail = OUT / f"{MODEL.name}.trail"
    trail.unlink(missing_ok=True)
    steps = build("pan-steps")
    shortest = build("pan-shortest", "-DBFS")
    subprocess.run([shortest], env=env, cwd=OUT, capture_output=True, timeout=LIMIT,
                   check=False)
    if not trail.exists():
        yield "no rule is broken"
        return
    replay = subprocess.run([steps, "-r", trail], env=env, cwd=OUT, text=True,
                            capture_output=True, timeout=LIMIT, check=False).stdout
    before = None
    for line in replay.splitlines():
        step = re.match(r"\s*\d+:\s+proc\s+\d+ \(:?(\w+):?\) \S+:(\d+) ", line)
        if step and step.groups() != before:
            before = step.groups()
            yield f"{step[1]:9} {int(step[2]):4}  {source[int(step[2]) - 1].strip()}"
        elif line.startswith("pan:"):
            yield line


def table(program: Path) -> Iterator[str]:
    for scenario in SCENARIOS:
        events = {**scenario.events, **VARIANTS[0]}
        yield f"{scenario.name:12} {scenario.what}"
        yield f"    mainline  {search(program, events, MAINLINE)}"
        yield f"    as built  {search(program, events, BUILT)}"
        for hole in dict.fromkeys(scenario.holes.values()):
            yield f"      {hole}: {HOLES[hole]}"
    for change, name, variant, _ in NEEDED:
        result = search(program, {**SCENARIO[name].events, **variant},
                        kernel(**change))
        yield f"{spelled(change):9} {name:11}{result}"


def arguments(words: list[str]) -> tuple[Scenario, dict[str, int], dict[str, int]]:
    """A scenario, changes to what happens, changes to the kernel."""
    name, *settings = words
    if name not in SCENARIO:
        die(f"no scenario '{name}'; there are: {' '.join(SCENARIO)}")
    events: dict[str, int] = {**VARIANTS[0]}
    built: dict[str, int] = {}
    for setting in settings:
        switch, _, value = setting.partition("=")
        where = built if switch in BUILT else events if switch in QUIET else None
        if where is None or not value.isdecimal() or int(value) > 7:
            die(f"'{setting}' is not SWITCH=number; switches: "
                f"{' '.join((*BUILT, *QUIET))}")
        where[switch] = int(value)
    return SCENARIO[name], events, built


def main(words: list[str]) -> None:
    want_trace = words[:1] == ["--trace"]
    if want_trace and not words[1:]:
        die("--trace needs a scenario")
    if problem := missing_tool():
        die(problem)
    try:
        with locked("model"):
            if want_trace:
                scenario, events, built = arguments(words[1:])
                for line in trace({**scenario.events, **events}, kernel(**built),
                                  set(RULES)):
                    say(line)
            elif words:
                scenario, events, built = arguments(words)
                say(str(search(build(), {**scenario.events, **events},
                               kernel(**built))))
            else:
                for line in table(build()):
                    say(line)
    except StepFailed as error:
        die(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
