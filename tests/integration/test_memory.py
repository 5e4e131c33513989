"""Memory: none lost, none used by the size of a disk, none shared by jobs at once.

Leaks are looked for twice, through fd-host: by AddressSanitizer in the plugin
built for it, and by valgrind in the plugin as it is shipped.  fd-host also
counts descriptors and children at the end.
"""

import itertools
import json
import random
import re
import shutil
import socket
import threading

import pytest

from harness.disk import MIB, Disk, assert_same, make_image
from harness.fd_host import FINDING, FdHost
from harness.pace import patient
from harness.process import PATIENCE, run

_GIB = 1024 * MIB
_GROWTH_LIMIT = 32 * MIB
_VALGRIND = [
    "valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,possible",
    f"--error-exitcode={FINDING}",
]  # fmt: skip
# QEMU is asked how far the dump is, hence it runs.
_DUMPING = ['--when="execute":"transaction"', '--when="execute":"query-jobs"']


@pytest.fixture(params=["asan", "valgrind"])
def host(request, workdir):
    if request.param == "asan":
        return FdHost(workdir / "host", 23, flavour="asan")
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed")
    return FdHost(workdir / "host", 23, flavour="", wrapper=_VALGRIND)


@pytest.fixture
def guest(make_guest, workdir):
    disks = [
        Disk("vda", make_image(workdir / "a.qcow2", 8 * MIB, seed=1, density=1), style="slow"),
        Disk("vdb", make_image(workdir / "b.raw", 8 * MIB, "raw", seed=2), fmt="raw"),
    ]
    return make_guest(name="VM1", disks=disks)


def _line(guest, extra=""):
    return f"qemu: qmpcontrol={guest.qmp_socket}{extra}"


def _assert_no_finding(result, code=0):
    """The run ended as it should, which a finding would have prevented."""
    assert result.code == code, result.log


def test_good_jobs_lose_nothing(guest, host, workdir):
    """A backup of every level, every kind of restore, estimate, listing, query."""
    line = _line(guest)
    result = host.run(
        host.backup("full", line),
        host.backup("increment", line, "I", "full"),
        host.backup("differential", line, "D", "full"),
        host.backup("by-disk", f"{line} transaction=disk"),
        host.restore(["full", "increment"], workdir / "restored"),
        host.restore(["full", "differential"], options=["--form=convdestination=no"]),
        host.estimate(line, "I", "increment"),
        host.estimate(f"{line} listing=/vmid"),
        host.query(line, "vm"),
    )
    _assert_no_finding(result)
    guest.assert_clean()
    guest.quit()
    original = ["--form=convdestination=yes"]
    _assert_no_finding(host.run(host.restore(["full", "differential"], options=original)))
    for disk in guest.disks.values():
        assert_same(guest.shadow(disk), disk.path, disk.fmt)


def test_failed_jobs_lose_nothing(guest, host, workdir):
    """Jobs that fail before, in and after the work on a guest."""
    line = _line(guest)
    (workdir / "no-socket").touch()
    result = host.run(
        host.backup("missing", "qemu: qmpcontrol=/nowhere/qmp"),
        host.backup("file", f"qemu: qmpcontrol={workdir}/no-socket abort_on_error=1"),
        host.backup("unknown", f"{line} colour=blue"),
        host.backup("persistent", f"{line} bitmap-persistence=1"),
        host.backup("unwritable", f"{line} working=/proc/nowhere"),
        host.estimate("qemu: qmpcontrol=/nowhere/qmp"),
        host.estimate(f"{line} listing=/moon"),
        host.query("qemu: qmpcontrol=/nowhere/qmp", "vm"),
    )
    _assert_no_finding(result, code=1)
    assert result.log.count("ended: f, ") == 5, result.log
    guest.assert_clean()


