"""qemu-fd-open on volumes that real Storage Daemons wrote: every disk of every job is compared."""

import random
import re
import subprocess

import pytest
from harness import opened
from harness.bacula import Bacula
from harness.disk import MIB, SECTOR, Disk, make_image
from harness.history import History
from harness.marks import one_version
from harness.process import Failure, run

_SMALL = ["Maximum Volume Size = 1000000"]
_KINDS = {
    "plain": {},
    "gzip": {"fileset_options": ["Signature = MD5", "Compression = GZIP6"]},
    "lzo": {"fileset_options": ["Compression = LZO"]},
    "small volumes": {"extra_device_lines": _SMALL},
    "small volumes, gzip, spooled": {
        "extra_device_lines": _SMALL,
        "fileset_options": ["Signature = SHA1", "Compression = GZIP1"],
        "extra_job_lines": ["Spool Data = yes"],
    },
    "large blocks": {"extra_device_lines": ["Maximum Block Size = 1000000"]},
    "no checksums": {"extra_device_lines": ["Block Checksum = no"]},
}


def _volumes(bacula):
    return bacula.folder / "volumes"


def _disks(workdir, name="VM1"):
    """Of the second one a part does not compress."""
    first = make_image(workdir / f"{name}-vda.qcow2", 8 * MIB, seed=1, density=0.5)
    second = make_image(workdir / f"{name}-vdb.raw", 4 * MIB + 3 * SECTOR, "raw", seed=2)
    with second.open("r+b") as file:
        file.seek(MIB + 700)
        file.write(random.Random(3).randbytes(2 * MIB))
    return [Disk("vda", first), Disk("vdb", second, "raw")]


class _Past:
    """A guest's jobs, and what its disks held at each of them."""

    def __init__(self, history):
        self.history = history
        self.contents = {}  # by the job's unique name

    def backup(self, level):
        """A job after some writes."""
        history = self.history
        seed = history.bacula.catalog.newest_job()
        for disk in history.guest.disks:
            history.guest.random_writes(disk, 10, seed=seed)
        result = history.backup(level)
        self.contents[result.name] = dict(history.contents)
        return result

    def chain(self, levels=("Full", "Incremental", "Incremental")):
        """Such jobs; their results."""
        return [self.backup(level) for level in levels]


@pytest.fixture
def make_past(make_bacula, make_guest, workdir):
    """A guest with two disks and a Bacula of these options."""

    def make(**options):
        guest = make_guest(name="VM1", disks=_disks(workdir))
        bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, **options)
        return _Past(History(bacula, guest, workdir))

    return make


@pytest.mark.parametrize("kind", _KINDS)
def test_every_disk_of_every_job(make_past, workdir, kind):
    """In every form that a volume can have."""
    past = make_past(**_KINDS[kind])
    past.chain()
    volumes = _volumes(past.history.bacula)
    opened.assert_states(past.contents, workdir / "parts", volumes)
    list_ = opened.listed(volumes)
    assert [volume for volume in list_["volumes"] if "trouble" in volume] == []
    assert all(volume["checksums"] for volume in list_["volumes"]) == (kind != "no checksums")
    if "small" in kind:
        newest = next(iter(opened.states(volumes).values()))
        assert len(newest["vdb"]["parts"][0]["volumes"]) > 1


def test_jobs_in_one_volume_at_once(make_bacula, make_guest, workdir):
    """Two guests' blocks take turns."""
    guests = [make_guest(name=name, disks=_disks(workdir, name)) for name in ("VM1", "VM2")]
    bacula = make_bacula(
        filesets={guest.name: [f"qemu: qmpcontrol={guest.qmp_socket}"] for guest in guests}, interleaved=True,
        extra_device_lines=["Maximum Volume Size = 3000000"],
    )
    wanted = {guest.name: {} for guest in guests}
    histories = [History(bacula, guest, workdir, guest.name) for guest in guests]
    for level in ("Full", "Incremental"):
        for history in histories:
            for disk in history.guest.disks:
                history.guest.random_writes(disk, 10, seed=len(level))
            history.note_contents()
        jobids = [bacula.run(guest.name, level, wait=False) for guest in guests]
        for history, jobid in zip(histories, jobids):
            result = bacula.wait(jobid)
            assert result.ok, result.log
            wanted[history.guest.name][result.name] = dict(history.contents)
    for guest in guests:
        opened.assert_states(wanted[guest.name], workdir / f"parts-{guest.name}", _volumes(bacula), guest=guest.name)


def _run(bacula, job):
    """A job of the Director's own, and those that it queued."""
    said = bacula.console(f"run job={job} yes")
    result = bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", said)[1]))
    bacula.console("wait")
    return result


