"""transfer=: disks that are read while they are sent, on QEMUs that can, and dumped on others."""

import os
import random
import threading

import pytest
from harness import streaming
from harness.disk import MIB, SECTOR, Disk, make_image
from harness.history import History, dumped, sequences, sizes
from harness.process import PATIENCE, wait_until

CLUSTER = 64 * 1024
_ODD = 12 * MIB + 5 * SECTOR  # no multiple of a cluster


@pytest.fixture(params=streaming.VERSIONS)
def qemu(request):
    """The QEMU of a guest that can stream."""
    return streaming.need_qemu(request.param)


def _disks(workdir):
    """qcow2 from -drive, raw (in an iothread, see make_history), odd size below a throttle filter."""
    specimens = [
        ("ide0-hd0", "qcow2", "ide", "drive", 16 * MIB),
        ("vdb", "raw", "virtio", "blockdev", 8 * MIB),
        ("scsi0", "qcow2", "scsi", "blockdev+throttle", _ODD),
    ]
    return [
        Disk(name, make_image(workdir / f"{name}.{fmt}", size, fmt, seed), fmt, interface, style)
        for seed, (name, fmt, interface, style, size) in enumerate(specimens)
    ]


def _change(guest, seed, discard=True):
    """Random writes, zero writes and discards on every disk.

    QEMU does nothing for a discard while a backup job runs: its filter has no discard=unmap.
    """
    source = random.Random(seed)
    for name in guest.disks:
        size = guest.shadow(name).stat().st_size

        def somewhere(length, step=SECTOR, size=size):
            return source.randrange(0, size - length, step)

        guest.random_writes(name, 3, seed)
        guest.write_zeroes(name, somewhere(3 * CLUSTER), 3 * CLUSTER - SECTOR)
        guest.write_zeroes(name, somewhere(2 * CLUSTER, CLUSTER), 2 * CLUSTER, unmap=True)
        if discard:
            guest.discard(name, somewhere(4 * CLUSTER, CLUSTER), 4 * CLUSTER)
        guest.write(name, source.randrange(1, 256), size - SECTOR, SECTOR)


class _Writes:
    """Changes a guest's disks from the moment on that a job has started, until it has ended."""

    def __init__(self, guest, seed):
        self._guest = guest
        self._seed = seed * 1000
        self._stop = threading.Event()
        self.rounds = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _has_begun(self):
        return self._stop.is_set() or self._guest.qmp("query-jobs")

    def _run(self):
        wait_until(self._has_begun, PATIENCE, "exports", interval=0.002)
        while not self._stop.is_set():
            self.rounds += 1
            _change(self._guest, self._seed + self.rounds, discard=False)


def _backup_under_writes(history, level, seed):
    """A job while the guest writes: it must hold what there was at its begin."""
    history.note_contents()
    with _Writes(history.guest, seed) as writes:
        result = history.bacula.run(history.job, level)
    assert result.ok, result.log
    history.take(result)
    return result, writes.rounds


@pytest.fixture
def make_history(make_bacula, make_guest, workdir, qemu):
    """A guest with three disks on a QEMU that can stream."""

    def make(parameters="transfer=stream", disks=None, **options):
        iothread = ["-object", "iothread,id=io0", "-global", "virtio-blk-pci.iothread=io0"]
        guest = make_guest(
            name="VM1", disks=disks or _disks(workdir), binary=qemu, extra=iothread, **options
        )  # fmt: skip
        line = f"qemu: qmpcontrol={guest.qmp_socket} {parameters}"
        return History(make_bacula(filesets={"VM": [line]}), guest, workdir)

    return make


