"""Guests with something that a backup cannot hold, or that changes under it."""

import shutil
import subprocess

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, sequences
from harness.process import PATIENCE, run, spawn, stop, wait_until

_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


def _line(guest, more=""):
    return f"qemu: qmpcontrol={guest.qmp_socket}{more}"


@pytest.fixture
def tpm(workdir):
    """QEMU's options for a software TPM of a guest's own."""
    if not shutil.which("swtpm"):
        pytest.fail("no swtpm: run sh bootstrap check")
    folder = workdir / "tpm"
    folder.mkdir()
    # Socket paths are limited to 107 bytes; a process may name one shorter.
    process = spawn(
        ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=.", "--ctrl", "type=unixio,path=ctrl"],
        workdir / "swtpm.log",
        cwd=folder,
    )
    wait_until((folder / "ctrl").exists, PATIENCE, "swtpm")
    yield [
        *("-chardev", f"socket,id=tpmchar,path={folder}/ctrl"),
        *("-tpmdev", "emulator,id=tpm0,chardev=tpmchar"),
        *("-device", "tpm-tis,tpmdev=tpm0"),
    ]
    stop(process)


@_one_version
def test_tpm_is_said(tpm, make_bacula, make_guest, workdir):
    """asks 60: a guest that comes back without its TPM's state asks for recovery keys."""
    disks = [Disk("vda", make_image(workdir / "a.qcow2", 2 * MIB))]
    guest = make_guest(name="VM1", disks=disks, extra=tpm)
    result = make_bacula(filesets={"VM": [_line(guest)]}).run("VM")
    assert result.status == "T"
    assert (
        "Warning: qemu: VM1 has a TPM, whose state is not backed up: keep the recovery keys of "
        "what it protects (BitLocker)" in result.log
    )
    assert "Finish backup of VM1/vda" in result.log


@_one_version
def test_encrypted_disk_is_said(make_bacula, make_guest, workdir):
    """asks 61: QEMU decrypts what it dumps."""
    image = workdir / "secret.qcow2"
    secret = ["--object", "secret,id=key,data=wallpaper"]
    encryption = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"
    # QEMU measures how long a key takes, and on a busy machine may find no time at all.
    made = ["qemu-img", "create", "-q", *secret, "-f", "qcow2", "-o", encryption, image, "2M"]
    wait_until(lambda: not subprocess.run(made, check=False, capture_output=True).returncode, PATIENCE, "a LUKS image")
    extra = [
        *("-object", "secret,id=key,data=wallpaper"),
        *("-drive", f"if=none,id=vda,file={image},format=qcow2,encrypt.key-secret=key"),
        *("-device", "virtio-blk-pci,drive=vda"),
    ]
    guest = make_guest(name="VM1", extra=extra)
    guest.qmp(
        "human-monitor-command", **{"command-line": 'qemu-io vda "write -q -P 0x5a 64k 64k"'}
    )
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    result = bacula.run("VM")
    assert result.status == "T"
    assert (
        "Warning: qemu: VM1/vda is encrypted, but its backup is not: use the File Daemon's PKI "
        "encryption" in result.log
    )
    assert "wallpaper" not in result.log
    assert bacula.restore([result.jobid], workdir / "restored").ok
    restored = workdir / "restored/@qemu/VM1/0/vda.qcow2"
    reads = ["-c", "read -P 0x5a 64k 64k", "-c", "read -P 0 128k 64k"]
    output = run(["qemu-io", "-f", "qcow2", *reads, restored])
    assert output.count("read 65536/65536 bytes") == 2 and "verification failed" not in output


@_one_version
def test_image_below_a_snapshot(make_bacula, make_guest, workdir):
    """asks 3: the guest goes on in a new overlay, on which no bitmap is."""
    disks = [Disk("vda", make_image(workdir / "a.qcow2", 4 * MIB, seed=3))]
    guest = make_guest(name="VM1", disks=disks)
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    history.backup("Full")
    guest.random_writes("vda", 5, seed=4)
    guest.qmp(
        "blockdev-snapshot-sync",
        device="vda",
        **{"snapshot-file": str(workdir / "overlay.qcow2"), "format": "qcow2"},
    )
    guest.random_writes("vda", 5, seed=5)
    after = history.backup()
    assert sequences(bacula, after) == {"vda": 0}
    why = "lies on an image that the guest does not write to any more: an external snapshot was made"
    assert "Full instead of Incremental (the bitmap of job VM." in after.log and why in after.log
    guest.random_writes("vda", 5, seed=6)
    assert sequences(bacula, history.backup()) == {"vda": 1}
    history.start_restore()
    history.assert_restores()


@_one_version
def test_persistence_on_a_block_device(make_bacula, make_guest, make_loop_device, workdir):
    """asks 16: a device without room for the bitmap at shutdown would cost the image."""
    device = make_loop_device(make_image(workdir / "device", 8 * MIB, "raw"))
    run(["qemu-img", "create", "-q", "-f", "qcow2", device, "2M"])
    guest = make_guest(name="VM1", disks=[Disk("vda", device, "qcow2")])
    result = make_bacula(filesets={"VM": [_line(guest, " bitmap-persistence=1")]}).run("VM")
    assert result.status == "f"
    assert (
        'disk "vda": bitmap-persistence=1 is not possible: the image lies on a block device, which '
        "does not grow; set bitmap-persistence=0" in result.log
    )
    guest.assert_clean()


@_one_version
def test_snapshot_during_a_dump(make_bacula, make_guest, workdir):
    """savevm takes one of a dump that waits to be sent as well: the disk fails, and the guest has its snapshot."""
    names = ("a", "b")
    disks = [Disk(name, make_image(workdir / f"{name}.qcow2", 2 * MIB, seed=3)) for name in names]
    guest = make_guest(name="VM1", disks=disks)
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    bacula.limit_bandwidth("250 kb/s")
    jobid = bacula.run("VM", wait=False)
    wait_until(lambda: "Dumped VM1/a" in bacula.joblog(jobid), 60, "the first disk to be sent")
    assert guest.qmp("human-monitor-command", **{"command-line": "savevm one"}) == ""
    result = bacula.wait(jobid)
    why = (
        'Error: qemu: guest "VM1", disk "b": the dump that QEMU wrote: it has an internal snapshot: somebody took one '
        "of the guest (savevm) while its disks were dumped; take snapshots of a guest when no job backs it up"
    )
    assert why in result.log and "Finish backup of VM1/a" in result.log, result.log
    assert guest.qmp("query-status")["status"] == "running"
    for name in names:
        guest.write(name, 7, 64 * 1024, 512)
    history.assert_nothing_left(jobid)
    bacula.limit_bandwidth()
    assert sequences(bacula, history.backup()) == {"a": 1, "b": 0}
    assert guest.qmp("human-monitor-command", **{"command-line": "delvm one"}) == ""
