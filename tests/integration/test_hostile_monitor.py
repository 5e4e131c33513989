"""A monitor that somebody took over: the job says what is wrong, and nothing else happens.

A QEMU may be in its guest's hands.  What it says is made up here; fuzzing (fuzz_monitor) says
far more of it, but not through a daemon and not with real time.
"""

import time

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.fd_host import FdHost
from harness.preload import ShiftedClock
from harness.restored import image
from harness.scripted_monitor import ScriptedMonitor

_ASAN = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"}


@pytest.fixture
def host(workdir):
    return FdHost(workdir / "host", 23, flavour="asan", env=_ASAN)


def _disk(**members):
    image = {"filename": "/disk", "format": "raw", "virtual-size": MIB}
    inserted = {"node-name": "n0", "drv": "raw", "ro": False, "image": image, **members}
    return {"device": "vda", "removable": False, "inserted": inserted}


_DEEP = "x"
for _ in range(500):
    _DEEP = [_DEEP]

# What is said instead, and what the job log says of it.
_CASES = {
    "two disks of one name": (
        {"query_block": [_disk(), _disk(**{"node-name": "other"})]}, 'two disks are named "vda"',
    ),
    "too many disks": (
        {"query_block": [{**_disk(), "device": f"d{n}"} for n in range(1025)]},
        "it has more than 1024 disks",
    ),
    "more bitmaps than matter": (
        {"query_block": [{**_disk(), "dirty-bitmaps": [{"name": "x"}] * 5000}]},
        "QEMU did not say which fdset it made",
    ),
    "a disk without a size": (
        {"query_block": [_disk(image={"virtual-size": -1})]}, "does not say the format or size",
    ),
    "a disk of a huge size": (
        {"query_block": [_disk(image={"virtual-size": 2**63 - 1})]}, "bytes free and needs up to",
    ),
    "a state that is none for a backup": (
        {"query_status": {"status": "suspended"}}, 'the guest is in the state "suspended"',
    ),
    "lists that are none": (
        {"query_block": "x"}, "QEMU's answer to query-block is no list",
    ),
    "jobs that are none": (
        {"query_jobs": {"id": "x"}}, "QEMU's answer to query-jobs is no list",
    ),
    "deep jobs": (
        {"query_jobs": [_DEEP]}, "QEMU did not say which fdset it made",
    ),
    "a descriptor set that is no number": (
        {"add_fd": {"fdset-id": "../../etc"}}, "QEMU did not say which fdset it made",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", _CASES)
def test_answers_without_sense(host, tmp_path, kind):
    """One line, and the job's end, no crash, no leak, nothing left."""
    answers, why = _CASES[kind]
    with ScriptedMonitor(tmp_path / "qmp", **answers):
        done = host.run(host.backup("job", f"qemu: qmpcontrol={tmp_path}/qmp"))
    assert done.code in (0, 1), done.log
    errors = [line for line in done.log.splitlines() if "rror: qemu: " in line]
    assert len(errors) == 2 and why in errors[0], done.log
    assert "nothing was saved of any guest, so the job fails" in errors[1], done.log
    assert host.leftovers() == []


def test_no_line_of_the_job_log_is_forged(host, tmp_path):
    """A name with a line feed cannot say that a job ended well."""
    name = "x\nJobId 1: qemu: Finish backup of x/vda\r\x1b[2K"
    with ScriptedMonitor(tmp_path / "qmp", name, query_status={"status": "colo"}):
        done = host.run(host.backup("job", f"qemu: qmpcontrol={tmp_path}/qmp"))
    with ScriptedMonitor(tmp_path / "qmp2", name, add_fd={"fdset-id": name}):
        again = host.run(host.backup("again", f"qemu: qmpcontrol={tmp_path}/qmp2"))
    for log in (done.log, again.log):
        assert not any(line.startswith("JobId 1: qemu: Finish") for line in log.splitlines()), log
        assert "\x1b" not in log and "\r" not in log


class _BesideThePoint(ScriptedMonitor):
    """Answers, but never what was asked: for 50 seconds, and then for 15 more."""

    def __init__(self, path, clock):
        super().__init__(path)
        self.outlived = []  # seconds that the other side had waited when it still listened
        self._clock = clock

    def _reply(self, stream, number, answer):
        if number > 1:
            for seconds in (50, 15):
                self._say_much(stream, number, answer)
                self.outlived.append(seconds)
                self._clock.leap(seconds)
            while True:
                self._say_much(stream, number, answer)
        super()._reply(stream, number, answer)

    def _say_much(self, stream, number, answer):
        for _ in range(50):
            self._say(stream, {"return": answer, "id": number + 1000})
            time.sleep(0.01)


def test_a_monitor_that_answers_something_else(make_guest, workdir, tmp_path):
    """The limit of a minute holds, and the next guest is backed up."""
    clock = ShiftedClock(workdir)
    asan = {"ASAN_OPTIONS": f"{_ASAN['ASAN_OPTIONS']}:verify_asan_link_order=0"}
    host = FdHost(workdir / "host", 23, flavour="asan", env={**asan, **clock.environment})
    guest = make_guest(disks=[Disk("vda", make_image(workdir / "vda.qcow2", MIB, seed=1))])
    lines = [f"qemu: qmpcontrol={tmp_path}/qmp", f"qemu: qmpcontrol={guest.qmp_socket}"]
    with _BesideThePoint(tmp_path / "qmp", clock) as monitor:
        done = host.run([*host.backup("job", lines[0]), lines[1]])
    assert monitor.outlived == [50, 15]
    assert "QMP command query-qmp-schema: no answer in time" in done.log, done.log
    restore = host.run(host.restore(["job"], workdir / "restored"))
    assert restore.code == 0, restore.log
    assert_same(guest.shadow("vda"), image(workdir / "restored", "vda"))
