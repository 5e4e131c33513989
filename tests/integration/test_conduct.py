"""How the plugin behaves towards guests, other monitor clients and the log."""

import contextlib
import os
import re
import time
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.history import History, sequences, wait_for_dump
from harness.monitor import Monitor
from harness.peer import Peer
from harness.pace import Stopwatch, patient, unhurried
from harness.process import PATIENCE, wait_until

# For what no Bacula has a part in.
_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

# The dump that other clients are served beside, in seconds.
_DUMP = 60 if os.environ.get("QEMU_FD_LONG") == "1" else 12


def _line(guest, more=""):
    return f"qemu: qmpcontrol={guest.qmp_socket}{more}"


def _small_guest(make_guest, workdir, name, title=None, seed=1, **options):
    """A guest of one disk; title is the -name that QEMU knows, if another."""
    image = make_image(workdir / f"{name}.qcow2", 2 * MIB, seed=seed)
    extra = ["-name", title] if title else []
    return make_guest(name=name, disks=[Disk("vda", image)], extra=extra, **options)


def _slow_guest(make_guest, workdir, name="VM1", size=6 * MIB, seconds=3):
    """A guest whose only disk takes about so many seconds to dump."""
    image = make_image(workdir / f"{name}.qcow2", size, density=1)
    guest = make_guest(name=name, disks=[Disk("vda", image, style="slow")])
    guest.slow_down("vda", size // seconds)
    return guest


def _own_lines(result):
    return re.findall(r"^fd JobId \d+: (.*qemu: .*)", result.log, re.M)


# Other users and other clients


@_one_version
def test_qemu_of_another_user(make_bacula, make_guest, workdir, public_folder):
    """asks 44: QEMU's user has no right in the working directory and needs none."""
    disks = [
        Disk("vda", make_image(public_folder / "a.qcow2", 4 * MIB, seed=1)),
        Disk(
            "vdb",
            make_image(public_folder / "b.raw", 2 * MIB, "raw", seed=2),
            "raw",
            style="blockdev",
        ),
    ]
    guest = make_guest(name="VM1", disks=disks, runas="nobody")
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    status = bacula.fd_working.stat()
    assert status.st_mode & 0o777 == 0o700 and status.st_uid == 0
    assert history.backup("Full").ok
    guest.random_writes("vda", 5, seed=1)
    guest.random_writes("vdb", 5, seed=2)
    increment = history.backup("Incremental")
    assert increment.ok and sequences(bacula, increment) == {"vda": 1, "vdb": 1}
    history.assert_restores()


def _ask(socket):
    """Seconds until a new client of a monitor has its first answer."""
    with Stopwatch() as watch:
        client = Monitor(socket)
        client.execute("query-status")
        client.close()
    return watch.seconds


@_one_version
def test_second_client_is_served_during_a_dump(make_bacula, make_guest, workdir):
    """QEMU serves one client at a time, and a dump must not be that client.

    One that stays for a few seconds fails no job either.  QEMU_FD_LONG=1 makes
    the dump last 60 seconds.
    """
    guest = _slow_guest(make_guest, workdir, size=_DUMP * MIB, seconds=_DUMP)
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    begin = time.monotonic()
    jobid = bacula.run("VM", wait=False)
    answers = []
    while bacula.catalog.job(jobid).status in "CR":
        answers.append(_ask(guest.qmp_socket))
        time.sleep(1 if answers[-1] < 1 else 0)
        if len(answers) == 4:
            with contextlib.closing(Monitor(guest.qmp_socket)):
                time.sleep(3)
    lasted = time.monotonic() - begin
    assert bacula.wait(jobid).ok
    print(f"\n{len(answers)} answers in {lasted:.0f} s, the slowest after {max(answers):.3f} s")
    assert len(answers) >= 5 and lasted > _DUMP * 0.8
    assert max(answers) < 2
    guest.assert_clean()


@_one_version
def test_monitor_that_does_not_answer(make_bacula, make_guest, workdir):
    """One that another client holds, and one of a process that is stuck.

    Both end after half a minute, a cancelled job at once, and other guests
    are backed up meanwhile.
    """
    held, free = (_small_guest(make_guest, workdir, name) for name in ("held", "free"))
    silent = Path(f"{free.qmp_socket}-silent")
    lines = {"held": held.qmp_socket, "silent": silent, "cancelled": silent}
    filesets = {job: [f"qemu: qmpcontrol={path}", _line(free)] for job, path in lines.items()}
    bacula = make_bacula(filesets={**filesets, "free": [_line(free)]})
    with Peer(silent):
        with contextlib.closing(Monitor(held.qmp_socket)):
            with Stopwatch() as until_ended:
                with Stopwatch() as until_cancelled:
                    jobs = {job: bacula.run(job, wait=False) for job in lines}
                    assert bacula.run("free").ok
                    bacula.cancel(jobs["cancelled"])
                    assert bacula.wait(jobs["cancelled"]).status == "A"
                results = {job: bacula.wait(jobs[job]) for job in ("held", "silent")}
    assert until_cancelled.seconds < 20
    assert until_ended.elapsed > 29 and until_ended.seconds < 50
    for job, result in results.items():
        assert result.status == "T" and result.errors >= 1, result.log
        assert (
            f'Error: qemu: guest "{lines[job]}": QMP socket "{lines[job]}": no greeting within 30'
            " seconds; another client uses this monitor: give qemu-fd one of its own (QEMU takes"
            " several -qmp options)"
        ) in result.log
    assert bacula.run("held").ok
    held.assert_clean()


# Guests in every state


@_one_version
def test_guest_reads_and_writes_during_its_dump(make_bacula, make_guest, workdir):
    """asks 24 and 31: it is never paused, writes are quick, and the dump shows the start."""
    image = make_image(workdir / "a.qcow2", 24 * MIB, density=0)
    guest = make_guest(name="VM1", disks=[Disk("vda", image, style="slow")])
    guest.write("vda", 1, 0, 8 * MIB)
    guest.slow_down("vda", unhurried(2 * MIB))
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    history.note_contents()
    jobid = bacula.run("VM", wait=False)
    wait_for_dump(guest, jobid)
    for step in range(8):  # where the disk was empty: that needs no slow read
        with Stopwatch() as watch:
            guest.write("vda", 2, 8 * MIB + step * 65536 + 512, 4096)
        assert watch.seconds < 1
        assert guest.qmp("query-status")["status"] == "running"
    assert guest.qmp("query-jobs")[0]["status"] == "running"
    guest.write("vda", 3, 8 * MIB - 4096, 4096)  # saved before it is overwritten
    history.take(bacula.wait(jobid))
    history.assert_restores()
    increment = history.backup("Incremental")
    assert sequences(bacula, increment) == {"vda": 1}
    history.assert_restores()


def _assert_paused_and_clean(guest):
    """Before 9.1 a QEMU closes passed descriptors only once its guest runs."""
    found = [left for left in guest.leftovers() if not left.startswith("fdset ")]
    assert found == ["guest is paused"]


@_one_version
def test_paused_guest_stays_paused(make_bacula, make_guest, workdir):
    """asks 31: a backup never changes what a guest is doing."""
    guest = _small_guest(make_guest, workdir, "VM1")
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    guest.stop()
    full = bacula.run("VM")
    assert full.ok, full.log
    _assert_paused_and_clean(guest)
    guest.cont()
    guest.random_writes("vda", 5, seed=1)
    guest.stop()
    history.note_contents()
    increment = bacula.run("VM", level="Incremental")
    assert increment.ok and sequences(bacula, increment) == {"vda": 1}
    _assert_paused_and_clean(guest)
    assert bacula.restore([full.jobid, increment.jobid], workdir / "restored").ok
    assert_same(history.contents["vda"], history.image(workdir / "restored", "vda"))
    guest.cont()
    Monitor(guest.qmp_socket).close()  # on which QEMU closes what it kept
    guest.assert_clean()


def _held_bytes(guest):
    """Disk space of deleted files that QEMU still has open."""
    opened = Path(f"/proc/{guest.pid}/fd").iterdir()
    return sum(
        entry.stat().st_blocks * 512
        for entry in opened
        if os.readlink(entry).endswith(" (deleted)") and "/qemu-fd-" in os.readlink(entry)
    )


@_one_version
def test_paused_guest_holds_no_disk_space(make_bacula, make_guest, workdir):
    """A QEMU that keeps a passed descriptor must not keep the dump's space."""
    guest = _small_guest(make_guest, workdir, "VM1")
    guest.stop()
    assert make_bacula(filesets={"VM": [_line(guest)]}).run("VM").ok
    assert _held_bytes(guest) == 0


@pytest.mark.parametrize(
    ("bacula_version", "end"),
    [("9.6.7", "kill"), ("15.0.3", "quit")],
    indirect=["bacula_version"],
    scope="module",
)
def test_guest_that_ends_during_its_dump(end, make_bacula, make_guest, workdir):
    """asks 27 and 28: an error within seconds, the next guest is saved, the daemon lives."""
    guest = _slow_guest(make_guest, workdir, seconds=patient(3))
    other = _small_guest(make_guest, workdir, "VM2")
    bacula = make_bacula(filesets={"VM": [_line(guest), _line(other)]})
    daemon = bacula.fd_pid
    jobid = bacula.run("VM", wait=False)
    wait_for_dump(guest, jobid)
    getattr(guest, end)()
    with Stopwatch() as watch:
        result = bacula.wait(jobid)
    assert watch.seconds < 15
    assert result.status == "T" and not result.ok, result.log
    errors = [line for line in _own_lines(result) if "rror" in line]
    assert len(errors) == 1 and 'qemu: guest "VM1", disk "vda": ' in errors[0], errors
    assert "VM1/0/vda.qcow2" not in str(bacula.list_files(jobid))
    assert sequences(bacula, result) == {"vda": 0} and "Finish backup of VM2/vda" in result.log
    assert bacula.fd_leftovers() == []

    guest.start()
    result = bacula.run("VM", level="Incremental")
    assert result.ok and bacula.fd_pid == daemon, result.log
    assert "Dumped VM1/vda: Full instead of Incremental (no bitmap of job VM." in result.log
    assert bacula.restore(result.jobid, workdir / "restored", files=["/@qemu/VM1/0/vda.qcow2"]).ok
    assert_same(guest.shadow("vda"), workdir / "restored/@qemu/VM1/0/vda.qcow2")


# Many guests


def test_ten_guests_at_once(make_bacula, make_guest, workdir):
    """Ten jobs in one daemon begin at one moment and do not mix."""
    names = [f"VM{number}" for number in range(10)]
    guests = {
        name: _small_guest(make_guest, workdir, name, seed=seed) for seed, name in enumerate(names)
    }
    bacula = make_bacula(filesets={name: [_line(guest)] for name, guest in guests.items()})
    with contextlib.ExitStack() as held:
        for guest in guests.values():
            held.enter_context(contextlib.closing(Monitor(guest.qmp_socket)))
        jobs = bacula.run_all(names)
        folders = bacula.fd_working.glob
        wait_until(lambda: len(list(folders("qemu-fd-*"))) == 10, PATIENCE, "ten jobs at work")
    results = [bacula.wait(jobid) for jobid in jobs]
    assert [result.ok for result in results] == [True] * 10
    assert bacula.restore(jobs, workdir / "restored").ok
    for name, guest in guests.items():
        assert_same(guest.shadow("vda"), workdir / f"restored/@qemu/{name}/0/vda.qcow2")
        assert len(guest.bitmaps("vda")) == 2  # its own and the witness of its size
        guest.assert_clean()
    assert bacula.fd_leftovers() == []


# -name -> folder of its files
_AWKWARD = {
    'Büro "7" / it\'s 100%': 'Büro "7" %2F it\'s 100%25',
    "../../up": "%2E.%2F..%2Fup",
    " line\nfeed\\ ": " line%0Afeed\\ ",
}


def test_awkward_names_on_three_lines_of_one_job(make_bacula, make_guest, workdir):
    """Names never lead out of /@qemu, and each guest has its own chain."""
    guests = {
        title: _small_guest(make_guest, workdir, f"vm{seed}", title, seed)
        for seed, title in enumerate(_AWKWARD)
    }
    bacula = make_bacula(filesets={"VM": [_line(guest) for guest in guests.values()]})
    full = bacula.run("VM")
    assert full.ok, full.log
    saved = {file.path for file in bacula.list_files(full.jobid)}
    assert saved == {
        f"/@qemu/{folder}/0/{file}"
        for folder in _AWKWARD.values()
        for file in ("config.json", "vda.qcow2")
    }
    for title, guest in guests.items():
        assert f"qemu: Start Backup vm: {title} (0)".replace("\n", " ") in full.log
        guest.random_writes("vda", 3, seed=1)
    increment = bacula.run("VM", level="Incremental")
    assert increment.ok and increment.log.count(": Incremental, ") == 3, increment.log
    assert bacula.restore([full.jobid, increment.jobid], workdir / "restored").ok
    for title, guest in guests.items():
        folder = workdir / "restored/@qemu" / _AWKWARD[title] / "0"
        assert_same(guest.shadow("vda"), folder / "vda.qcow2")
        guest.assert_clean()
    assert len(list((workdir / "restored").rglob("*.qcow2"))) == 3


@_one_version
def test_one_name_twice_in_one_job(make_bacula, make_guest, workdir):
    """Two guests of one name, or one guest on two lines: the first is saved, the second is said."""
    first, second = (
        _small_guest(make_guest, workdir, name, "twin", seed=seed)
        for seed, name in enumerate(("one", "two"))
    )
    filesets = {"twins": [_line(first), _line(second)], "twice": [_line(first), _line(first)]}
    bacula = make_bacula(filesets=filesets)
    said = {
        "twins": 'guest "twin": this job has backed up a guest of that name already; give every',
        "twice": 'guest "twin": disk "vda": this job has backed it up already; name each guest on',
    }
    for job, text in said.items():
        result = bacula.run(job)
        assert result.status == "T" and result.errors == 1, result.log
        assert f"Error: qemu: {text}" in result.log
        assert sequences(bacula, result) == {"vda": 0}
        assert second.bitmaps("vda") == {}
        guest_lines = [file.path for file in bacula.list_files(result.jobid)]
        assert len(guest_lines) == len(set(guest_lines)) == 2
        first.random_writes("vda", 3, seed=1)
        increment = bacula.run(job, level="Incremental")
        assert sequences(bacula, increment) == {"vda": 1}
        assert bacula.restore([result.jobid, increment.jobid], workdir / job).ok
        assert_same(first.shadow("vda"), workdir / job / "@qemu/twin/0/vda.qcow2")
    first.assert_clean()
    second.assert_clean()
    assert bacula.fd_leftovers() == []


# The log


@_one_version
def test_no_noise_and_no_secret_in_the_logs(make_bacula, make_guest, workdir):
    """asks 47: four lines a guest and one a disk at most, beyond the manual's."""
    secret = "s3cr3t-of-the-guest"
    disks = [Disk(name, make_image(workdir / name, 2 * MIB)) for name in ("vda", "vdb")]
    extra = ["-object", f"secret,id=key,data={secret}"]
    guest = make_guest(name="VM1", disks=disks, extra=extra)
    bacula = make_bacula(filesets={"VM": [_line(guest)]}, fd_debug=800)
    full = bacula.run("VM")
    increment = bacula.run("VM", level="Incremental")
    local = bacula.restore([1, 2], workdir / "restored")
    for result, of_manual in ((full, 1 + 2), (increment, 1 + 2), (local, 1 + 2 + 2)):
        assert result.ok and len(_own_lines(result)) <= of_manual + 4 + len(disks), result.log
        assert secret not in result.log
    assert "QMP > " in bacula.fd_log() and secret not in bacula.fd_log()
    assert secret in (workdir / "restored/@qemu/VM1/0/config.json").read_text()