def test_chain_under_writes(make_history):
    """Nine jobs, each of which restores what three disks held at its begin."""
    history = make_history()
    steps = [("Full", 0)] + [("Incremental", number) for number in range(1, 6)]
    steps += [("Differential", 1), ("Incremental", 2), ("Incremental", 3)]
    rounds = 0
    for seed, (level, sequence) in enumerate(steps):
        if seed:
            _change(history.guest, seed)
        result, more = _backup_under_writes(history, level, seed + 1)
        rounds += more
        names = history.guest.disks
        log = dumped(result)
        assert sequences(history.bacula, result) == dict.fromkeys(names, sequence)
        assert {disk: line[:2] for disk, line in log.items()} == dict.fromkeys(names, (level, ""))
        assert {disk: line[2] for disk, line in log.items()} == sizes(history.bacula, result)
        assert "qemu: Streamed VM1/" in result.log and "Dumped" not in result.log
        history.start_restore()
    history.finish()
    assert rounds, "no job was slow enough to be written beside"


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_another_user_in_a_sandbox(make_bacula, make_guest, workdir, public_folder, qemu):
    """QEMU has no right in the working directory, its disks are in iothreads, and it may not fork."""
    iothread = ["-object", "iothread,id=io0", "-global", "virtio-blk-pci.iothread=io0"]
    sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    disks = [
        Disk("vda", make_image(public_folder / "a.qcow2", 4 * MIB, seed=1)),
        Disk("vdb", make_image(public_folder / "b.raw", _ODD, "raw", seed=2), "raw", style="blockdev"),
    ]
    guest = make_guest(name="VM1", disks=disks, runas="nobody", binary=qemu,
                       extra=[*iothread, "-sandbox", sandbox])
    line = f"qemu: qmpcontrol={guest.qmp_socket} transfer=stream"
    history = History(make_bacula(filesets={"VM": [line]}), guest, workdir)
    for number, level in enumerate(("Full", "Incremental")):
        result, _ = _backup_under_writes(history, level, number + 1)
        assert sequences(history.bacula, result) == dict.fromkeys(guest.disks, number)
        history.start_restore()
    history.finish()


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_an_external_snapshot_meanwhile(make_history, workdir):
    """QEMU takes one of a node, below the job's filter: no byte is lost, now or in the next job."""
    image = make_image(workdir / "scsi0.qcow2", 8 * MIB, seed=1, density=1)
    history = make_history(disks=[Disk("scsi0", image, "qcow2", "scsi", "blockdev")])
    guest, bacula = history.guest, history.bacula
    history.note_contents()
    bacula.limit_bandwidth("1 mb/s")
    jobid = bacula.run("VM", "Full", wait=False)
    wait_until(lambda: guest.qmp("query-block-exports"), PATIENCE, "an export")
    bacula.limit_bandwidth()
    guest.qmp("blockdev-snapshot-sync", node_name="scsi0", snapshot_node_name="above", format="qcow2",
              snapshot_file=str(workdir / "above.qcow2"))
    guest.random_writes("scsi0", 20, seed=1)
    result = bacula.wait(jobid)
    assert result.ok, result.log
    history.take(result)
    history.assert_restores()
    history.backup("Incremental")
    history.assert_restores()


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_a_disk_of_a_tebibyte(make_history, workdir):
    """What it does not hold is neither read nor sent; restored it is as sparse."""
    size = 1 << 40
    image = workdir / "large.raw"
    image.touch()
    os.truncate(image, size)
    history = make_history(disks=[Disk("vda", image, "raw")])
    for seed, level in enumerate(("Full", "Incremental", "Incremental")):
        for offset in (0, size // 2 + seed * CLUSTER, size - MIB):
            history.guest.write("vda", seed + 1, offset, MIB)
        result, _ = _backup_under_writes(history, level, seed)
        assert sizes(history.bacula, result)["vda"] < 32 * MIB
    where = history.assert_restores()
    assert history.image(where, "vda").stat().st_blocks * 512 < 64 * MIB


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_dumps_and_streams_in_one_chain(make_history):
    """A part says nothing of the way it came: either may stand on the other."""
    history = make_history("transfer=auto")
    guest = history.guest
    address = {"type": "unix", "data": {"path": str(guest.qmp_socket.with_name("theirs"))}}
    steps = [("Full", 0, "stream"), ("Incremental", 1, "dump"), ("Incremental", 2, "stream")]
    steps += [("Differential", 1, "dump"), ("Incremental", 2, "stream"), ("Full", 0, "dump")]
    steps += [("Incremental", 1, "stream")]
    for seed, (level, sequence, way) in enumerate(steps):
        _change(guest, seed)
        if way == "dump":  # somebody else's NBD server is in the way
            guest.qmp("nbd-server-start", addr=address)
        result, _ = _backup_under_writes(history, level, seed + 1)
        if way == "dump":
            guest.qmp("nbd-server-stop")
        assert sequences(history.bacula, result) == dict.fromkeys(guest.disks, sequence)
        assert ("Dumped VM1/" in result.log) == (way == "dump"), result.log
        assert ("Streamed VM1/" in result.log) == (way == "stream"), result.log
        history.start_restore()
    history.finish()
