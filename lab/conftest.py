# SPDX-License-Identifier: GPL-2.0
"""pytest's side of the lab.

A case that takes the fixture "vm" runs twice: on the stock kernel and on the
series. Markers say the rest:
  machine("name")      the machine of lab/machines.py; default vtd-acpi
  defect("what", fixed=bool)
                       the case states what is right, and the stock kernel
                       gets it wrong: there the case must fail, or it guards
                       nothing. On the series it must pass if @fixed, else it
                       is an expected failure until it passes.
  expected_log("re")   a line that would be a splat is part of the case

LAB_VARIANT=debug runs everything on kernels with KASAN, UBSAN and lockdep,
LAB_VARIANT=kcsan on kernels that find data races, judged by test_races.py.
"""

import os
from contextlib import ExitStack
from typing import Iterator, Optional

import pytest

from lab import LabError, kcsan
from lab.kernel import DEBUG, KCSAN, Kernel, build_kernel, make_trees, trees
from lab.machines import MACHINES
from lab.ntb import NoModel, qemu_with_model, why_not
from lab.vm import LAST_LINES, VM
from scripts import qemu

DEFAULT_MACHINE = "vtd-acpi"
VARIANT = os.environ.get("LAB_VARIANT", "")
# As many as cases take by turns; each costs memory
MAX_GUESTS = 8

# of make same, which names them; and of use on kernels that find races only
collect_ignore = (["test_iommufd.py", "test_ntb_selftest.py",
                   "test_vfio_selftests.py"]
                  + ["test_races.py"] * (VARIANT != KCSAN))


class Pool:
    """Kernels built in this session, and guests, one of a kind. The one that was
    asked for last runs."""

    def __init__(self) -> None:
        self.kernels: dict[tuple[str, str, str], Kernel] = {}
        self.guests: dict[tuple[str, str], VM] = {}
        self.complaints: list[str] = []
        self.races: dict[str, list[kcsan.Race]] = {name: [] for name in trees()}

    def kernel(self, name: str, arch: str, variant: str = "") -> Kernel:
        """A kernel of this run's variant, and of @variant besides."""
        kind = name, arch, "-".join(filter(None, (VARIANT, variant)))
        if kind not in self.kernels:
            if not self.kernels:
                make_trees()
            # a build takes minutes, and memory
            self.close()
            self.kernels[kind] = build_kernel(*kind)
        return self.kernels[kind]

    def guest(self, kernel: str, machine: str) -> VM:
        """A guest for the next case: one that is there, or a new one."""
        for idle, other in list(self.guests.items()):
            if idle != (kernel, machine):
                other.pause()
                if not other.running():
                    # the next case that asks for it gets a new one
                    self.dismiss(self.guests.pop(idle))
        vm = self.guests.pop((kernel, machine), None)
        if vm:
            vm.resume()
        if not vm or not vm.running():
            if vm:
                self.dismiss(vm)
            while len(self.guests) >= MAX_GUESTS:
                # the one that no case has asked for for the longest time
                self.dismiss(self.guests.pop(next(iter(self.guests))))
            description = MACHINES[machine]
            vm = VM(self.kernel(kernel, description.arch, description.variant),
                    description)
        self.guests[kernel, machine] = vm
        return vm

    def dismiss(self, vm: VM) -> None:
        """Stop a guest for good. That it ended, or what it said, since its last
        case has failed no case: the session fails for it."""
        if vm.closed:
            return
        vm.resume()
        ended = not vm.running()
        try:
            found = vm.new_splats(vm.expected)
        except LabError as error:
            found = [str(error)]
        if ended:
            found += ["it ended:", *vm.lines()[-LAST_LINES:]]
        if found:
            self.complaints.append("\n".join(
                [f"{vm.log}, since the end of its last case:", *found]))
        vm.close()

    def close(self) -> None:
        while self.guests:
            self.dismiss(self.guests.popitem()[1])


POOL = pytest.StashKey[Pool]()


