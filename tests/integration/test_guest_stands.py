"""A guest that QEMU has stopped at an I/O error: continued when a dump was why, and left alone when not."""

import contextlib
import os
import shutil
import signal
import time

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import wait_for_dump
from harness.pace import patient
from harness.preload import BrokenStorage, build
from harness.process import PATIENCE, Failure, kill_all_of, processes_of, run, wait_until
from harness.writing_guest import WritingGuest

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

_SLOW = 2 * MIB  # bytes a second
_LONGEST = 20  # seconds that a guest may stand because of us, on a machine at rest


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


@pytest.fixture
def storage(workdir):
    """What QEMU's targets lie on."""
    return BrokenStorage(workdir)


@pytest.fixture
def stopping_guest(make_writing_guest, storage, workdir):
    """A guest that stops when a write to its slow disk fails; what it is dumped into may break."""
    size = 64 * MIB
    image = make_image(workdir / "a.raw", size, "raw", 1, 1)
    disk = Disk("vda", image, "raw", style="slow", werror="stop")
    return make_writing_guest(disks=[disk], size=size, binary=storage.wrapper("qemu-system-x86_64"))


def assert_stood_shortly(guest):
    """It was stopped, and continued soon every time."""
    times = [float(f"{event['timestamp']['seconds']}.{event['timestamp']['microseconds']:06}")
             for event in guest.all_events("STOP", "RESUME")]  # fmt: skip
    assert times and len(times) % 2 == 0
    assert all(end - begin < patient(_LONGEST) for begin, end in zip(times[::2], times[1::2])), times


def test_paused_at_the_begin_and_continued_by_its_owner(stopping_guest, make_bacula, storage):
    """It ran when its dump could no longer be written: so it is continued."""
    guest = stopping_guest
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    guest.slow_down("vda", _SLOW)
    guest.stop()
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.03)
    guest.cont()
    guest.assert_writes()
    storage.fail()
    wait_until(lambda: len(guest.events("STOP")) == 2, PATIENCE, "the guest to stop")
    wait_until(lambda: len(guest.events("RESUME")) == 2, PATIENCE, "the guest to be continued")
    result = bacula.wait(jobid)
    storage.mend()
    assert "vm stood still at an I/O error for up to" in result.log, result.log
    assert result.errors
    guest.assert_writes()
    guest.assert_no_write_failed()
    guest.assert_clean()