def test_failed_restores_lose_nothing(guest, host, workdir):
    """A part that is too short, one without its base, a disk in use, a bad form, a cancel."""
    line = _line(guest)
    _assert_no_finding(host.run(host.backup("full", line), host.backup("next", line, "I", "full")))
    short = host.archive("short")
    shutil.copytree(host.archive("full"), short)
    image = next(f for f in sorted(short.glob("*.data")) if f.stat().st_size > MIB)
    run(["truncate", "-s", "1M", image])
    cancel = ["--when=Restoring device", "--cancel"]
    result = host.run(
        host.restore(["short"], workdir / "restored"),
        host.restore(["full"], options=["--form=convdestination=yes"]),
        host.restore(["full"], options=["--form=colour=blue"]),
        host.restore(["full", "next"], workdir / "cancelled", options=cancel),
    )
    _assert_no_finding(result, code=1)
    assert result.log.count("ended: ") == 4 and "ended: A" in result.log, result.log
    assert host.leftovers() == []


class _Quitter(threading.Thread):
    """A monitor that answers the first command only and hangs up with an event."""

    _GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""},
                         "capabilities": []}}  # fmt: skip
    _EVENT = {"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 1}}

    def __init__(self, path):
        super().__init__(daemon=True)
        self._listener = socket.create_server(str(path), family=socket.AF_UNIX)
        self.start()

    def run(self):
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            self._say(stream, self._GREETING)
            first = json.loads(stream.readline())
            self._say(stream, {"return": {}, "id": first["id"]})
            stream.readline()
            self._say(stream, self._EVENT)
        self._listener.close()

    @staticmethod
    def _say(stream, message):
        stream.write(json.dumps(message) + "\n")
        stream.flush()


def test_a_monitor_that_hangs_up_after_an_event_loses_nothing(host, tmp_path):
    """What was an event is not freed a second time with the answer that never came."""
    monitor = _Quitter(tmp_path / "qmp")
    result = host.run(host.backup("quit", f"qemu: qmpcontrol={tmp_path}/qmp"))
    _assert_no_finding(result, code=1)
    assert "QEMU closed the connection" in result.log
    monitor.join(PATIENCE)


def test_cancel_during_a_dump_loses_nothing(guest, host):
    """The cancel comes on another thread while QEMU dumps."""
    guest.slow_down("vda", 4 * MIB)
    result = host.run(host.backup("cancelled", _line(guest), options=[*_DUMPING, "--cancel"]))
    _assert_no_finding(result, code=1)
    # A cancel in the middle of a read makes that read an error of the daemon's.
    assert "ended: A, " in result.log and "Error: qemu: " not in result.log, result.log
    guest.slow_down("vda")
    guest.assert_clean()
    assert guest.bitmaps("vda") == {} and host.leftovers() == []


def test_a_guest_that_dies_during_a_dump_loses_nothing(guest, host):
    """QEMU is killed while it dumps (complaints 27 and 28)."""
    guest.slow_down("vda", 4 * MIB)
    kill = [*_DUMPING, f"--execute=kill -9 {guest.pid}"]
    result = host.run(host.backup("dead", _line(guest), options=kill))
    _assert_no_finding(result, code=1)
    assert 'Error: qemu: guest "VM1"' in result.log and "ended: f, " in result.log, result.log
    assert host.leftovers() == []
    guest.kill()


def test_ten_jobs_at_once_share_nothing(make_guest, workdir):
    """Ten threads of one daemon, and a cancel from an eleventh, under ThreadSanitizer."""
    host = FdHost(workdir / "host", 23, flavour="tsan")
    names = [f"VM{number}" for number in range(10)]
    guests = {}
    for seed, name in enumerate(names):
        image = make_image(workdir / f"{name}.qcow2", 2 * MIB, seed=seed)
        guests[name] = make_guest(name=name, disks=[Disk("vda", image)])
    backups = [host.backup(name, _line(guest)) for name, guest in guests.items()]
    _assert_no_finding(host.run(*backups, options=["--parallel"]))
    restores = [host.restore([name], workdir / "restored") for name in names]
    cancel = [_DUMPING[0], "--cancel"]
    cancelled = host.backup("cancelled", _line(guests["VM0"]), options=cancel)
    result = host.run(*restores, cancelled, options=["--parallel"])
    _assert_no_finding(result, code=1)
    assert result.log.count("restore ended: T, 0 errors") == 10, result.log
    assert result.log.count("backup ended: A, 0 errors") == 1, result.log
    for guest in guests.values():
        guest.assert_clean()


def test_cancels_at_random_moments_share_nothing(make_guest, workdir):
    """Ten jobs of every kind at once, each cancelled by a thread of its own or just in time done."""
    host = FdHost(workdir / "host", 23, flavour="tsan")
    source = random.Random(4)
    guests = []
    for seed in range(5):
        image = make_image(workdir / f"VM{seed}.qcow2", 2 * MIB, seed=seed)
        guests.append(make_guest(name=f"VM{seed}", disks=[Disk("vda", image)]))
    lines = [_line(guest) for guest in guests]
    bases = [f"base{number}" for number in range(5)]
    backups = [host.backup(base, line) for base, line in zip(bases, lines)]
    _assert_no_finding(host.run(*backups, options=["--parallel"]))
    ends = ""
    for turn in range(12):
        jobs = [host.backup(f"{turn}-{base}", line, "I", base) for base, line in zip(bases[:4], lines)]
        jobs += [host.restore([base], workdir / f"{turn}-{base}") for base in bases[:3]]
        jobs += [host.estimate(lines[4]), host.estimate(f"{lines[4]} listing=/vmid"), host.query(lines[4], "vm")]
        jobs = [[job[0], f"--cancel-after={source.randint(1, patient(150))}", *job[1:]] for job in jobs]
        result = host.run(*jobs, options=["--parallel"])
        assert result.code in (0, 1), result.log
        # A cancel in the middle of a read makes that read an error of the daemon's.
        ended = re.findall(r" ended: (T(?=, 0 errors$)|A(?=, [01] errors$))", result.log, re.M)
        assert len(ended) == len(jobs), result.log
        ends += "".join(ended)
        for guest in guests:
            guest.assert_clean()
        assert host.leftovers() == []
    print(f"{len(ends)} jobs, of which {ends.count('A')} were cancelled")
    assert ends.count("A") > 20 and ends.count("T") > 20, ends


def _growth(bacula, guest):
    """Bytes by which a Full lets a fresh File Daemon grow, at its highest."""
    before, _ = bacula.fd_rss()
    job = bacula.run("VM")
    assert job.ok, job.log
    guest.assert_clean()
    return bacula.fd_rss()[1] - before


@pytest.mark.measures_memory
@pytest.mark.parametrize("bacula_version", ["9.6.7"], indirect=True)
def test_memory_for_a_sparse_disk_of_a_tebibyte(make_bacula, make_guest, workdir):
    """No list of extents or clusters is ever held (complaint 35)."""
    image = workdir / "large.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1T"])
    guest = make_guest(disks=[Disk("vda", image)])
    guest.write("vda", 1, 700 * _GIB, MIB)
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    growth = _growth(bacula, guest)
    print(f"Bacula {bacula.version}: {growth / MIB:.1f} MiB for a sparse disk of 1 TiB")
    assert growth < _GROWTH_LIMIT


@pytest.mark.measures_memory
@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_memory_for_two_gibibytes_of_data(make_bacula, make_guest, workdir):
    """Data only ever passes through."""
    image = workdir / "full.raw"
    chunk = random.Random(1).randbytes(MIB)
    with image.open("wb") as file:
        file.writelines(itertools.repeat(chunk, 2 * _GIB // MIB))
    guest = make_guest(disks=[Disk("vda", image, "raw")])
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    growth = _growth(bacula, guest)
    print(f"Bacula {bacula.version}: {growth / MIB:.1f} MiB for 2 GiB of data")
    assert growth < _GROWTH_LIMIT
