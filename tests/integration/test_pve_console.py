"""What the console shows of a Proxmox host: estimate, and the manual's .ls and .query."""

import json
import re

import pytest
from harness import listing, pve_jobs
from harness.disk import MIB
from harness.history import sizes
from harness.pve_guest import Volume
from harness.pve_jobs import old_and_new, one_version, start_bacula
from harness.pace import Stopwatch

# What runs: the host has guests beside that are off.
LINE = f"{pve_jobs.LINE} off=never"
_GIB = 1 << 30
_TABLES = 512 * 1024  # bytes of a qcow2 image, around its data
_ROOT = (1, "root", "root")


@pytest.fixture
def pve(version, make_proxmox):
    """The manual's two guests of 8 GiB that run, and some that may not be shown."""
    host = make_proxmox(version)

    def add(vmid, name, more=None, **options):
        config = {"name": name, "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=8G", **(more or {})}
        host.control("add_guest", vmid=vmid, config=config, **options)

    add(102, "vm3", running=True)
    add(100, "vm1", running=True)
    add(101, "vm2")
    add(103, "mould", {"template": "1"})
    add(104, "far", running=True, node="elsewhere")
    host.add_storage("backups", content="backup,iso")
    host.add_storage("off", enabled=0)
    return host


@old_and_new
def test_listings_are_as_in_the_manual(version, pve, make_bacula):
    """Types to list, running guests by name and by VMID, storages that take disks."""
    bacula = start_bacula(make_bacula, pve, LINE)
    size = 8 * _GIB
    expected = {
        "/": ([("drwxr-x---", *_ROOT, 0, name) for name in ("vm", "vmid", "storage")],
              "files=3 bytes=0"),
        "/vm": ([("-rw-r-----", *_ROOT, size, name) for name in ("vm1", "vm3")],
                "files=2 bytes=17,179,869,184"),
        "/vmid": ([("-rw-r-----", *_ROOT, size, name) for name in ("100 -> vm1", "102 -> vm3")],
                  "files=2 bytes=17,179,869,184"),
        "/storage": ([("brw-r-----", *_ROOT, 0, name) for name in ("data", "local", "local-lvm")],
                     "files=3 bytes=0"),
    }
    for path, (entries, total) in expected.items():
        for way in (path, path[1:]) if path != "/" else (path,):
            output = bacula.ls(LINE, way)
            assert listing.entries(output) == entries, output
            assert listing.own_lines(output) == []
            assert re.search(rf"^2000 OK estimate {total}$", output, re.M)
    said = ['there is nothing to list at "/vms"; list one of: /, /vm, /vmid, /storage']
    output = bacula.ls(LINE, "/vms")
    assert listing.own_lines(output) == said and listing.total(output) == (0, 0)


@old_and_new
def test_queries_are_as_in_the_manual(version, pve, make_bacula, bacula_version):
    """JSON without blanks; 9.6.7 has no such command."""
    bacula = start_bacula(make_bacula, pve, LINE)
    answers = {
        parameter: listing.answer(bacula.query(LINE, parameter))
        for parameter in ("vm", "vmid", "storage")
    }
    if bacula_version == "9.6.7":
        assert set(answers.values()) == {".query: is an invalid command."}
        return
    guests = '[{"name":"vm1","vmid":100},{"name":"vm3","vmid":102}]'
    assert answers == {
        "vm": guests,
        "vmid": guests,
        "storage": '[{"name":"data"},{"name":"local"},{"name":"local-lvm"}]',
    }
    wrong = json.loads(listing.answer(bacula.query(LINE, "node")))
    assert wrong["error"].startswith('there is nothing to query as "node"; query vm or vmid')