def test_it_stands_while_bacula_asks_nothing(make_writing_guest, make_bacula, storage, workdir):
    """An earlier disk is sent slowly: the guest is continued meanwhile, and told of afterwards."""
    size = 64 * MIB
    disks = [Disk("vda", make_image(workdir / "a.raw", size, "raw", 1, 0.1), "raw", style="blockdev"),
             Disk("slow", make_image(workdir / "b.raw", size, "raw", 2, 1), "raw", style="slow",
                  werror="stop")]  # fmt: skip
    guest = make_writing_guest(disks=disks, size=size, drive=1,
                               binary=storage.wrapper("qemu-system-x86_64"))
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    bacula.limit_bandwidth("60 kb/s")
    guest.slow_down("slow", _SLOW // 4)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_until(lambda: "Dumped vm/vda" in bacula.joblog(jobid), PATIENCE, "the first dump")
    storage.fail()
    wait_until(lambda: guest.events("STOP"), PATIENCE, "the guest to stop")
    wait_until(lambda: guest.events("RESUME"), PATIENCE, "the guest to be continued")
    assert "Finish backup of vm/vda" not in bacula.joblog(jobid)
    assert_stood_shortly(guest)
    guest.assert_writes()
    bacula.limit_bandwidth()
    result = bacula.wait(jobid)
    storage.mend()
    assert "vm stood still at an I/O error for up to" in result.log, result.log
    assert "Finish backup of vm/vda" in result.log and 'disk "slow": ' in result.log, result.log
    guest.assert_no_write_failed()
    guest.assert_clean()


# Its own storage


@pytest.mark.parametrize("transaction", ["guest", "disk"])
def test_its_own_storage_is_full(make_writing_guest, make_bacula, make_tmpfs, workdir, transaction):
    """That is its owner's: it stays as QEMU left it, and the dump goes on, and is good."""
    size = 1024 * MIB  # more places than it will have written to
    store = make_tmpfs("store", 16 * MIB)
    own = store / "own.raw"
    with own.open("wb") as image:
        image.truncate(size)
    disks = [Disk("own", own, "raw", style="blockdev"),
             Disk("slow", make_image(workdir / "b.raw", 32 * MIB, "raw", 2, 1), "raw", style="slow")]  # fmt: skip
    guest = make_writing_guest(disks=disks, size=size)
    line = f"qemu: qmpcontrol={guest.qmp_socket} transaction={transaction}"
    bacula = make_bacula(filesets={"VM": [line]})
    guest.slow_down("slow", _SLOW // 4)
    jobid = bacula.run("VM", "Full", wait=False)
    running = lambda: [job for job in guest.qmp("query-jobs")
                       if job["id"].startswith(f"bacula-{jobid}-1-") and job["current-progress"]]  # fmt: skip
    wait_until(running, PATIENCE, "the dump of the slow disk")
    with contextlib.suppress(OSError), (store / "filler").open("wb", 0) as filler:
        while filler.write(bytes(4096)):
            pass
    wait_until(lambda: guest.events("STOP"), PATIENCE, "the guest to stop")
    guest.slow_down("slow")
    result = bacula.wait(jobid)
    assert result.ok, result.log
    assert "vm stands still at an I/O error of its own storage, which is left as it is" in result.log
    assert guest.qmp("query-status")["status"] == "io-error" and not guest.events("RESUME")
    assert bacula.run("VM", "Full").ok
    assert guest.qmp("query-status")["status"] == "io-error" and not guest.events("RESUME")
    (store / "filler").unlink()
    guest.cont()
    guest.assert_writes()


# The guard


def guards(bacula):
    """Process ids of the guards that its plugin has started, and of those who keep them."""
    return processes_of(bacula.helper)


@pytest.fixture
def guarded(make_writing_guest, make_bacula, workdir, request):
    """(guest, bacula, job id) of a dump of two disks that a guard watches."""
    size = 32 * MIB
    environment = {} if request.param else {"LD_PRELOAD": str(build("no_fallocate", workdir))}
    image = make_image(workdir / "a.raw", size, "raw", 1, 1)
    guest = make_writing_guest(disks=[Disk("vda", image, "raw", style="slow")], size=size)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, fd_env=environment)
    guest.slow_down("vda", _SLOW // 4)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.02)
    assert len(guards(bacula)) == 2
    return guest, bacula, jobid


def _kill(processes):
    for process in processes:
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("guarded", [True, False], indirect=True, ids=["held", "watched"])
def test_a_guard_that_is_killed(guarded):
    """The second process starts another; and where both are killed, the File Daemon does, and says so."""
    guest, bacula, jobid = guarded
    keeper, worker = guards(bacula)
    _kill([worker])
    wait_until(lambda: len(guards(bacula)) == 2 and worker not in guards(bacula), PATIENCE, "another")
    before = guards(bacula)
    assert keeper in before
    _kill(before)
    wait_until(lambda: len(guards(bacula)) == 2 and not set(guards(bacula)) & set(before), PATIENCE,
               "others")
    guest.slow_down("vda")
    result = bacula.wait(jobid)
    assert result.ok, result.log
    assert "The program that watches the dumps of vm was killed, and was started again" in result.log
    guest.assert_unharmed()
    guest.assert_clean()
    wait_until(lambda: guards(bacula) == [], PATIENCE, "the guard's end")


@pytest.mark.parametrize("guarded", [True, False], indirect=True, ids=["held", "watched"])
def test_a_guard_that_cannot_come_again(guarded, request):
    """A dump whose room nobody watches any more is given up; one that holds its room goes on."""
    guest, bacula, jobid = guarded
    moved = bacula.helper.with_name("moved")
    bacula.helper.rename(moved)
    kill_all_of(moved)
    held = request.node.callspec.params["guarded"]
    if held:
        said = "Nobody watches the dumps of vm while Bacula asks for nothing: "
        time.sleep(patient(3))  # until a look of the job's
        guest.slow_down("vda")
    else:
        said = 'disk "vda": nobody watches its room any more: the helper program was killed'
    result = bacula.wait(jobid)
    assert said in result.log and not result.errors == held, result.log
    guest.assert_unharmed()
    guest.assert_clean()


# A file system that copies what is written again


@pytest.fixture
def btrfs(workdir, make_loop_device):
    """Mount a btrfs of 256 MiB; its folder."""
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("no btrfs-progs here")
    image, room = workdir / "btrfs.img", workdir / "btrfs"
    with image.open("wb") as file:
        file.truncate(256 * MIB)
    run(["mkfs.btrfs", "-q", image])
    room.mkdir()
    try:
        run(["mount", "-t", "btrfs", make_loop_device(image), room])
    except Failure as problem:
        pytest.skip(f"this machine mounts no btrfs: {problem}")
    yield room
    run(["umount", "--lazy", room])


@pytest.mark.parametrize("nocow", [False, True], ids=["copies", "nocow"])
def test_room_on_btrfs(make_writing_guest, make_bacula, btrfs, workdir, nocow):
    """Its promise of room is kept for files that it does not copy (chattr +C); else it is watched."""
    if nocow:
        run(["chattr", "+C", btrfs])
    size = 48 * MIB
    disk = Disk("vda", make_image(workdir / "a.raw", size, "raw", 1, 1), "raw", style="slow")
    guest = make_writing_guest(disks=[disk], size=size)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} working={btrfs}"]})
    guest.slow_down("vda", _SLOW)
    jobid = bacula.run("VM", "Full", wait=False)
    wait_for_dump(guest, jobid, share=0.1)
    with contextlib.suppress(OSError), (btrfs / "filler").open("wb", 0) as filler:
        while filler.write(os.urandom(64 * 1024)):
            time.sleep(0.002)
    run(["sync", "-f", btrfs])
    guest.slow_down("vda")
    result = bacula.wait(jobid)
    if nocow:
        assert result.ok, result.log
    else:
        assert "the working directory ran out of room while it was backed up" in result.log, result.log
    guest.assert_unharmed()
    guest.assert_clean()
