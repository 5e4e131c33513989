"""The options of the FileSet, and the File Daemon's own, hold for every file of every line."""

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.process import run

_MARK = b"not for everybody"


@pytest.fixture
def guests(make_guest, workdir):
    """Two guests on Plugin lines of their own, the first with two disks."""

    def make(name, *disks):
        images = [
            Disk(disk, make_image(workdir / f"{name}-{disk}.raw", 4 * MIB, "raw", seed, density=1),
                 "raw")
            for seed, disk in enumerate(disks)
        ]
        for image in images:
            with image.path.open("r+b") as file:
                file.write(_MARK * 4096)
        return make_guest(name=name, disks=images)

    return [make("one", "vda", "vdb"), make("two", "vda")]


def _lines(guests):
    return [f"qemu: qmpcontrol={guest.qmp_socket}" for guest in guests]


_FILES = {
    "/@qemu/one/0/config.json", "/@qemu/one/0/vda.qcow2", "/@qemu/one/0/vdb.qcow2",
    "/@qemu/two/0/config.json", "/@qemu/two/0/vda.qcow2",
}  # fmt: skip


def _assert_restores(bacula, jobs, guests, where):
    restored = bacula.restore([job.jobid for job in jobs], where)
    assert restored.ok, restored.log
    for guest in guests:
        for disk in guest.disks:
            assert_same(guest.shadow(disk), where / f"@qemu/{guest.name}/0/{disk}.qcow2")


def test_signature_and_compression(guests, make_bacula, workdir):
    """A restore object makes the daemon forget them, so the plugin's come last."""
    bacula = make_bacula(
        filesets={"VM": _lines(guests)}, fileset_options=["Signature = MD5", "Compression = GZIP6"]
    )
    jobs = [bacula.run("VM", "Full"), bacula.run("VM", "Incremental")]
    for job in jobs:
        assert job.ok, job.log
        digests = bacula.catalog.digests(job.jobid)
        assert digests.keys() == _FILES and "0" not in digests.values(), digests
        names = bacula.catalog.object_names(job.jobid)
        assert names[:2] == ["RestoreOptions"] * 2 and set(names[2:]) == {"qemu-fd config"}
    saved = sum(file.size for file in bacula.list_files(jobs[0].jobid) if file.file_index > 0)
    assert saved > 12 * MIB and jobs[0].bytes < saved / 4
    _assert_restores(bacula, jobs, guests, workdir / "restored")


def _key_pair(folder):
    """A file as the File Daemon's PKI Keypair wants it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=fd",
         "-keyout", key, "-out", certificate])
    pair = folder / "pair.pem"
    pair.write_text(key.read_text() + certificate.read_text())
    return pair


@pytest.mark.parametrize("encrypted", [False, True])
def test_encryption(guests, make_bacula, workdir, encrypted):
    """With the File Daemon's PKI encryption no volume holds a disk in the clear."""
    lines = []
    if encrypted:
        lines = ["PKI Signatures = yes", "PKI Encryption = yes",
                 f'PKI Keypair = "{_key_pair(workdir)}"']
    bacula = make_bacula(filesets={"VM": _lines(guests)}, extra_fd_lines=lines)
    job = bacula.run("VM")
    assert job.ok, job.log
    volumes = list((bacula.folder / "volumes").iterdir())
    assert any(_MARK in volume.read_bytes() for volume in volumes) != encrypted
    _assert_restores(bacula, [job], guests, workdir / "restored")
