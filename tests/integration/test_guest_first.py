"""Whatever becomes of a backup: its guest runs, its writes succeed, and QEMU is clean in the end."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, wait_for_dump
from harness.monitor import Monitor
from harness.preload import BrokenStorage, build
from harness.pace import patient, slowness
from harness.process import PATIENCE, kill_all_of, processes_of, run, wait_until
from harness.served_disk import ServedDisk, Server
from harness.writing_guest import WritingGuest

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

_SLOW = 2 * MIB  # bytes a second


def jobs_of_ours(guest):
    """What runs in its QEMU."""
    return [job["id"] for job in guest.qmp("query-jobs")]


@pytest.fixture
def make_writing_guest(workdir):
    """Start a guest that writes all the time: as make_guest."""
    with contextlib.ExitStack() as stack:

        def make(name="vm", **options):
            guest = WritingGuest(workdir / name, name=name, **options)
            stack.callback(guest.close)
            guest.start()
            return guest

        yield make


# Room


@pytest.mark.parametrize("werror", [pytest.param("", marks=pytest.mark.long), "report"],
                         ids=["stops", "reports"])
def test_two_jobs_do_not_count_the_same_room(make_writing_guest, make_bacula, make_tmpfs, workdir,
                                             werror):
    """The second one finds that it is taken, before its guest is touched."""
    size = 48 * MIB
    room = make_tmpfs("room", 72 * MIB)
    guests, lines = [], {}
    for name in ("one", "two"):
        image = make_image(workdir / f"{name}.raw", size, "raw", 1, 1)
        disk = Disk("vda", image, "raw", style="slow", werror=werror)
        guests.append(make_writing_guest(name=name, disks=[disk], size=size))
        lines[name] = [f"qemu: qmpcontrol={guests[-1].qmp_socket} working={room}"]
    bacula = make_bacula(filesets=lines)
    guests[0].slow_down("vda", _SLOW)
    first = bacula.run("one", "Full", wait=False)
    wait_for_dump(guests[0], first, share=0.02)
    second = bacula.run("two", "Full")
    assert "bytes free and needs up to" in second.log and second.errors, second.log
    assert jobs_of_ours(guests[1]) == []
    guests[0].slow_down("vda")
    assert bacula.wait(first).ok
    for guest in guests:
        guest.assert_unharmed()
        guest.assert_clean()
    assert list(room.iterdir()) == []
    assert bacula.run("two", "Full").ok


@pytest.mark.long
def test_what_fills_the_directory_meanwhile_harms_nobody(make_writing_guest, make_bacula,
                                                         make_tmpfs, workdir):
    """The dump has its room, whoever takes the rest; an increment's too."""
    size = 24 * MIB
    room = make_tmpfs("room", 40 * MIB)
    disk = Disk("vda", make_image(workdir / "a.raw", size, "raw", 1, 1), "raw", style="slow")
    guest = make_writing_guest(disks=[disk], size=size)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} working={room}"]})
    for level in ("Full", "Incremental"):
        guest.slow_down("vda", _SLOW)
        jobid = bacula.run("VM", level, wait=False)
        wait_for_dump(guest, jobid, share=0.02)
        with contextlib.suppress(OSError), (room / "filler").open("wb", 0) as filler:
            while filler.write(bytes(65536)):
                pass
        guest.slow_down("vda")
        assert bacula.wait(jobid).ok
        guest.assert_unharmed()
        (room / "filler").unlink()


@pytest.mark.parametrize("below", [False, True], ids=["itself", "below"])
def test_compressed_clusters_count_whole(make_guest, make_bacula, make_tmpfs, workdir, below):
    """A compressed image, or one below an overlay, is not the size of its dump."""
    plain = make_image(workdir / "plain.raw", 64 * MIB, "raw", 1, 1)
    image = workdir / "a.qcow2"
    run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", plain, image])
    assert image.stat().st_blocks * 512 < 16 * MIB
    if below:
        image = make_image(workdir / "top.qcow2", 64 * MIB, backing=(image, "qcow2"))
    room = make_tmpfs("room", 40 * MIB)
    guest = make_guest(disks=[Disk("vda", image)])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} working={room}"]})
    result = bacula.run("VM", "Full")
    assert "bytes free and needs up to" in result.log, result.log
    assert guest.events("JOB_STATUS_CHANGE") == [] and list(room.iterdir()) == []
    run(["mount", "-o", "remount,size=80m", room])
    assert bacula.run("VM", "Full").ok


