"""No memory: each allocation of the plugin fails in turn, in a job of its own.

fd-host runs the plugin with AddressSanitizer and LeakSanitizer, and
failing_malloc.c lets one allocation fail.  Whichever it is: nothing crashes or
leaks, the job ends, one that says that it went well has done all its work,
one that did not says why, and nothing stays in QEMU or in the working
directory.

A backup asks for memory 63,000 times, nearly always where jansson reads QEMU's
schema; what matters is the place, which the plugin's frames on the stack tell.
An ordinary run takes the first allocation of every so manieth place, one with
QEMU_FD_LONG=1 several of every place.
"""

import os
import re
import shutil

import pytest

from harness.disk import MIB, Disk, assert_same, make_image
from harness.failing_malloc import FailingHost
from harness.guest import Guest

_LONG = os.environ.get("QEMU_FD_LONG") == "1"
_EACH_PLACE = 4
_GUEST = "/@qemu/VM1/0/"
_SAVED = ["RestoreOptions", f"{_GUEST}config.json", f"{_GUEST}vda.qcow2", f"{_GUEST}vdb.qcow2", "qemu-fd config"]

pytestmark = pytest.mark.timeout(7200 if _LONG else 900)


@pytest.fixture
def guest(make_guest, workdir):
    disks = [
        Disk("vda", make_image(workdir / "a.qcow2", MIB, seed=1)),
        Disk("vdb", make_image(workdir / "b.raw", MIB, "raw", seed=2), fmt="raw"),
    ]
    return make_guest(name="VM1", disks=disks)


@pytest.fixture
def failing(workdir):
    return FailingHost(workdir)


def _line(guest, extra=""):
    return f"qemu: qmpcontrol={guest.qmp_socket}{extra}"


def _chosen(allocations, step):
    if _LONG:
        return allocations.some_of_each_place(_EACH_PLACE)
    return [*allocations.first_of_each_place(step), allocations.count]


def _torture(failing, guest, kind, make_job, check_good, step):
    """Run make_job's job once for each failing allocation; what it did wrong, in words."""
    allocations = failing.count(make_job("counted"))
    wrong, ended_well = [], 0
    numbers = _chosen(allocations, step)
    for number in numbers:
        name = f"{kind}-{number}"
        result = failing.run(make_job(name), number)
        good = " ended: T, 0 errors" in result.log
        ended_well += good
        problems = _problems(result, good) + [*_left(guest), *map(str, failing.host.leftovers())]
        problems += check_good(name, result.log) if good else []
        if problems:
            wrong.append("\n".join([f"{kind}, allocation {number}:", *problems, result.log]))
            shutil.rmtree(failing.host.working)
            failing.host.working.mkdir(mode=0o700)
    print(f"{kind}: {allocations.count} allocations at {len(allocations.places)} places, "
          f"{len(numbers)} failed, {ended_well} jobs ended well all the same")  # fmt: skip
    assert not wrong, f"{len(wrong)} of {len(numbers)}:\n" + "\n".join(wrong)


def _left(guest):
    try:
        guest.assert_clean()
    except AssertionError as left:
        return [str(left)]
    return []


def _problems(result, good):
    if result.code not in (0, 1):
        return [f"exit {result.code}"]
    if not good and not re.search(r"^JobId \d+: (Error|Fatal error): ", result.log, re.M):
        return ["it failed and did not say why"]
    return []


def _backup(failing, guest, level="F", previous=""):
    def make_job(name):
        return failing.host.backup(name, _line(guest), level, previous)

    return make_job


def _check_backup(failing, guest):
    """What a good job promises: all files are there, and the next can be based on it."""

    def check(name, _):
        problems = []
        if list(failing.host.saved(name)) != _SAVED:
            problems.append(f"it saved {list(failing.host.saved(name))}")
        for disk in guest.disks:
            if not any(bitmap.endswith(f":{name}") for bitmap in guest.bitmaps(disk)):
                problems.append(f"{disk} has no bitmap of it")
        return problems

    return check


def _same(shadow, image, fmt="qcow2"):
    try:
        assert_same(shadow, image, fmt)
    except AssertionError:
        return False
    return True


def test_full(failing, guest):
    _torture(failing, guest, "backup-full", _backup(failing, guest), _check_backup(failing, guest), 20)


def test_incremental(failing, guest):
    assert failing.host.run(failing.host.backup("base", _line(guest))).code == 0
    guest.random_writes("vda", 3, seed=3)
    job = _backup(failing, guest, "I", "base")
    _torture(failing, guest, "backup-increment", job, _check_backup(failing, guest), 40)


@pytest.fixture
def chain(failing, guest):
    """Names of a Full and an Incremental."""
    host = failing.host
    assert host.run(host.backup("full", _line(guest))).code == 0
    guest.random_writes("vda", 3, seed=3)
    assert host.run(host.backup("next", _line(guest), "I", "full")).code == 0
    return ["full", "next"]


def test_restore_to_a_directory(failing, guest, chain, workdir):
    def make_job(name):
        return failing.host.restore(chain, workdir / name)

    def check(name, _):
        folder = workdir / name / _GUEST.strip("/")
        wrong = [disk for disk in guest.disks if not _same(guest.shadow(disk), folder / f"{disk}.qcow2")]
        return wrong + ([] if (folder / "config.json").exists() else ["no config.json"])

    _torture(failing, guest, "restore", make_job, check, 12)


def test_restore_to_the_original_place(failing, guest, chain, workdir):
    """The guest is off; another one shows that no QEMU is touched."""
    guest.quit()
    other = Guest(workdir / "other", name="other", disks=[])
    right = {name: guest.snapshot(name) for name in guest.disks}

    def make_job(_):
        return failing.host.restore(chain, options=["--form=convdestination=yes"])

    def check(*_):
        return [name for name, disk in guest.disks.items() if not _same(right[name], disk.path, disk.fmt)]

    with other:
        # So often that one fails of those for the user's form.
        _torture(failing, other, "restore", make_job, check, 3)


def test_estimate(failing, guest):
    job = failing.host.estimate(_line(guest))
    _torture(failing, guest, "estimate", lambda _: job, _check_shown(f"{_GUEST}vdb.qcow2\n"), 20)


def test_listing(failing, guest):
    """So often that one fails of those for the guest's name."""
    job = failing.host.estimate(_line(guest, " listing=/vmid"))
    _torture(failing, guest, "listing", lambda _: job, _check_shown(" 0 -> VM1\n"), 5)


def test_query(failing, guest):
    job = failing.host.query(_line(guest), "vm")
    _torture(failing, guest, "query", lambda _: job, _check_shown('"VM1"', '{"error":"'), 20)


def _check_shown(*texts):
    return lambda _, log: [] if any(text in log for text in texts) else [f"{texts} is not shown"]
