"""Every row of docs/internals/names.md: names of guests, drives, files, images, formats and folders."""

import contextlib
import json
import os
import re

import pytest
from harness import restored
from harness.archives import CONFIG, IMAGE, Archives, saved_archives
from harness.disk import MIB, Disk, assert_same, make_image
from harness.fd_host import FdHost
from harness.marks import one_version
from harness.name_cases import DOCUMENT, FORMATS, NAMES, PLACES, SAVED, TARGETS, count, render
from harness.scripted_monitor import ScriptedMonitor

_ASAN = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"}
_QCOW2 = ".qcow2"


def test_the_document_shows_these_cases():
    """docs/internals/names.md is what the tables say, and there are enough of them."""
    assert DOCUMENT.read_text() == render(), "write it anew: see harness/name_cases.py"
    assert count() >= 60
    for cases in (NAMES, SAVED, TARGETS, FORMATS):
        assert len({name for name, _ in cases}) == len(cases)
    assert len({path for _, path in NAMES}) == len(NAMES)  # no two names share a file


# Of guests and drives, as a monitor says them that can say anything


@pytest.fixture
def host(workdir):
    return FdHost(workdir / "host", 23, flavour="asan", env=_ASAN)


def _estimated(host, path):
    """The names that a backup of the guest behind this monitor would give its files."""
    result = host.run(host.estimate(f"qemu: qmpcontrol={path}"))
    assert result.code == 0, result.log
    return re.findall(r"^- +\d+ (/.*)$", result.log, re.M)


def _assert_component(component):
    assert 0 < len(os.fsencode(component)) <= 240
    assert component not in (".", "..") and not re.search(r"[/\x00-\x1f\x7f]", component)


@pytest.mark.parametrize("name, component", NAMES, ids=range(len(NAMES)))
def test_name_of_a_guest(host, tmp_path, name, component):
    """One component, whatever it is; without a name, that of its socket."""
    _assert_component(component)
    with ScriptedMonitor(tmp_path / "qmp", name, ["vda"]):
        names = _estimated(host, tmp_path / "qmp")
    folder = component if name else "qmp"
    assert names == [f"/@qemu/{folder}/0/config.json", f"/@qemu/{folder}/0/vda.qcow2"]


def test_names_of_drives(host, tmp_path):
    """The same for the drives of one guest; without a name, that of its node."""
    with ScriptedMonitor(tmp_path / "qmp", "vm", [name for name, _ in NAMES]):
        names = _estimated(host, tmp_path / "qmp")
    components = [path if name else f"n{number}" for number, (name, path) in enumerate(NAMES)]
    assert names == ["/@qemu/vm/0/config.json"] + [
        f"/@qemu/vm/0/{component}{_QCOW2}" for component in components
    ]


# The same through a real QEMU and a real Bacula


class _Titled(Disk):
    """A disk on a device whose id is anything that QEMU takes as JSON."""

    title = ""

    @property
    def device_id(self):
        return self.title


def _titled(folder, number, title):
    disk = _Titled(f"n{number}", make_image(folder / f"{number}.raw", MIB, "raw", seed=number),
                   "raw", style="blockdev")  # fmt: skip
    disk.title = title
    return disk


def _escaped(name):
    """For -name, which ends at a comma."""
    return "guest=" + name.replace(",", ",,")


_PER_GUEST = 25  # as many disks as a machine has slots for
# Those that a shell, a path, a list or a terminal would take for something else.
_GUESTS = [case for case in NAMES if re.search(r"[^\w -]", case[0]) or len(case[0]) > 200][::2]


@pytest.fixture
def awkward_guests(make_guest, workdir):
    """Guests with all names as their drives', and guests with such names; by component."""
    drives = [case for case in NAMES if case[0]]
    guests = {}
    for first in range(0, len(drives), _PER_GUEST):
        disks = [
            _titled(workdir, number, drives[number][0])
            for number in range(first, min(first + _PER_GUEST, len(drives)))
        ]
        guests[f"many{first}"] = make_guest(f"many{first}", disks=disks)
    for number, (name, component) in enumerate(_GUESTS):
        disk = Disk("vda", make_image(workdir / f"g{number}.qcow2", MIB, seed=number))
        guests[component] = make_guest(f"g{number}", disks=[disk], extra=["-name", _escaped(name)])
    return guests


def _components(guest):
    """The guest's shadows by the component that its drive's name becomes."""
    known = dict(NAMES)
    return {
        known[disk.saved_name] if isinstance(disk, _Titled) else disk.saved_name: guest.shadow(name)
        for name, disk in guest.disks.items()
    }


@one_version
def test_names_through_qemu_and_bacula(awkward_guests, make_bacula, workdir):
    """Saved, built upon and restored under these names and no others."""
    guests = awkward_guests
    bacula = make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}" for guest in guests.values()]}
    )
    full = bacula.run("VM")
    assert full.ok, full.log
    wanted = {
        f"/@qemu/{folder}/0/{file}"
        for folder, guest in guests.items()
        for file in ("config.json", *(drive + _QCOW2 for drive in _components(guest)))
    }
    assert {file.path for file in bacula.list_files(full.jobid)} == wanted
    for guest in guests.values():
        if "vda" in guest.disks:
            guest.random_writes("vda", 3, seed=1)
    increment = bacula.run("VM", level="Incremental")
    disks = sum(len(guest.disks) for guest in guests.values())
    assert increment.ok and increment.log.count(": Incremental, ") == disks, increment.log
    where = workdir / "restored"
    assert bacula.restore([full.jobid, increment.jobid], where).ok
    assert {f"/{file}" for file in restored.files(where)} == wanted
    for folder, guest in guests.items():
        for drive, shadow in _components(guest).items():
            assert_same(shadow, where / "@qemu" / folder / "0" / (drive + _QCOW2))
        guest.assert_clean()