# Room that cannot be reserved


@pytest.fixture
def unreserved(make_bacula, workdir, request):
    """Start a Bacula whose File Daemon's storage reserves nothing: as make_bacula."""
    says = {"FALLOCATE_SAYS_YES": "1"} if getattr(request, "param", "no") == "yes" else {}
    environment = {"LD_PRELOAD": str(build("no_fallocate", workdir)), **says}
    return lambda **options: make_bacula(fd_env=environment, **options)


def guards(bacula):
    """Process ids of the guards that its plugin has started, and of those who keep them."""
    return processes_of(bacula.helper)


def fill(room, leave):
    """Take room away, not faster than a disk does that has this load."""
    with (room / "filler").open("wb", 0) as filler:
        while os.statvfs(room).f_bavail * os.statvfs(room).f_frsize > leave:
            filler.write(bytes(64 * 1024))
            time.sleep(0.002 * slowness())


@pytest.mark.parametrize("werror", ["", pytest.param("report", marks=pytest.mark.long)],
                         ids=["stops", "reports"])
@pytest.mark.parametrize("unreserved", ["no", "yes"], indirect=True)
def test_the_room_is_watched_while_it_is_waited_for(make_writing_guest, unreserved, make_tmpfs,
                                                    workdir, werror):
    """Somebody fills the directory: the dump is cancelled before the guest meets the end."""
    size = 40 * MIB
    room = make_tmpfs("room", 64 * MIB)
    image = make_image(workdir / "a.raw", size, "raw", 1, 1)
    guest = make_writing_guest(disks=[Disk("vda", image, "raw", style="slow", werror=werror)], size=size)
    bacula = unreserved(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} working={room}"]})
    guest.slow_down("vda", _SLOW)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.02)
    fill(room, 2 * MIB)
    result = bacula.wait(jobid)
    assert "the working directory ran out of room while it was backed up" in result.log, result.log
    guest.slow_down("vda")
    guest.assert_unharmed()
    guest.assert_clean()
    assert [path.name for path in room.iterdir()] == ["filler"]
    wait_until(lambda: guards(bacula) == [], 60, "the guard's end")
    (room / "filler").unlink()
    assert bacula.run("VM", "Full").ok


def test_the_room_is_watched_while_bacula_asks_nothing(make_writing_guest, unreserved, make_tmpfs,
                                                       workdir):
    """An earlier disk is sent, and nobody looks at the dump of the next."""
    size = 40 * MIB
    room = make_tmpfs("room", 72 * MIB)
    disks = [Disk("vda", make_image(workdir / "a.raw", size, "raw", 1, 0.2), "raw"),
             Disk("slow", make_image(workdir / "b.raw", size, "raw", 2, 1), "raw", style="slow")]  # fmt: skip
    guest = make_writing_guest(disks=disks, size=size)
    bacula = unreserved(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} working={room}"]})
    bacula.limit_bandwidth("200 kb/s")
    guest.slow_down("slow", _SLOW)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_until(lambda: "Dumped vm/vda" in bacula.joblog(jobid), 60, "the first dump")
    fill(room, 2 * MIB)
    running = lambda: [job for job in guest.qmp("query-jobs") if job["status"] == "running"]
    wait_until(lambda: not running(), 60, "the second dump to be cancelled")
    assert "Finish backup of vm/vda" not in bacula.joblog(jobid)
    bacula.limit_bandwidth()
    result = bacula.wait(jobid)
    assert "Finish backup of vm/vda" in result.log
    assert 'disk "slow": the working directory ran out of room' in result.log, result.log
    guest.assert_unharmed()
    guest.assert_clean()


@pytest.fixture
def guarded(make_writing_guest, unreserved, workdir):
    """(guest, bacula, job id) of a dump that a guard watches."""
    size = 32 * MIB
    image = make_image(workdir / "a.raw", size, "raw", 1, 1)
    guest = make_writing_guest(disks=[Disk("vda", image, "raw", style="slow")], size=size)
    bacula = unreserved(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    guest.slow_down("vda", _SLOW)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.02)
    assert len(guards(bacula)) == 2  # one keeps the other
    return guest, bacula, jobid