def test_copies(make_past, workdir):
    """A copied job's parts are the same once more; without the first ones they serve alone."""
    past = make_past(second_pool=True)
    past.backup("Full")
    bacula = past.history.bacula
    copied = _run(bacula, "Copy")
    assert copied.status == "T", copied.log
    volumes = _volumes(bacula)
    assert list(volumes.glob("second-*"))
    for found in opened.states(volumes).values():
        assert [disk for disk in found.values() if "trouble" in disk] == []
    for volume in volumes.glob("volume-*"):
        volume.unlink()
    (contents,) = past.contents.values()
    (job,) = opened.states(volumes)
    opened.assert_states({job: contents}, workdir / "parts", volumes)


def test_virtual_full(make_past, workdir):
    """One session with the parts of three jobs: it is one state, the newest job's once more."""
    past = make_past(second_pool=True, accurate=True)
    past.chain()
    bacula = past.history.bacula
    said = bacula.console("run job=VM level=VirtualFull yes")
    result = bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", said)[1]))
    assert result.status == "T", result.log
    volumes = _volumes(bacula)
    opened.assert_states(past.contents, workdir / "parts", volumes)
    for volume in volumes.glob("volume-*"):
        volume.unlink()
    newest = list(past.contents)[-1]
    opened.assert_states({newest: past.contents[newest]}, workdir / "parts", volumes)
    disks = opened.states(volumes)[newest].values()
    assert [len(disk["parts"]) for disk in disks] == [3, 3]


@one_version
def test_two_jobs_on_one_guest(make_bacula, make_guest, workdir):
    """Each chain is that of its own parts, whatever their numbers are."""
    guest = make_guest(name="VM1", disks=_disks(workdir))
    bacula = make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, jobs={"A": "VM", "B": "VM"}
    )
    pasts = [_Past(History(bacula, guest, workdir, job)) for job in "AB"]
    for level in ("Full", "Incremental", "Incremental"):
        for past in pasts:
            past.backup(level)
    opened.assert_states(pasts[0].contents | pasts[1].contents, workdir / "parts", _volumes(bacula))


@pytest.mark.parametrize("bacula_version", ["9.6.7"], indirect=True)
def test_blocks_of_two_versions_in_one_volume(make_past, workdir, bacula_root):
    """A Storage Daemon of 15 appends its own kind of blocks to a volume of 9.6."""
    past = make_past()
    past.backup("Full")
    bacula = past.history.bacula
    old = next(_volumes(bacula).iterdir())
    bacula.stop()
    with Bacula(bacula_root.parent / "15.0.3", workdir / "newer", bacula.plugin, bacula.filesets) as newer:
        later = _Past(History(newer, past.history.guest, workdir))
        later.backup("Full")
    new = next(_volumes(newer).iterdir()).read_bytes()
    label = int.from_bytes(new[4:8], "big")
    both = workdir / "both"
    both.write_bytes(old.read_bytes() + new[label:])
    opened.assert_states(past.contents | later.contents, workdir / "parts", both)


def test_what_is_saved_is_what_bacula_extracts(make_past, workdir, bacula_root):
    """bextract is Bacula's own program for that: byte by byte the same files."""
    past = make_past()
    result = past.backup("Full")
    bacula = past.history.bacula
    bacula.stop()
    target = workdir / "extracted"
    target.mkdir()
    (volume,) = _volumes(bacula).iterdir()
    run(
        [bacula_root / "usr/sbin/bextract", "-c", bacula.folder / "sd.conf", "-V", volume.name, "drives-0", target],
        env={"LD_LIBRARY_PATH": str(bacula_root / "usr/lib/bacula")},
    )
    for name in ("config.json", "vda.qcow2", "vdb.qcow2"):
        saved = f"/@qemu/VM1/0/{name}"
        ours = opened.saved_file(result.name, saved, workdir / name, volume)
        run(["cmp", ours, target / saved.lstrip("/")])


# What is not as it should be


def _flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def _damaged(past):
    """Three jobs, a volume each, in their order."""
    results = past.chain()
    past.history.bacula.stop()
    volumes = sorted(_volumes(past.history.bacula).iterdir())
    assert len(volumes) == 3
    return results, volumes


def test_a_flipped_bit(make_past, workdir):
    """The disk that it is in is not offered from there on; the other one is as it was."""
    past = make_past()
    results, volumes = _damaged(past)
    at = volumes[0].read_bytes().index(b"QFI\xfb") + 300000
    _flip(volumes[0], at)
    found = opened.troubles(volumes[0].parent)
    assert set(found) == {(result.name, "vda") for result in results}
    assert all("the block at byte" in why and "of volume volume-0001 is damaged" in why for why in found.values())
    with pytest.raises(Failure, match="is damaged"):
        opened.saved_file(results[0].name, "/@qemu/VM1/0/vda.qcow2", workdir / "part", volumes[0])
    _flip(volumes[0], at)
    opened.assert_states(past.contents, workdir / "parts", volumes[0].parent)


