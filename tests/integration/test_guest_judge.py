"""The judge of what a guest saw of a job finds what it is there for, and nothing in a guest that is well."""

import pytest
from fault_cases.guest_judge import GuestJudge
from harness.disk import MIB, Disk, assert_same, make_image
from harness.process import PATIENCE, wait_until
from harness.watched_guest import WatchedGuest

_SIZE = 16 * MIB
_SLOW = 4  # writes a second


@pytest.fixture(params=["", "report"])
def guest(request, workdir):
    """Its program writes to a disk that QEMU can slow down."""
    disks = [
        Disk("plain", make_image(workdir / "plain.raw", MIB, "raw"), "raw", style="blockdev"),
        Disk("first", make_image(workdir / "first.qcow2", _SIZE), style="slow", werror=request.param),
    ]
    with WatchedGuest(workdir / "vm", disks, "first", name="vm") as made:
        yield made


@pytest.fixture
def judge(guest):
    made = GuestJudge(guest)
    made.note()
    return made


def test_guest_that_is_well(guest, judge):
    """Whatever was written beside its program, and when it was reset."""
    for disk in guest.disks:
        guest.random_writes(disk, 10, seed=1)
    guest.system_reset()
    judge.assert_unharmed()
    judge.assert_speed()


def test_paused(guest, judge):
    """One that is paused now, and one that was."""
    guest.stop()
    with pytest.raises(AssertionError, match="the guest is paused"):
        judge.assert_unharmed()
    guest.cont()
    with pytest.raises(AssertionError, match="the guest was stopped"):
        judge.assert_unharmed()
    judge.excuse()
    judge.assert_unharmed()
    guest.stop()
    guest.cont()
    with pytest.raises(AssertionError, match="the guest was stopped"):
        judge.assert_unharmed()
    guest.restart()
    judge.assert_unharmed()


def test_write_that_failed(guest, judge):
    """As a dump whose target has no room does it: to the guest, or by stopping it."""
    guest.qmp("blockdev-add", driver="blkdebug", node_name="target",
              image={"driver": "null-co", "size": _SIZE, "read-zeroes": True},
              inject_error=[{"event": "none", "iotype": "write", "errno": 28, "once": False}])
    guest.qmp("blockdev-backup", device="first", target="target", sync="none", job_id="full")
    wait_until(lambda: guest.failed_writes() or guest.events("STOP"), PATIENCE, "a write to fail")
    stops = not guest.disks["first"].werror
    with pytest.raises(AssertionError, match="guest is io-error" if stops else "writes of the guest have failed"):
        judge.assert_unharmed()
    guest.qmp("block-job-cancel", device="full")
    wait_until(lambda: not guest.qmp("query-jobs"), PATIENCE, "the job to end")
    if stops:
        guest.cont()  # QEMU repeats the write
    judge.excuse()
    judge.assert_unharmed()
    judge.assert_speed()
    assert bool(guest.failed_writes()) != stops


def test_slowed_down(guest, judge):
    """For ever, which a busy machine is not."""
    path = f"/objects/{guest.disks['first'].throttle_group}"
    guest.qmp("qom-set", path=path, property="limits", value={"iops-write": _SLOW})
    judge.assert_unharmed()
    judge.patience = 5
    with pytest.raises(AssertionError, match=r"a write of the guest takes [\d.]+ ms at best"):
        judge.assert_speed()
    guest.qmp("qom-set", path=path, property="limits", value={"iops-write": 0})
    judge.patience = 60
    judge.assert_speed()


def test_writes_go_round_the_program(guest):
    """The disk's content stays known: what is there only the program writes, always the same."""
    guest.write("first", 1, 0, _SIZE)
    guest.write_zeroes("first", 10 * MIB, 4 * MIB)
    guest.discard("first", 10 * MIB, 4 * MIB)
    guest.await_writes(20)
    guest.flush("first")
    copy = guest.snapshot("first")
    guest.quit()
    assert_same(copy, guest.disks["first"].path)
