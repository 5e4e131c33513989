"""A catalog that was lost, and rebuilt from the volumes with Bacula's own bscan."""

import re

from harness.disk import MIB, Disk, make_image
from harness.history import History, sequences


def _value(name, said):
    """A member of a job in the console's llist."""
    return re.search(rf"^ *{name}: +(\S+)", said, re.M | re.I)[1]


def _bootstrap(bacula, jobids):
    """The file that docs/reference/restore.md shows, from what the console says of the jobs."""
    text = ""
    for jobid in jobids:
        job = bacula.console(f"llist jobid={jobid}")
        media = bacula.console(f"list jobmedia jobid={jobid}")
        ((volume, first, last),) = re.findall(rf"\| +{jobid} +\| (\S+) +\| (\d+) +\| (\d+) ", media)
        text += f'Volume="{volume}"\nMediaType="File"\n'
        text += f"VolSessionId={_value('VolSessionId', job)}\nVolSessionTime={_value('VolSessionTime', job)}\n"
        text += f"FileIndex={first}-{last}\n"
    return text


def test_rebuilt_by_bscan(make_bacula, make_guest, workdir):
    """15.0.3 restores as before; 9.6.7 has lost the parts' numbers: the error leads to a bootstrap file."""
    disk = Disk("vda", make_image(workdir / "vda.qcow2", 2 * MIB, seed=1))
    guest = make_guest(name="VM1", disks=[disk])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    history = History(bacula, guest, workdir)
    for seed, level in enumerate(("Full", "Incremental", "Differential", "Incremental")):
        guest.random_writes("vda", 3, seed=seed)
        history.backup(level)
    assert "bscan" in bacula.rebuild_catalog()

    select = "restore fileset=VM client=fd select current all done yes"
    said = bacula.console(f"{select} where={workdir}/current")
    restored = bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", said)[1]))
    if bacula.version == "9.6.7":
        assert set(sequences(bacula, history.chain[-1]).values()) == {0}
        assert "part 2 came without part 0; restore the whole chain" in restored.log, restored.log
        assert 'that does not know the parts: see "When the catalog was lost"' in restored.log
        assert not history.image(workdir / "current", "vda").exists()
    else:
        assert restored.ok, restored.log
        history.assert_same(workdir / "current")

    bootstrap = workdir / "vm1.bsr"
    bootstrap.write_text(_bootstrap(bacula, history.jobids))
    said = bacula.console(f"run job=RestoreFiles client=fd bootstrap={bootstrap} where={workdir}/by_hand yes")
    restored = bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", said)[1]))
    assert restored.ok, restored.log
    history.assert_same(workdir / "by_hand")

    guest.random_writes("vda", 3, seed=9)
    full = history.backup("Full")
    assert bacula.restore(full.jobid, workdir / "anew").ok
    history.assert_same(workdir / "anew")
