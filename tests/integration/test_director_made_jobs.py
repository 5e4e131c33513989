"""Jobs that the Director makes of what others saved: VirtualFull, Copy, Migration, and Verify, which reads it.

What was saved is compared after a restore from the new place; and what the next jobs of the guest are based on, which the
Director names by a job that may never have run here.
"""

import re

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, await_next_second, dumped, sequences
from harness.process import wait_until

_NEVER_RAN = re.compile(
    r"no bitmap of job (VM\.\S+), while that of the older job VM\.\S+ is there: it is a VirtualFull, a copied or a "
    r"migrated job, it did not save this disk, or somebody removed the bitmap"
)


@pytest.fixture
def make_history(make_bacula, make_guest, workdir):
    """A guest, and a Bacula with a second pool."""

    def make(**options):
        disk = Disk("vda", make_image(workdir / "vda.qcow2", 4 * MIB, seed=1))
        guest = make_guest(name="VM1", disks=[disk])
        line = f"qemu: qmpcontrol={guest.qmp_socket}"
        bacula = make_bacula(filesets={"VM": [line]}, second_pool=True, **options)
        return History(bacula, guest, workdir)

    return make


def _backup(history, level="Incremental"):
    """A job after some writes; its result and why it is a Full instead ("": it is none)."""
    history.guest.random_writes("vda", 4, seed=history.bacula.catalog.newest_job())
    history.note_contents()
    result = history.bacula.run("VM", level)
    assert result.ok, result.log
    return result, dumped(result)["vda"][1]


def _chain(history, levels="FII"):
    names = {"F": "Full", "D": "Differential", "I": "Incremental"}
    return [_backup(history, names[level])[0] for level in levels]


def _compare(history, where):
    """Restore what the Director calls current, and compare it with what the newest job saw."""
    bacula = history.bacula
    output = bacula.console(f"restore fileset=VM client=fd where={where} select current all done yes")
    result = bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", output)[1]))
    assert result.ok, result.log
    history.assert_same(where)
    return result


def _run(bacula, job):
    """A job of the Director's own; its result, when the jobs that it queued have ended too."""
    before = bacula.catalog.newest_job()
    output = bacula.console(f"run job={job} yes")
    result = bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", output)[1]))

    def ended():
        rows = [bacula.catalog.job(number) for number in range(before + 1, bacula.catalog.newest_job() + 1)]
        return all(row is None or row.status not in "CRFSMm" for row in rows)

    wait_until(ended, 60, f"{job}'s jobs")
    return result


@pytest.mark.long
def test_virtual_full(make_history, workdir):
    """It restores what its sources held; an Incremental goes on, a Differential has no base."""
    history = make_history()
    bacula = history.bacula
    _chain(history)
    virtual = bacula.run("VM", "VirtualFull")
    assert virtual.status == "T" and "Consolidating JobIds=1,2,3" in virtual.log
    assert bacula.restore([virtual.jobid], workdir / "virtual").ok
    history.assert_same(workdir / "virtual")

    after, why = _backup(history)
    assert why == "" and sequences(bacula, after) == {"vda": 3}, after.log
    _compare(history, workdir / "after")
    _, why = _backup(history, "Differential")
    assert _NEVER_RAN.fullmatch(why)[1] == virtual.name
    _compare(history, workdir / "differential")


def test_virtual_full_whose_sources_are_gone(make_history, workdir):
    """The Director names the VirtualFull; the guest was not restarted, and nobody says so."""
    history = make_history()
    bacula = history.bacula
    sources = _chain(history)
    virtual = bacula.run("VM", "VirtualFull")
    for source in sources:
        bacula.delete_job(source.jobid)
    after, why = _backup(history)
    assert _NEVER_RAN.fullmatch(why)[1] == virtual.name and sequences(bacula, after) == {"vda": 0}
    _compare(history, workdir / "after")
    after, why = _backup(history)
    assert why == "" and sequences(bacula, after) == {"vda": 1}
    _compare(history, workdir / "later")


@pytest.mark.long
def test_progressive_virtual_full(make_history, workdir):
    """Backups To Keep: older jobs become one, and the chain goes on, twice."""
    history = make_history(extra_job_lines=["Backups To Keep = 1", "Delete Consolidated Jobs = yes"])
    bacula = history.bacula
    _chain(history, "FIII")
    for turn in (1, 2):
        virtual = bacula.run("VM", "VirtualFull")
        assert virtual.status == "T" and "Consolidating" in virtual.log, virtual.log
        _, why = _backup(history)
        assert why == ""
        _compare(history, workdir / f"turn{turn}")


def test_copy(make_history, workdir):
    """The copies restore when the originals are gone; jobs before and after that go on."""
    history = make_history()
    bacula = history.bacula
    originals = _chain(history, "FI")
    assert "Copying OK" in _run(bacula, "Copy").log
    third, why = _backup(history)
    assert why == "" and sequences(bacula, third) == {"vda": 2}
    for original in originals:
        bacula.delete_job(original.jobid)
    _compare(history, workdir / "copies")
    fourth, why = _backup(history)
    assert why == "" and sequences(bacula, fourth) == {"vda": 3}
    _compare(history, workdir / "after")
    _, why = _backup(history, "Differential")
    assert bool(why) == (bacula.version == "9.6.7"), why  # which names the copy
    _compare(history, workdir / "differential")


def test_migration(make_history, workdir):
    """The migrated jobs restore; 9.6.7 names one as base, 15.0.3 the original."""
    history = make_history()
    bacula = history.bacula
    _chain(history, "FI")
    assert "Migration OK" in _run(bacula, "Migrate").log
    _compare(history, workdir / "migrated")
    await_next_second()
    after, why = _backup(history)
    if bacula.version == "9.6.7":
        assert _NEVER_RAN.fullmatch(why), why
    else:
        assert why == "" and sequences(bacula, after) == {"vda": 2}
    _compare(history, workdir / "after")


def test_verify(make_history):
    """VolumeToCatalog and Data find nothing wrong with parts of every kind; Data finds what a volume lost.

    Without block checksums nothing but the signature tells, which Verify = pins5 lets Data compare.
    """
    history = make_history(
        extra_device_lines=["Block Checksum = no"], fileset_options=["Signature = MD5", "Verify = pins5"]
    )
    bacula = history.bacula
    for result in _chain(history, "FID"):
        for job in ("VerifyVolume", "VerifyData"):
            verified = _run(bacula, f"{job} jobid={result.jobid}")
            assert "Termination:            Verify OK" in verified.log, verified.log
            assert f"Verify JobId:           {result.jobid}\n" in verified.log
    history.guest.write("vda", 0xA7, MIB, 64 * 1024)
    last = history.backup()
    volume = max((bacula.folder / "volumes").iterdir())
    content = bytearray(volume.read_bytes())
    content[content.index(b"\xa7" * 4096) + 2000] ^= 1
    volume.write_bytes(content)
    assert "Verify OK" in _run(bacula, f"VerifyVolume jobid={last.jobid}").log
    verified = _run(bacula, f"VerifyData jobid={last.jobid}")
    assert 'MD5 digest differs on "/@qemu/VM1/0/vda.qcow2"' in verified.log, verified.log
    assert "Verify OK" not in verified.log