@pytest.mark.parametrize("version", ["6.4"])
@one_version
def test_sizes_and_names_of_an_old_host(version, pve, make_bacula):
    """Numbers that come as strings; a guest without a name and one without a disk."""
    pve.control("set_guest", vmid=100, config={"name": None})
    pve.control("set_guest", vmid=102, config={"scsi0": None})
    bacula = start_bacula(make_bacula, pve, LINE)
    assert listing.entries(bacula.ls(LINE, "/vmid")) == [
        ("-rw-r-----", *_ROOT, 8 * _GIB, "100 -> VM 100"),
        ("-rw-r-----", *_ROOT, 0, "102 -> vm3"),
    ]


@old_and_new
def test_estimate_comes_true(version, make_proxmox, make_bacula):
    """Files and bytes of the guests that the line selects, at every level."""
    pve = make_proxmox(version)
    guest = pve.guest(100, "vm1", disks={
        "scsi0": Volume(),
        "virtio1": Volume("local-lvm"),
        "scsi2": Volume(options={"backup": "0"}),
        "ide2": Volume(storage=None),
    })
    pve.guest(101, "other", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve, f"{LINE} exclude=other")
    for level in ("Full", "Incremental"):
        output = bacula.estimate("VM", level, listing=True)
        entries = {name: size for *_, size, name in listing.entries(output)}
        assert list(entries)[0] == "/@qemu/vm1/100/config.json"
        assert listing.total(output) == (3, sum(entries.values()))
        result = bacula.run("VM", level)
        saved = sizes(bacula, result)
        assert saved.keys() == {"drive-scsi0", "drive-virtio1"}
        for drive, size in saved.items():
            estimated = entries[f"/@qemu/vm1/100/{drive}.qcow2"]
            assert estimated <= size <= estimated + _TABLES, (drive, entries, saved)
        guest.random_writes("drive-scsi0", 5, seed=1)
    guest.assert_clean()


@one_version
def test_many_guests(make_proxmox, make_bacula):
    """A hundred guests take less than a second, as no QEMU is asked."""
    pve = make_proxmox("9.1")
    for vmid in range(100, 200):
        config = {"name": f"vm{vmid}", "scsi0": f"local:{vmid}/vm-{vmid}-disk-0.raw,size=1G"}
        pve.control("add_guest", vmid=vmid, config=config, running=True)
    bacula = start_bacula(make_bacula, pve, LINE)
    output = bacula.ls(LINE, "/vm")
    assert listing.total(output) == (100, 100 * _GIB)
    assert [entry[-1] for entry in listing.entries(output)] == [f"vm{n}" for n in range(100, 200)]
    assert pve.requests() == [f"GET /nodes/{pve.node}/qemu"]
    lasted = min(_seconds(bacula) for _ in range(3))
    print(f"\n100 guests in {lasted:.3f} s, console and all")
    assert lasted < 1


def _seconds(bacula):
    with Stopwatch() as watch:
        bacula.ls(LINE, "/vm")
    return watch.seconds


@one_version
def test_errors_are_shown_in_the_console(make_proxmox, make_bacula):
    """Each in one line; the daemon lives on and the next command works."""
    pve = make_proxmox("7.2")
    bacula = start_bacula(make_bacula, pve, LINE)
    pve.control("down")
    text = f"Proxmox API at {pve.url}: GET /nodes/pve7/{{}}: the connection failed: "
    (said,) = listing.own_lines(bacula.ls(LINE, "/vm"))
    assert said.startswith(text.format("qemu")) and "see whether pveproxy runs" in said
    answer = json.loads(listing.answer(bacula.query(LINE, "storage")))
    assert answer["error"].startswith(text.format("storage"))
    pve.control("up")
    assert listing.total(bacula.ls(LINE, "/storage")) == (3, 0)


@one_version
def test_estimate_says_why_it_finds_nobody(make_proxmox, make_bacula):
    """No guests and no word would look as if there were none."""
    pve = make_proxmox("7.2")
    bacula = start_bacula(make_bacula, pve, LINE)
    pve.control("down")
    (said,) = listing.own_lines(bacula.estimate("VM"))
    assert said.startswith(f"Proxmox API at {pve.url}: GET /version: the connection failed")
