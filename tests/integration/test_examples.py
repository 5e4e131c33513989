"""The examples: read by real Directors beside Debian's own configuration, and run on a real guest."""

import sys
from pathlib import Path

import pytest
from harness.director_check import director_check
from harness.disk import MIB, Disk, make_image
from harness.marks import one_version
from harness.process import Failure, run

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
    """Listed, then removed, of every disk; another program's stays, and the next job is whole."""
    disks = [Disk(name, make_image(workdir / f"{name}.qcow2", MIB, seed=1)) for name in ("one", "two")]
    guest = make_guest(name="VM1", disks=disks)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    for level in ("Full", "Incremental"):
        assert bacula.run("VM", level).ok
    guest.qmp("block-dirty-bitmap-add", node="one", name="somebody-else's")

    def names():
        return sorted(name for disk in guest.disks for name in guest.bitmaps(disk))

    before = names()
    assert len(before) == 2 * 2 * 2 + 1

    def remove(*options):
        lines = run([sys.executable, _FOLDER / "remove-bitmaps.py", guest.qmp_socket, *options]).splitlines()
        return sorted(line.split(" ")[1] for line in lines)

    assert remove() == before[:-1] and names() == before
    assert remove("--remove") == before[:-1] and names() == ["somebody-else's"]
    assert remove() == []
    assert bacula.run("VM", "Incremental").log.count("Full instead of Incremental (no bitmap of job") == 2
