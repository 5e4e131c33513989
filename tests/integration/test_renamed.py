"""A guest, or a disk of it, that has another name when it is started again with its bitmaps."""

import re

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.history import dumped
from harness.marks import one_version

_WHY = r"the guest or the disk had another name at job VM\.\S+"


@pytest.mark.parametrize("name, drive", [("new", "vda"), ("old", "vdb")], ids=["guest", "disk"])
@one_version
def test_new_name_beside_stored_bitmaps(make_bacula, make_guest, workdir, name, drive):
    """Its files are others from then on, so nothing may build on those of the old name."""
    image = make_image(workdir / "a.qcow2", 2 * MIB)
    socket = workdir / "qmp"  # the same for both, as another Plugin line would lead to a Full
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={socket} bitmap-persistence=1"]})
    first = make_guest("first", disks=[Disk("vda", image)], extra=["-name", "old"])
    socket.symlink_to(first.qmp_socket)
    jobs = [bacula.run("VM", "Full")]
    first.quit()

    second = make_guest("second", disks=[Disk(drive, image)], extra=["-name", name])
    socket.unlink()
    socket.symlink_to(second.qmp_socket)
    second.random_writes(drive, 5, seed=1)
    jobs.append(bacula.run("VM", "Incremental"))
    (level, why, _) = dumped(jobs[-1])[drive]
    assert level == "Full" and re.fullmatch(_WHY, why), jobs[-1].log
    second.random_writes(drive, 5, seed=2)
    held = second.snapshot(drive)
    jobs.append(bacula.run("VM", "Incremental"))
    assert dumped(jobs[-1])[drive][0] == "Incremental"
    restored = bacula.restore([job.jobid for job in jobs], workdir / "restored")
    assert restored.ok, restored.log
    assert_same(held, workdir / f"restored/@qemu/{name}/0/{drive}.qcow2")
