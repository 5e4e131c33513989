"""What reference/what-happens.md says of jobs that were deleted from the catalog: which base is next, what restores."""

import re

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.history import dumped

_IMAGE = "@qemu/VM1/0/one.qcow2"


class _Story:
    """One guest, its jobs one after another, and what the disk held at each."""

    def __init__(self, bacula, guest, folder):
        self.bacula, self.guest, self.folder = bacula, guest, folder
        self.held = {}

    def run(self, level):
        """A good job after some writes; its number and the level it was dumped at."""
        self.guest.random_writes("one", 3, seed=len(self.held))
        held = self.guest.snapshot("one")
        result = self.bacula.run("VM", level)
        assert result.ok, result.log
        self.held[result.jobid] = held
        return result.jobid, dumped(result)["one"][0]

    def restore(self):
        """The newest state as the console chooses it: the jobs that it took, and how it ended."""
        where = self.folder / f"restored-{len(list(self.folder.glob('restored-*')))}"
        said = self.bacula.console(f"restore client=fd fileset=VM where={where} select current all done yes")
        jobids = [int(number) for number in
                  re.search(r"selected the following JobIds?: ([\d,]+)", said)[1].split(",")]
        result = self.bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", said)[1]))
        if result.ok:
            assert_same(self.held[jobids[-1]], where / _IMAGE)
        else:
            assert not (where / _IMAGE).exists()
        return jobids, result


@pytest.fixture
def story(make_bacula, make_guest, workdir):
    guest = make_guest(name="VM1", disks=[Disk("one", make_image(workdir / "one.qcow2", 4 * MIB, seed=1))])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    return _Story(bacula, guest, workdir)


def _assert_lacks_a_part(result):
    assert not result.ok
    assert re.search(r'Error: qemu: guest "VM1", disk "one": part \d', result.log), result.log


def test_the_only_full_is_deleted(story):
    """Bacula makes the next job a Full."""
    full, _ = story.run("Full")
    story.run("Incremental")
    story.bacula.delete_job(full)
    new, level = story.run("Incremental")
    assert level == "Full" and story.restore()[0] == [new]


def test_a_full_is_deleted_and_an_older_one_is_left(story):
    """Increments go on, and nothing restores, until the next Full."""
    story.run("Full")
    full, _ = story.run("Full")
    story.run("Incremental")
    story.bacula.delete_job(full)
    assert story.run("Incremental")[1] == "Incremental"
    _assert_lacks_a_part(story.restore()[1])
    new, _ = story.run("Full")
    jobids, result = story.restore()
    assert jobids == [new] and result.ok, result.log


def test_an_incremental_in_the_middle_is_deleted(story):
    """Nothing after the gap restores, until the next Differential."""
    full, _ = story.run("Full")
    gone, _ = story.run("Incremental")
    story.run("Incremental")
    story.bacula.delete_job(gone)
    assert story.run("Incremental")[1] == "Incremental"
    _assert_lacks_a_part(story.restore()[1])
    differential, level = story.run("Differential")
    jobids, result = story.restore()
    assert level == "Differential" and jobids == [full, differential] and result.ok, result.log


def test_the_newest_job_is_deleted(story):
    """The next builds on the one before it."""
    full, _ = story.run("Full")
    kept, _ = story.run("Incremental")
    gone, _ = story.run("Incremental")
    story.bacula.delete_job(gone)
    new, level = story.run("Incremental")
    jobids, result = story.restore()
    assert level == "Incremental" and jobids == [full, kept, new] and result.ok, result.log
