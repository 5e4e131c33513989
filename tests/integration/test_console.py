"""What the console shows without a job: estimate, .ls and .query.

None of them may change the guest: each test compares what QEMU holds before
and after.
"""

import json
import os

import pytest
from harness import listing
from harness.disk import MIB, Disk, make_image
from harness.history import sizes

# A dump is its data and the tables of the image around it.
_TABLES = 8 * 64 * 1024


@pytest.fixture
def guest(make_guest, workdir):
    disks = [
        Disk("ide0-hd0", make_image(workdir / "a.qcow2", 16 * MIB, seed=1), interface="ide"),
        Disk("vdb", make_image(workdir / "b.raw", 8 * MIB + 512, "raw", seed=2), fmt="raw"),
        Disk("fixed", make_image(workdir / "c.qcow2", MIB), readonly=True),
    ]
    return make_guest(name="VM1", disks=disks)


@pytest.fixture
def line(guest):
    """The Plugin line of that guest."""
    return f"qemu: qmpcontrol={guest.qmp_socket}"


@pytest.fixture
def bacula(make_bacula, line):
    return make_bacula(filesets={"VM": [line]})


class _Untouched:
    """Fails when a guest is another one afterwards."""

    def __init__(self, guest):
        self._guest = guest

    def _state(self):
        bitmaps = {name: self._guest.bitmaps(name) for name in self._guest.disks}
        return self._guest.qmp("query-status"), sorted(self._guest.nodes()), bitmaps

    def __enter__(self):
        self._before = self._state()

    def __exit__(self, kind, *_):
        if kind is None:
            self._guest.assert_clean()
            assert self._state() == self._before


def _estimate(bacula, level):
    """Disk -> estimated bytes, from the listing, which must fit its total."""
    os.sync()  # until then the images may still take fewer or more blocks
    output = bacula.estimate("VM", level, listing=True)
    entries = listing.entries(output)
    assert listing.own_lines(output) == []
    assert listing.total(output) == (len(entries), sum(size for *_, size, _ in entries))
    assert listing.total(bacula.estimate("VM", level)) == listing.total(output)
    assert entries[0][-1] == "/@qemu/VM1/0/config.json"
    assert {entry[:4] for entry in entries} == {("-rw-------", 1, "root", "root")}
    return {
        name.removeprefix("/@qemu/VM1/0/").removesuffix(".qcow2"): size
        for *_, size, name in entries[1:]
    }


def _allocated(guest):
    """Disk -> bytes that its image takes; a read-only disk is not backed up."""
    return {
        name: disk.path.stat().st_blocks * 512
        for name, disk in guest.disks.items()
        if not disk.readonly
    }


def _assert_true(estimate, result, bacula):
    """A dump is as large as was said, but for its tables."""
    dumped = sizes(bacula, result)
    assert dumped.keys() == estimate.keys()
    for disk, size in dumped.items():
        assert estimate[disk] <= size <= estimate[disk] + _TABLES, (disk, estimate, dumped)


def _dirty(guest, base):
    """Disk -> bytes that the bitmap of a job counts."""
    return {
        name: next(
            bitmap["count"]
            for title, bitmap in guest.bitmaps(name).items()
            if title.startswith("bacula:") and title.endswith(f":{base.name}")
        )
        for name, disk in guest.disks.items()
        if not disk.readonly
    }


def test_estimates_come_true(bacula, guest):
    """Full: what the images take; then: what the base's bitmap counts."""
    with _Untouched(guest):
        estimate = _estimate(bacula, "Full")
    assert estimate == _allocated(guest)
    full = bacula.run("VM")
    _assert_true(estimate, full, bacula)

    guest.random_writes("vdb", 10, seed=1)
    with _Untouched(guest):
        estimate = _estimate(bacula, "Incremental")
    assert estimate == _dirty(guest, full) and estimate["ide0-hd0"] == 0 < estimate["vdb"]
    increment = bacula.run("VM", level="Incremental")
    _assert_true(estimate, increment, bacula)

    guest.random_writes("ide0-hd0", 10, seed=2)
    with _Untouched(guest):
        differential, incremental = _estimate(bacula, "Differential"), _estimate(bacula, "Incremental")
    assert differential == _dirty(guest, full)
    assert incremental == _dirty(guest, increment) and incremental["vdb"] == 0
    _assert_true(differential, bacula.run("VM", level="Differential"), bacula)


def test_estimate_knows_when_a_disk_will_be_dumped_whole(bacula, guest):
    """After a restart of the guest there is no bitmap: it says so by the size."""
    bacula.run("VM")
    guest.restart()
    estimate = _estimate(bacula, "Incremental")
    assert estimate == _allocated(guest)
    _assert_true(estimate, bacula.run("VM", level="Incremental"), bacula)