@pytest.mark.parametrize("kind", ["plain", "gzip"])
@one_version
def test_every_bit_counts(make_past, workdir, kind):
    """Wherever a bit is flipped, what is still offered is right."""
    past = make_past(**_KINDS[kind])
    past.backup("Full")
    past.history.bacula.stop()
    (volume,) = _volumes(past.history.bacula).iterdir()
    size = volume.stat().st_size
    ((job, contents),) = past.contents.items()
    refused = 0
    for at in range(300, size, size // 40):
        _flip(volume, at)
        found = opened.states(volume)
        assert set(found) <= {job}
        for name, disk in found.get(job, {}).items():
            refused += "trouble" in disk
            if "trouble" not in disk:
                opened.assert_same(contents[name], opened.put_together(disk, workdir, volume))
        _flip(volume, at)
    assert refused >= 20


def test_a_volume_that_is_cut(make_past):
    """As one that is being written to: what is there is offered, what is not is said."""
    past = make_past()
    results, volumes = _damaged(past)
    with volumes[2].open("r+b") as file:
        file.truncate(volumes[2].stat().st_size // 2)
    found = opened.troubles(volumes[0].parent)
    assert {job for job, _ in found} == {results[2].name}
    assert any("its end is missing" in why for why in found.values())
    (state,) = [state for state in opened.listed(volumes[0].parent)["guests"][0]["states"] if "trouble" in state]
    assert state["job"] == results[2].name and "its end is not there" in state["trouble"]
    (trouble,) = [entry["trouble"] for entry in opened.listed(volumes[0].parent)["volumes"] if "trouble" in entry]
    assert "it ends within a block" in trouble


def test_a_volume_that_is_missing(make_past):
    """The middle of a chain, and the middle of a part."""
    past = make_past(extra_device_lines=_SMALL)
    results = past.chain()
    past.history.bacula.stop()
    folder = _volumes(past.history.bacula)
    full = opened.states(folder)[results[0].name]["vda"]["parts"][0]["volumes"]
    assert len(full) > 2
    middle = (folder / full[1]).read_bytes()
    (folder / full[1]).unlink()
    found = opened.troubles(folder)
    assert {job for job, disk in found if disk == "vda"} == {result.name for result in results}
    assert any("a volume with a piece of it is missing" in why for why in found.values())
    (folder / full[1]).write_bytes(middle)
    assert opened.troubles(folder) == {}
    for volume in opened.states(folder)[results[1].name]["vda"]["parts"][1]["volumes"]:
        (folder / volume).unlink()
    assert (results[2].name, "vda") in opened.troubles(folder)


def test_encrypted_by_the_file_daemon(make_past, workdir):
    """PKI: a disk's data cannot be read, and that is said."""
    key, certificate, pair = (workdir / name for name in ("key.pem", "certificate.pem", "pair.pem"))
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=fd", "-keyout", key,
         "-out", certificate])
    pair.write_text(key.read_text() + certificate.read_text())
    past = make_past(extra_fd_lines=["PKI Signatures = yes", "PKI Encryption = yes", f'PKI Keypair = "{pair}"'])
    result = past.backup("Full")
    found = opened.troubles(_volumes(past.history.bacula))
    assert set(found) == {(result.name, "vda"), (result.name, "vdb")}
    assert all("encrypted by the File Daemon (PKI)" in why for why in found.values())


@one_version
def test_other_files_are_passed_over(make_bacula, workdir):
    """A volume without a guest, a folder without a volume, a file that is none."""
    (workdir / "file").write_text("content")
    bacula = make_bacula(filesets={"plain": [workdir / "file"]})
    assert bacula.run("plain").ok
    assert opened.listed(_volumes(bacula))["guests"] == []
    assert "no guest's backup" in run([opened.PROGRAM, "list", _volumes(bacula)])
    with pytest.raises(Failure, match="no volume of Bacula's"):
        opened.listed(bacula.folder / "plugins")
    with pytest.raises(Failure, match="no block of Bacula's is there"):
        opened.listed(bacula.folder / "sd.conf")
    with pytest.raises(Failure, match="cannot open"):
        opened.listed(workdir / "nowhere")


def test_usage(workdir):
    """What is wrong on the command line ends with 2 and says what would be right."""
    for words in ([], ["list"], ["list", "--job", "x", workdir], ["cat", "file", workdir], ["frobnicate", workdir]):
        done = subprocess.run([opened.PROGRAM, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "") and "usage: qemu-fd-open" in done.stderr
    assert run([opened.PROGRAM, "--version"]).startswith("qemu-fd-open ")
    assert "usage: qemu-fd-open list" in run([opened.PROGRAM, "--help"])