def test_a_guard_outlives_its_daemon(guarded):
    """The File Daemon is killed: what it left in QEMU is gone soon, and the guard as well."""
    guest, bacula, _ = guarded
    bacula.kill_fd()
    wait_until(lambda: guards(bacula) == [], 60, "the guard's end")
    guest.assert_clean()
    assert guest.bitmaps("vda") == {}
    guest.assert_unharmed()
    guest.slow_down("vda")
    bacula.start_fd()
    assert bacula.run("VM", "Full").ok


# A guest that was stopped


@pytest.fixture
def storage(workdir):
    """What QEMU's targets lie on."""
    return BrokenStorage(workdir)


@pytest.fixture
def stopped_guest(make_writing_guest, storage, workdir):
    """A guest that stops when a write fails; what it writes into may break."""
    size = 64 * MIB
    image = make_image(workdir / "a.raw", size, "raw", 1, 1)
    disk = Disk("vda", image, "raw", style="slow", werror="stop")
    return make_writing_guest(disks=[disk], size=size, binary=storage.wrapper("qemu-system-x86_64"))


def test_a_guest_that_a_dump_stopped_is_continued(stopped_guest, make_bacula, storage):
    """The dump cannot be written, so neither can the guest: it stands, and goes on at once."""
    guest = stopped_guest
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    guest.slow_down("vda", _SLOW)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.03)
    storage.fail()
    wait_until(lambda: guest.events("STOP"), PATIENCE, "the guest to stop")
    wait_until(lambda: guest.events("RESUME"), PATIENCE, "the guest to be continued")
    result = bacula.wait(jobid)
    storage.mend()
    assert "vm stood still at an I/O error for up to" in result.log, result.log
    assert result.errors and "Finish backup" not in result.log
    guest.assert_writes()
    guest.assert_no_write_failed()
    guest.slow_down("vda")
    guest.assert_clean()
    assert bacula.run("VM", "Full").ok


def test_a_guest_that_was_paused_before_stays_so(make_guest, make_bacula, workdir):
    """Its owner paused it: a dump that fails does not continue it."""
    guest = make_guest(disks=[Disk("slow", make_image(workdir / "a.qcow2", 16 * MIB, density=1),
                                   style="slow")])  # fmt: skip
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} timeout=2"]})
    guest.slow_down("slow", _SLOW)
    guest.stop()
    result = bacula.run("VM", "Full")
    assert "did not end within 2 seconds" in result.log
    assert guest.qmp("query-status")["status"] == "paused" and jobs_of_ours(guest) == []
    guest.cont()


# A source that does not answer


@pytest.fixture
def remote(make_guest, workdir):
    """(guest, server) of a disk that can be stalled."""
    image = make_image(workdir / "a.raw", 16 * MIB, "raw", 1, 1)
    server = Server(workdir, image)
    disk = ServedDisk("slow", image, "raw", style="slow")
    disk.server = server
    try:
        yield make_guest(disks=[disk]), server
    finally:
        server.close()


def test_a_source_that_stalls_longer_than_the_job_lives(remote, make_bacula, workdir):
    """The target is QEMU's for as long as it writes it; the next job heals, and is good."""
    guest, server = remote
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} timeout={patient(5)}"]})
    guest.slow_down("slow", _SLOW)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.1)
    server.stall()
    result = bacula.wait(jobid)
    stays = "The dump of vm/slow stays in QEMU and keeps its room in the working directory until"
    assert stays in result.log and "does not end" in result.log, result.log
    assert [job.rpartition("-")[0] for job in jobs_of_ours(guest)] == [f"bacula-{jobid}-0"]
    server.go_on()
    guest.slow_down("slow")
    wait_until(lambda: jobs_of_ours(guest) == [], PATIENCE, "the old dump's end")
    assert "corrupt" not in guest.log() and guest.events("BLOCK_IMAGE_CORRUPTED") == []
    history = History(bacula, guest, workdir)
    history.backup("Full")
    history.assert_restores()