def pytest_configure(config: pytest.Config) -> None:
    for line in ("machine(name): machine of lab/machines.py to run on",
                 "defect(what, fixed): the stock kernel must fail this case",
                 "expected_log(pattern): a splat that belongs to the case"):
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a kernel comes after what does not."""
    for item in items:
        if "pool" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.long(minutes=1))


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("machine")
    if marker and MACHINES[marker.args[0]].arch == "arm64" \
            and os.environ.get("ARM64") != "1":
        pytest.skip("ARM64=1 runs it, which takes more kernels")


@pytest.fixture(scope="session")
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    pool = Pool()
    request.session.stash[POOL] = pool
    yield pool
    pool.close()
    assert not pool.complaints, "\n".join(pool.complaints)


def pytest_runtest_teardown(item: pytest.Item,
                            nextitem: Optional[pytest.Item]) -> None:
    """Guests that no case asks for any more leave the CPU to what comes next."""
    pool = item.session.stash.get(POOL, None)
    if pool and "pool" not in getattr(nextitem, "fixturenames", ()):
        pool.close()


@pytest.fixture(scope="session")
def built_model() -> None:
    """The QEMU that has the NTB model, if QEMU= does not name another one. That it
    cannot be built is found out once, and fails each case that needs it."""
    if not os.environ.get("QEMU"):
        qemu.build()


@pytest.fixture
def model(request: pytest.FixtureRequest, built_model: None) -> Iterator[None]:
    """The case's machine boots on the QEMU that has the NTB model. Skips the
    case if QEMU= has none, or if it cannot run the machine."""
    with ExitStack() as stack:
        try:
            stack.enter_context(qemu_with_model())
        except NoModel as error:
            pytest.skip(str(error))
        marker = request.node.get_closest_marker("machine")
        if reason := why_not(marker.args[0]):
            pytest.skip(reason)
        yield


@pytest.fixture(params=list(trees()))
def vm(request: pytest.FixtureRequest, pool: Pool) -> VM:
    marker = request.node.get_closest_marker("machine")
    machine = marker.args[0] if marker else DEFAULT_MACHINE
    if VARIANT == DEBUG and machine == "vtd-pciehp":
        pytest.skip("pciehp itself gives a lockdep splat on 7.3 (reset_lock "
                    "against pci_rescan_remove_lock), which ends lockdep")
    guest = pool.guest(request.param, machine)
    guest.note(f"case {request.node.nodeid}")
    return guest


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Run a case that takes a guest, and judge what it did to the guest."""
    guest = pyfuncitem.funcargs.get("vm")
    if not isinstance(guest, VM):
        return None         # not the lab's: pytest runs it
    error: Optional[BaseException] = None
    try:
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name]
                          for name in pyfuncitem._fixtureinfo.argnames})
    except BaseException as raised:
        error = raised
    expected = [m.args[0] for m in pyfuncitem.iter_markers("expected_log")]
    if VARIANT == KCSAN:
        # test_races.py sees to them
        expected.append(kcsan.TITLE)
    guest.expected = expected
    found = guest.new_splats(expected)
    if VARIANT == KCSAN:
        races = pyfuncitem.session.stash[POOL].races
        races[guest.kernel.name] += kcsan.races(guest.lines())
    if error or found:
        # The next case gets a machine that nobody has touched
        guest.close()
    if found:
        raise AssertionError(f"splats in {guest.log}:\n" +
                             "\n".join(found)) from error
    marker = pyfuncitem.get_closest_marker("defect")
    if marker:
        judge_defect(error, guest.kernel.name, marker.args[0],
                     marker.kwargs["fixed"])
    elif error:
        raise error
    return True


def judge_defect(error: Optional[BaseException], kernel: str, what: str,
                 fixed: bool) -> None:
    """Turn how a case that states a defect ended into its verdict."""
    if error and not isinstance(error, AssertionError):
        raise error         # the lab's own trouble proves nothing
    if kernel == "stock":
        if not error:
            raise AssertionError(f"guards nothing, the stock kernel passes: "
                                 f"{what}")
    elif fixed:
        if error:
            raise error
    elif error:
        pytest.xfail(what)
    else:
        raise AssertionError(f"passes with the series now, set fixed=True: "
                             f"{what}")
