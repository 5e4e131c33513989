"""Several Jobs on one guest, and restores that do not keep their chains apart: bvfs, which graphical consoles use."""

import re
import sqlite3
from contextlib import closing

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History
from harness.marks import one_version

_DIRECTORY = "/@qemu/VM1/0/"


def _path_id(bacula):
    with closing(sqlite3.connect(bacula.folder / "dir/bacula.db")) as database:
        ((number,),) = database.execute("SELECT PathId FROM Path WHERE Path = ?", (_DIRECTORY,))
    return number


def _by_bvfs(bacula, jobids, where):
    """Restore the guest's directory as a graphical console does."""
    jobs = ",".join(map(str, jobids))
    bacula.console(".bvfs_update")
    said = bacula.console(f".bvfs_restore jobid={jobs} dirid={_path_id(bacula)} path=b21")
    assert "OK" in said, said
    said = bacula.console(f"restore file=?b21 client=fd where={where} restorejob=RestoreFiles done yes")
    return bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", said)[1]))


@pytest.mark.parametrize("filesets", [1, 2], ids=["one FileSet", "a FileSet each"])
@one_version
def test_two_jobs_on_one_guest(make_bacula, make_guest, workdir, filesets):
    """bvfs takes parts of both where they share a FileSet; the error says so, and jobid= is the way out."""
    guest = make_guest(name="VM1", disks=[Disk("vda", make_image(workdir / "vda.qcow2", 2 * MIB, seed=1))])
    line = f"qemu: qmpcontrol={guest.qmp_socket}"
    names = ["F1", "F2"][:filesets]
    bacula = make_bacula(
        filesets={name: [line] for name in names}, jobs={"A": names[0], "B": names[-1]}
    )
    histories = [History(bacula, guest, workdir, job) for job in "AB"]
    for level in ("Full", "Incremental", "Incremental"):
        for history in histories:
            guest.random_writes("vda", 3, seed=len(level))
            history.backup(level)
    mine = histories[0]
    restored = _by_bvfs(bacula, mine.jobids, workdir / "bvfs")
    if filesets == 1:
        assert "but in another chain; restore the whole chain of one job" in restored.log, restored.log
        assert "(bvfs), mixes their chains: list the job ids of one (restore jobid=…)" in restored.log
        assert not mine.image(workdir / "bvfs", "vda").exists()
    else:
        assert restored.ok, restored.log
        mine.assert_same(workdir / "bvfs")
    assert bacula.restore(mine.jobids, workdir / "jobids").ok
    mine.assert_same(workdir / "jobids")