def test_a_node_that_qemu_has_given_up(make_guest, make_bacula, workdir):
    """What an older plugin left broken: QEMU lists no nodes to anybody until the next job."""
    guest = make_guest(disks=[Disk("vda", make_image(workdir / "a.qcow2", MIB))])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    _spoil_node(guest, workdir / "dump.qcow2", "bacula-529-1-Ab3xYz")
    with pytest.raises(Exception, match="ejected"):
        guest.nodes()
    history = History(bacula, guest, workdir)
    history.backup("Full")
    history.assert_restores()


def _spoil_node(guest, target, name):
    """A node whose file was truncated under QEMU, and that is written to then."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", target, "64M"])
    file = {"driver": "file", "filename": str(target)}
    guest.qmp("blockdev-add", driver="qcow2", node_name=name, file=file)
    os.truncate(target, 0)
    guest.qmp("human-monitor-command", command_line=f'qemu-io {name} "write -q 0 64k"')
    guest.qmp("human-monitor-command", command_line=f'qemu-io {name} "write -q 32M 64k"')


def _invisible(guest):
    """Bytes of deleted targets that QEMU has open."""
    taken = 0
    for link in Path(f"/proc/{guest.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(link.readlink()).endswith(".qcow2 (deleted)"):
                taken += link.stat().st_blocks * 512
    return taken


def test_room_that_only_a_paused_guest_holds(make_guest, make_bacula, workdir):
    """QEMU closes what it was passed only while its guest runs: the next job empties it."""
    image = make_image(workdir / "a.qcow2", 16 * MIB, seed=1, density=1)
    guest = make_guest(disks=[Disk("slow", image, style="slow")])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    guest.slow_down("slow", _SLOW)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.1)
    guest.stop()
    bacula.kill_fd(helpers=True)
    bacula.start_fd()
    guest.slow_down("slow")
    assert bacula.run("VM", "Full").ok
    assert _invisible(guest) == 0
    guest.cont()
    assert bacula.run("VM", "Full").ok
    guest.assert_clean()


# A monitor that somebody else holds


@pytest.fixture
def slow_guest(make_guest, workdir):
    """A guest whose dump takes a while."""
    image = make_image(workdir / "a.qcow2", 32 * MIB, seed=1, density=1)
    guest = make_guest(disks=[Disk("slow", image, style="slow")])
    guest.slow_down("slow", _SLOW)
    return guest


@pytest.mark.long
def test_a_cancel_while_the_monitor_is_held_for_a_while(slow_guest, make_bacula):
    """The job waits for it at its end, and leaves nothing."""
    guest = slow_guest
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.03)
    with contextlib.closing(Monitor(guest.qmp_socket)):
        bacula.cancel(jobid)
        wait_until(lambda: bacula.catalog.job(jobid).status == "A", PATIENCE, "the cancel")
        # Longer than an attempt to clean up has patience.
        subprocess.run(["sleep", "20"], check=True)
        assert jobs_of_ours(guest) != []
        assert [path for path in bacula.fd_leftovers() if path.suffix == ".qcow2"]
    wait_until(lambda: jobs_of_ours(guest) == [], PATIENCE, "the dump to be taken out")
    guest.assert_clean()
    wait_until(lambda: bacula.fd_leftovers() == [], PATIENCE, "the working directory to be empty")


@pytest.mark.parametrize("killed", [False, True], ids=["helped", "killed"])
def test_a_cancel_while_the_monitor_is_held_for_long(slow_guest, make_bacula, workdir, killed):
    """The helper removes what stayed when it can; or, killed, the next job, which says so."""
    guest = slow_guest
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} timeout={patient(8)}"]})
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.03)
    with contextlib.closing(Monitor(guest.qmp_socket)):
        bacula.cancel(jobid)
        wait_until(lambda: bacula.fd_leftovers() == [], PATIENCE, "the job's end")
        assert jobs_of_ours(guest) != []
        if killed:
            kill_all_of(bacula.helper)
    guest.slow_down("slow")
    if not killed:
        guest.assert_clean()
    history = History(bacula, guest, workdir)
    result = history.backup("Full")
    assert (f"Removed what job {jobid} had left in the QEMU of vm" in result.log) == killed
    history.assert_restores()
