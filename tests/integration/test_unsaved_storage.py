"""Storage that is no disk of QEMU's: it is not saved, and that is said in the job and the restore."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, make_image
from harness.process import spawn, stop, wait_until

_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


@pytest.fixture
def served(workdir):
    """Options for a disk that another process serves."""
    with tempfile.TemporaryDirectory(prefix="vu-") as folder:  # socket paths are short
        socket = Path(folder) / "s"
        image = make_image(workdir / "served", 4 * MIB, "raw")
        process = spawn(
            [
                "/usr/bin/qemu-storage-daemon",  # not the one of QEMU_FD_QEMU
                *("--blockdev", f"driver=file,node-name=f,filename={image}"),
                "--export",
                f"type=vhost-user-blk,id=e,addr.type=unix,addr.path={socket},node-name=f,writable=on",
            ],
            workdir / "served.log",
        )
        wait_until(socket.exists, 60, "qemu-storage-daemon")
        yield [
            *("-object", "memory-backend-memfd,id=ram,size=64M,share=on"),
            *("-machine", "nvdimm=on,memory-backend=ram"),
            *("-chardev", f"socket,id=c,path={socket}"),
            *("-device", "vhost-user-blk-pci,chardev=c,id=served"),
        ]
        stop(process)


@_one_version
def test_devices_are_named(served, make_bacula, make_guest, workdir):
    """A warning a device, a list in config.json, and a line a device when it is restored."""
    shared = workdir / "shared"
    shared.mkdir()
    memory = workdir / "nvdimm"
    memory.touch()
    os.truncate(memory, 64 * MIB)
    extra = [
        *served,
        *("-m", "64,slots=2,maxmem=512M"),
        *("-object", f"memory-backend-file,id=m,size=64M,share=on,mem-path={memory}"),
        *("-device", "nvdimm,id=nv,memdev=m"),
        *("-device", "qemu-xhci", "-device", f"usb-mtp,id=mtp,rootdir={shared}"),
    ]
    disk = Disk("own", make_image(workdir / "own.qcow2", 2 * MIB, seed=1))
    guest = make_guest(name="VM1", disks=[disk], extra=extra)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    job = bacula.run("VM")
    assert job.status == "T" and "Finish backup of VM1/own" in job.log
    for line in (
        "VM1/served (vhost-user-blk-pci) is not backed up: a process outside QEMU serves it",
        "VM1/nv (nvdimm) is not backed up: it is memory to QEMU: save its file when the guest is "
        f"off: {memory}",
        "VM1/mtp (usb-mtp) is not backed up: it is a directory of the host: save that with an ordinary File =",
    ):
        assert f"Warning: qemu: {line}\n" in job.log
    guest.assert_clean()
    restored = bacula.restore([job.jobid], workdir / "restored")
    assert restored.ok
    for device in ("served (vhost-user-blk-pci)", "nv (nvdimm)", "mtp (usb-mtp)"):
        assert f"Not restored: VM1/{device}, which is not in the backup" in restored.log
    config = json.loads((workdir / "restored/@qemu/VM1/0/config.json").read_text())
    assert [device["device"] for device in config["not_saved"]] == ["mtp", "served", "nv"]
    assert config["not_saved"][2]["file"] == str(memory)
