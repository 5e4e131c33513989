"""The harness' Proxmox host: its guests, its qmeventd, and who sees its files."""

import contextlib
import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest
from harness.disk import MIB, assert_same, loop_devices_work
from harness.process import PATIENCE, wait_until
from harness.proxmox import VERSIONS
from harness.pve_guest import Volume

_STORAGES = [("local", "dir"), ("data", "dir"), ("thick", "lvm")]
_DISKS = {
    "scsi0": Volume(),
    "virtio1": Volume(storage="data", fmt="raw", seed=2),
    "sata0": Volume(storage="thick", seed=3),
    "ide2": Volume(storage=None),
    "efidisk0": Volume(fmt="raw", size=528 * 1024, seed=4),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_guest_as_the_version_starts_it(version, make_proxmox):
    """Names, devices and drivers in query-block are those that were recorded."""
    pve = make_proxmox(version, port=18006, storages=_STORAGES)
    guest = pve.guest(102, "vm3", disks=_DISKS)
    shown = {block["qdev"]: block for block in guest.qmp("query-block")}
    scsi, virtio = shown["scsi0"], shown["/machine/peripheral/virtio1/virtio-backend"]
    if version in ("9.1", "9.2"):
        about = "drive=scsi0,volid=local:102/vm-102-disk-0.qcow2"
        name = "f" + hashlib.sha256(about.encode()).hexdigest()[:30]
        assert (scsi["device"], scsi["inserted"]["node-name"]) == ("", "drive-scsi0")
        assert (scsi["inserted"]["drv"], virtio["inserted"]["drv"]) == ("throttle", "throttle")
        assert guest.nodes()[name]["drv"] == "qcow2"
    else:
        assert (scsi["device"], virtio["device"]) == ("drive-scsi0", "drive-virtio1")
        assert scsi["inserted"]["node-name"].startswith("#block")
        assert (scsi["inserted"]["drv"], virtio["inserted"]["drv"]) == ("qcow2", "raw")
    assert "inserted" not in shown["ide2"] and "/machine/system.flash1" in shown
    for disk in ("drive-scsi0", "drive-virtio1", "drive-sata0"):
        guest.random_writes(disk, 5, seed=7)
        guest.flush(disk)
        assert_same(guest.shadow(disk), guest.disks[disk].path, guest.disks[disk].fmt)
    rows = pve.control("guests")["102"]
    assert rows["scsi0"] == "local:102/vm-102-disk-0.qcow2,size=8M"


def test_running_in_the_api_means_a_process(make_proxmox):
    """A guest that is killed stops for the API as well, and can be booted again."""
    pve = make_proxmox("7.2", port=18006)
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    token = pve.token()

    def status():
        client = ["curl", "-sS", "--cacert", pve.etc_pve / "pve-root-ca.pem", "-H",
                  f"Authorization: PVEAPIToken={token}"]
        path = f"{pve.url}/api2/json/nodes/{pve.node}/qemu/100/status/current"
        return subprocess.run([*client, path], capture_output=True, text=True, check=True).stdout

    assert '"status":"running"' in status()
    guest.kill()
    assert '"status":"stopped"' in status()
    again = pve.boot(100)
    assert '"status":"running"' in status() and again.uuid == guest.uuid


def test_logical_volumes_as_block_devices(make_proxmox, workdir):
    """Thick ones show what was there before; the devices are given back at the end."""
    if not loop_devices_work(workdir):
        pytest.skip("this machine lets us make no loop devices")
    pve = make_proxmox("9.1", port=18006)
    pve.add_storage("vg", "lvm", loop=True)
    _, path = pve.alloc("vg", 150, 4 * MIB)
    assert Path(path).is_block_device() and any(Path(path).open("rb").read(512))
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(storage="vg", size=5 * MIB)})
    assert pve.config(100)["scsi0"] == "vg:vm-100-disk-0,size=8M"
    guest.random_writes("drive-scsi0", 3, seed=1)
    assert_same(guest.shadow("drive-scsi0"), *pve.volume(100, "scsi0"))
    pve.close()
    listing = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True)
    assert str(pve.folder) not in listing.stdout


def _hold(pve, vmid):
    """The handshake of a backup, held as long as the connection."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(pve.run / "qmeventd.sock"))
    client.sendall(b'{"vzdump":{"vmid":"%d"}}' % vmid)
    return client


def test_qmeventd_ends_qemu(make_proxmox):
    """A guest that switches itself off is gone, unless a backup holds it."""
    pve = make_proxmox("9.1", port=18006, storages=_STORAGES[:1])
    free, held = (pve.guest(vmid, f"vm{vmid}", disks={"scsi0": Volume()}) for vmid in (100, 101))
    with _hold(pve, 101):
        wait_until(lambda: pve.qmeventd.holders == ["101"], PATIENCE, "the handshake")
        free.power_off()
        free.wait_gone()
        held.power_off()
        # Whatever qmeventd does after the event, it has done when another hold is seen.
        with _hold(pve, 999):
            wait_until(lambda: ("refuse", "999") in pve.qmeventd.history, PATIENCE, "a handshake")
        assert held.alive and held.qmp("query-status")["status"] == "shutdown"
    held.wait_gone()
    assert pve.qmeventd.history[-2:] == [("release", "101"), ("terminate", "101")]


def _seen_here():
    """What is there without the wrapper: on a Proxmox host its own."""
    seen = []
    for path in ("/etc/pve", "/run/qemu-server", "/run/qmeventd.sock"):
        with contextlib.suppress(FileNotFoundError):
            about = os.lstat(path)
            seen.append((path, about.st_dev, about.st_ino, about.st_mode))
    return seen


def test_only_the_wrapped_command_sees_the_host(make_proxmox):
    """The files are where a Proxmox host has them, also those that come later."""
    before = _seen_here()
    pve = make_proxmox("6.4", port=18006)
    inside = subprocess.Popen(
        [*pve.fd_wrapper, "sh", "-c", "echo started; read line; hostname; cd /etc/pve;"
         " stat -c '%a' priv/authkey.key; ls local/pve-ssl.pem /var/run/qemu-server;"
         " test -S /var/run/qmeventd.sock && cat /etc/hostname"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    assert inside.stdout.readline() == "started\n"
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    pve.qmeventd.stop()
    pve.qmeventd.start()
    seen, _ = inside.communicate("go\n", timeout=PATIENCE)
    assert inside.returncode == 0
    expected = "pve6\n600\nlocal/pve-ssl.pem\n\n/var/run/qemu-server:\n100.qmp\n"
    assert seen == expected + open("/etc/hostname").read()
    assert _seen_here() == before
    assert str(pve.run) not in open("/proc/mounts").read()
