"""The sessions with a Proxmox VE host that the documentation shows, made with the stand-in."""

import pytest
from harness import restore_dialogue
from harness.disk import MIB
from harness.pve_guest import Volume
from harness.pve_jobs import LINE, pairs
from harness.pve_restored import assert_volumes, contents
from harness.session_book import SessionBook, User

_END = ("wait", "messages")


@pytest.fixture
def workdir(public_folder):
    """A folder whose name is of one length everywhere: the catalog's objects, which count as files, have it in them."""
    return public_folder


@pairs(("15.0.3", "9.1"))
def test_sessions_of_a_proxmox_host(version, make_proxmox, make_bacula):
    """All guests of a host are backed up, and one comes back as a new guest."""
    pve = make_proxmox(version)
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume("local-lvm", 4 * MIB)})
    pve.guest(102, "vm3", disks={"scsi0": Volume(size=4 * MIB, seed=3)})
    bacula = make_bacula(
        filesets={"ProxmoxAll": [LINE]}, fd_wrapper=pve.fd_wrapper,
        extra_message_lines=["console = all, !skipped, !saved"],
    )
    book = SessionBook({
        bacula.folder / "dir": "/var/lib/bacula",
        f"127.0.0.1:{bacula.ports['fd']}": "127.0.0.1:9102",
    })
    user = User(bacula, book)
    line = f'client=fd plugin="{LINE}"'
    user.type("pve-ls", *(f".ls {line} path={path}" for path in ("/", "/vm", "/vmid", "/storage")))
    user.type("pve-query", *(f".query {line} parameter={name}" for name in ("vm", "vmid", "storage")))
    user.type("pve-full", "run job=ProxmoxAll level=Full yes", *_END)
    guest.random_writes("drive-scsi0", 5, seed=1)
    held = contents(guest)
    assert bacula.run("ProxmoxAll", "Incremental").ok
    bacula.console("messages")  # those were nobody's to see

    def choose(console):
        restore_dialogue.select(console, ["/@qemu/vm1"])
        restore_dialogue.configure(console, {"storage": "data"})

    said = user.dialogue("pve-restore", "restore fileset=ProxmoxAll where=/ select current", choose,
                         *_END)
    assert "Successfully imported device drive-scsi0 as data:101/vm-101-disk-0.qcow2" in said
    assert_volumes(pve, 101, held)
    book.close()