# Of what comes back in a restore


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the archives "full" and "increment", and what they must restore."""
    with saved_archives(tmp_path_factory.mktemp("names")) as saved:
        yield saved


@pytest.fixture
def archives(saved, workdir):
    with contextlib.closing(Archives(workdir, saved[0])) as archives:
        yield archives


@pytest.mark.parametrize("name, path", SAVED, ids=range(len(SAVED)))
def test_name_of_a_saved_file(archives, name, path):
    """Below where= under the very same name, or not at all."""
    archives.change("full", IMAGE, name=name)
    archives.names = ["full"]
    log = archives.restore()
    refused = "is no name that this plugin gives a file; restore files below /@qemu/ only"
    assert (refused in log) == (path is None), log
    kept = {CONFIG[1:], path} if path else {CONFIG[1:]}
    assert set(restored.files(archives.where)) == kept
    archives.assert_untouched()


def _converted(archives, **members):
    """Restore with convdestination=yes after config.json and the catalog were changed; the log."""
    change = lambda description: description["disks"][0].update(members)  # noqa: E731
    archives.rewrite_config(change)
    return archives.restore("/", convdestination="yes")


def _said_of_disk(log):
    return [line for line in log.splitlines() if 'guest "VM1", disk "vda": ' in line]


@pytest.mark.parametrize("file, outcome", TARGETS, ids=range(len(TARGETS)))
def test_file_in_a_config(archives, saved, file, outcome):
    """Nothing is opened but the file of that very name."""
    outside = archives.outside
    (outside / "loop").symlink_to("loop")
    os.mkfifo(outside / "fifo")
    there = set(os.listdir(outside))
    path = file.format(outside=outside)
    log = _converted(archives, file=path, format="raw")
    if outcome == "written":
        assert _said_of_disk(log) == [], log
        (made,) = set(os.listdir(outside)) - there
        assert made == os.path.basename(path)
        assert_same(saved[1], outside / made, "raw")
        (outside / made).unlink()
        archives.watch.events()
    else:
        (line,) = _said_of_disk(log)
        assert outcome.format(outside=outside) in line
        assert archives.watch.events() == []
    assert set(os.listdir(outside)) == there
    (outside / "loop").unlink()
    (outside / "fifo").unlink()
    archives.watch.events()
    archives.assert_untouched()


@pytest.mark.parametrize("name, outcome", FORMATS, ids=range(len(FORMATS)))
def test_format_in_a_config(archives, saved, name, outcome):
    """Only what is an image's is ever given to qemu-img."""
    target = archives.outside / "disk"
    log = _converted(archives, file=str(target), format=name)
    if outcome == "written":
        assert_same(saved[1], target, name)
        target.unlink()
        archives.watch.events()
    else:
        (line,) = _said_of_disk(log)
        assert outcome in line
    archives.assert_untouched()


@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
def test_folder_to_restore_to(archives, saved, place):
    """qemu-img takes none of them for an option, a protocol or JSON."""
    where = archives.outside.parent / "places" / place
    log = archives.restore(where)
    assert "rror" not in log.replace("0 errors", ""), log
    with contextlib.chdir(where):  # the longest is too long for some tools
        assert_same(saved[1], restored.image(".", "vda", "VM1"))
    archives.assert_untouched()


# What the catalog knows


def test_a_volume_cannot_choose_another_place(archives, saved):
    """config.json says one file, the catalog another: the catalog's is written."""
    theirs, ours = (archives.outside.parent / name for name in ("theirs", "ours"))

    def change(description):
        description["disks"][0].update(file=str(ours), format="raw")

    archives.rewrite_objects(change)
    config = archives.data("increment", CONFIG)
    description = json.loads(config.read_text())
    change(description)
    description["disks"][0]["file"] = str(theirs)
    archives.replace("increment", CONFIG, json.dumps(description).encode())
    archives.names = ["full", "increment"]
    archives.replace("full", CONFIG, json.dumps(description).encode())
    log = archives.restore("/", convdestination="yes")
    assert f'it says that disk "vda" lies at "{theirs}", the catalog "{ours}"; one of' in log
    assert not theirs.exists()
    assert_same(saved[1], ours, "raw")
    archives.assert_untouched()


def test_what_both_say_is_believed(archives, saved):
    """The same in both: no error."""
    target = archives.outside.parent / "disk"

    def change(description):
        description["disks"][0].update(file=str(target), format="raw")

    archives.rewrite_objects(change)
    for archive in archives.names:
        description = json.loads(archives.data(archive, CONFIG).read_text())
        change(description)
        archives.replace(archive, CONFIG, json.dumps(description).encode())
    log = archives.restore("/", convdestination="yes")
    assert "rror" not in log.replace("0 errors", ""), log
    assert_same(saved[1], target, "raw")
