"""The examples: read by real Directors beside Debian's own configuration, and run on a real guest."""

import sys
from pathlib import Path

import pytest
from harness.director_check import director_check
from harness.disk import MIB, Disk, make_image
from harness.marks import one_version
from harness.process import Failure, run, wait_until

_FOLDER = Path(__file__).resolve().parents[2] / "examples"
_EXAMPLES = sorted(_FOLDER.glob("*.conf"))


@pytest.fixture
def check(bacula_root, workdir):
    """Let a Director check Debian's configuration with more files; what it printed."""
    return lambda *files: director_check(bacula_root, workdir, *(f"@{path}" for path in files), "")


def test_the_director_takes_them(check):
    assert [path.name for path in _EXAMPLES] == ["proxmox.conf", "qemu.conf"]
    for example in _EXAMPLES:
        check(example)
    check(*_EXAMPLES)


@pytest.mark.parametrize(
    "right, wrong, says",
    [
        ("JobDefs =", "JobDef =", 'Keyword "JobDef" not permitted'),
        ('Schedule = "Guests"', 'Schedule = "Elsewhere"', "Could not find config"),
    ],
    ids=["keyword", "name"],
)
def test_the_director_would_say_what_is_wrong(check, workdir, right, wrong, says):
    """Such as a keyword or a name: the test above can fail."""
    text = (_EXAMPLES[-1]).read_text()
    assert right in text
    broken = workdir / "broken.conf"
    broken.write_text(text.replace(right, wrong))
    with pytest.raises(Failure) as refused:
        check(broken)
    assert says in str(refused.value)


@one_version
def test_our_bitmaps_are_removed(make_bacula, make_guest, workdir):
    """Listed, then removed, of every disk, all or those that are meant; another program's stay."""
    disks = [Disk(name, make_image(workdir / f"{name}.qcow2", MIB, seed=1)) for name in ("one", "two")]
    guest = make_guest(name="VM1", disks=disks)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    for level in ("Full", "Incremental"):
        assert bacula.run("VM", level).ok
    own = sorted(name for disk in guest.disks for name in guest.bitmaps(disk))
    assert len(own) == 2 * 2 * 2
    old = "bacula:F:0:0000000000000001.0000000000000002:Gone.2020-02-29_01.05.00_07"
    for name in (old, "somebody-else's"):
        guest.qmp("block-dirty-bitmap-add", node="one", name=name)

    def names():
        return sorted(name for disk in guest.disks for name in guest.bitmaps(disk))

    before = sorted([*own, old, "somebody-else's"])

    def remove(*options):
        *lines, total = run([sys.executable, _FOLDER / "remove-bitmaps.py", guest.qmp_socket, *options]).splitlines()
        memory = sum(int(line.split(" ")[1]) for line in lines)
        assert total == f"{len(lines)} bitmaps {'removed' if '--remove' in options else 'there'}, {memory} bytes of memory"
        return sorted(line.split(" ", 2)[2] for line in lines)

    assert remove() == sorted([*own, old]) and names() == before
    assert remove("--job", "Gone") == remove("--older-than", "1000") == [old] and names() == before
    assert remove("--job", "VM") == own and remove("--job", "V") == [] == remove("--older-than", "9999999")
    assert remove("--older-than", "1000", "--remove") == [old]
    assert remove("--job", "VM", "--remove") == own and names() == ["somebody-else's"]
    assert remove("--remove") == []
    assert bacula.run("VM", "Incremental").log.count("Full instead of Incremental (no bitmap of job") == 2


def test_bitmaps_are_not_asked_for_while_a_job_is_there(make_guest, workdir):
    """From 4.2 to 6.1 QEMU could die of that: the command says which job it is."""
    guest = make_guest(name="VM1", disks=[Disk("one", make_image(workdir / "one.qcow2", MIB, seed=1))])
    target = make_image(workdir / "target.qcow2", MIB)
    guest.qmp("blockdev-add", node_name="target", driver="qcow2", file={"driver": "file", "filename": str(target)})
    guest.qmp("blockdev-backup", device="one", target="target", job_id="somebody", sync="full", auto_dismiss=False)
    wait_until(lambda: guest.qmp("query-jobs")[0]["status"] == "concluded", 60, "the end of a job")
    with pytest.raises(Failure, match="QEMU job somebody is concluded: try again when it is gone"):
        run([sys.executable, _FOLDER / "remove-bitmaps.py", guest.qmp_socket])
    guest.qmp("job-dismiss", id="somebody")
