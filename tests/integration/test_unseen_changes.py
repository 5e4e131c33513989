"""Changes that pass QEMU by, and that can be told from an image's size or its backing file."""

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, dumped, sequences
from harness.process import run

_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


@_one_version
def test_raw_file_that_the_host_lengthened(make_bacula, make_guest, workdir):
    """Data that the host appended is dumped; a disk that QEMU alone made larger goes on."""
    disks = [
        Disk(name, make_image(workdir / name, 4 * MIB, "raw", seed=index), "raw")
        for index, name in enumerate(("host", "qemu"))
    ]
    guest = make_guest(name="VM1", disks=disks)
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    history = History(bacula, guest, workdir)
    full = history.backup("Full")
    data = b"\x5a" * MIB
    with disks[0].path.open("ab") as file:
        file.write(data)
    for name in ("host", "qemu"):
        guest.resize(name, 5 * MIB)
    with guest.shadow("host").open("r+b") as shadow:
        shadow.seek(4 * MIB)
        shadow.write(data)
    grown = history.backup()
    assert sequences(bacula, grown) == {"host": 0, "qemu": 1}
    why = f"the disk grew since job {full.name}, and what it gained need not have been empty"
    assert dumped(grown)["host"][:2] == ("Full", why)
    for name in ("host", "qemu"):
        guest.write(name, 7, 4 * MIB, 64 * 1024)
    assert sequences(bacula, history.backup()) == {"host": 1, "qemu": 2}
    history.assert_restores()


@_one_version
def test_another_backing_file_while_the_guest_is_off(make_bacula, make_guest, workdir):
    """A stored bitmap knows nothing of what another backing file changes."""
    bases = [make_image(workdir / f"base{n}.qcow2", 4 * MIB, seed=n) for n in (1, 2)]
    image = make_image(workdir / "a.qcow2", 4 * MIB, backing=(bases[0], "qcow2"))
    guest = make_guest(name="VM1", disks=[Disk("a", image)])
    line = f"qemu: qmpcontrol={guest.qmp_socket} bitmap-persistence=1"
    bacula = make_bacula(filesets={"VM": [line]})
    history = History(bacula, guest, workdir)
    history.backup("Full")
    guest.random_writes("a", 3, seed=3)
    guest.restart()
    before = history.backup()
    assert sequences(bacula, before) == {"a": 1}
    guest.quit()
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", bases[1], image])
    run(["qemu-img", "convert", "-O", "raw", image, guest.shadow("a")])
    guest.start()
    after = history.backup()
    assert sequences(bacula, after) == {"a": 0}
    why = f"its backing file was another one at job {before.name}, or that job noted none"
    assert dumped(after)["a"][:2] == ("Full", why)
    guest.random_writes("a", 3, seed=4)
    assert sequences(bacula, history.backup()) == {"a": 1}
    history.assert_restores()