def test_listings_are_as_in_the_manual(bacula, guest, line):
    """Directories to choose from, guests by name, guests by vmid; nothing else."""
    size = 16 * MIB + 8 * MIB + 512
    with _Untouched(guest):
        output = bacula.ls(line, "/")
        assert listing.entries(output) == [
            ("drwxr-x---", 1, "root", "root", 0, "vm"),
            ("drwxr-x---", 1, "root", "root", 0, "vmid"),
        ]
        assert "2000 OK estimate files=2 bytes=0" in output
        for path in ("/vm", "vm"):
            output = bacula.ls(line, path)
            assert listing.entries(output) == [("-rw-r-----", 1, "root", "root", size, "VM1")]
            assert f"2000 OK estimate files=1 bytes={size:,}" in output
        output = bacula.ls(line, "/vmid")
        assert listing.entries(output) == [("-rw-r-----", 1, "root", "root", size, "0 -> VM1")]
        assert f"2000 OK estimate files=1 bytes={size:,}" in output
        for path in ("/storage", "/vm/VM1", "/vmids"):
            output = bacula.ls(line, path)
            said = f'there is nothing to list at "{path}"; list one of: /, /vm, /vmid'
            assert listing.own_lines(output) == [said] and listing.total(output) == (0, 0)


def test_queries_are_as_in_the_manual(bacula, bacula_version, guest, line):
    """JSON without blanks, as the manual prints it; 9.6.7 has no such command."""
    with _Untouched(guest):
        answers = [listing.answer(bacula.query(line, parameter)) for parameter in ("vm", "vmid")]
    if bacula_version == "9.6.7":
        assert set(answers) == {".query: is an invalid command."}
    else:
        assert answers == ['[{"name":"VM1","vmid":0}]'] * 2
        assert f"{answers[0]}\n" in bacula.query(line, "vm")  # the Director adds no line feed
        for parameter in ("storage", "VM"):
            said = f'there is nothing to query as "{parameter}"; query vm or vmid, or with mode=PVE storage'
            assert json.loads(listing.answer(bacula.query(line, parameter))) == {"error": said}


def test_names_that_need_care(make_bacula, make_guest, bacula_version, workdir):
    """Blanks, slashes, quotes and UTF-8, in names and in the Plugin line."""
    name = 'Büro "7" / it\'s'
    image = make_image(workdir / "a.qcow2", MIB)
    guest = make_guest(name="awkward", disks=[Disk("vda", image)], extra=["-name", name])
    line = f"qemu: mode='QEMU' qmpcontrol=\"{guest.qmp_socket}\""
    bacula = make_bacula(filesets={"VM": [line]})
    assert listing.entries(bacula.ls(line, "/vm"))[0][-1] == name
    assert listing.entries(bacula.ls(line, "/vmid"))[0][-1] == f"0 -> {name}"
    listed = [entry[-1] for entry in listing.entries(bacula.estimate("VM", listing=True))]
    folder = "/@qemu/Büro \"7\" %2F it's/0"
    assert listed == [f"{folder}/config.json", f"{folder}/vda.qcow2"]
    if bacula_version != "9.6.7":
        assert json.loads(listing.answer(bacula.query(line, "vm"))) == [{"name": name, "vmid": 0}]


# Plugin line -> what each command says of it; {qmp} is the guest's socket.
_WRONG = {
    "qemu: qmpcontrol={qmp} colour=red": 'Plugin line: unknown parameter "colour"; the parameters',
    "qemu: timeout=60": 'parameter "qmpcontrol" is missing; set qmpcontrol= to the guest\'s',
    "qemu: mode=PVE": "mode=PVE is for a File Daemon that runs as root on a Proxmox VE host",
    "qemu: qmpcontrol={qmp}x": 'QMP socket "{qmp}x": cannot connect: No such file or directory;',
}


def test_errors_are_shown_in_the_console(make_bacula, guest, bacula_version):
    """Each in one line; the daemon lives on and the next command works."""
    lines = {line.format(qmp=guest.qmp_socket): text for line, text in _WRONG.items()}
    lines = {line: text.format(qmp=guest.qmp_socket) for line, text in lines.items()}
    filesets = {f"bad-{number}": [line] for number, line in enumerate(lines)}
    bacula = make_bacula(filesets=filesets)
    with _Untouched(guest):
        for (line, text), job in zip(lines.items(), filesets):
            for output in (bacula.ls(line, "/vm"), bacula.estimate(job, listing=True)):
                assert listing.entries(output) == [] and listing.total(output) == (0, 0)
                (said,) = listing.own_lines(output)
                assert text in said
            if bacula_version != "9.6.7":
                answer = json.loads(listing.answer(bacula.query(line, "vm")))
                assert answer.keys() == {"error"} and text in answer["error"]
    assert "files=1" in bacula.ls(f"qemu: qmpcontrol={guest.qmp_socket}", "/vm")
