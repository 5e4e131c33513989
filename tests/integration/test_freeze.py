"""A guest's file systems rest while its moment is taken, and are thawed whatever happens then."""

import os
import re
import signal
import tempfile
from pathlib import Path

import pytest
from harness.disk import MIB, Disk, make_image
from harness.pace import wait_within
from harness.process import PATIENCE, wait_until
from harness.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

_FROZEN = r"qemu: (\d+) file systems of vm were frozen for (\d+) ms"
_NOT = "qemu: The file systems of vm are not frozen, so they are saved as after a power failure: "


@pytest.fixture
def path():
    """Of the agent's socket, whose path may not be long."""
    with tempfile.TemporaryDirectory(prefix="qga-") as folder:
        yield Path(folder) / "qga"


@pytest.fixture
def guest(make_guest, workdir):
    """One with two disks."""
    disks = [Disk(name, make_image(workdir / f"{name}.qcow2", 4 * MIB, density=1)) for name in ("a", "b")]
    return make_guest(name="vm", disks=disks)


@pytest.fixture
def start(make_bacula, guest):
    """A Bacula whose Plugin line has these words."""

    def make(words):
        return make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} {words}"]})

    return make


def _requests(agent):
    return [name.removeprefix("guest-fsfreeze-") for name in agent.requests()]


def test_frozen_for_the_transaction_only(start, guest, path):
    """By itself, where an agent is named; one line says how long."""
    with ScriptedAgent(path) as agent:
        bacula = start(f"agent={path}")
        result = bacula.run("VM", "Full")
        assert result.ok and result.status == "T", result.log
        assert len(re.findall(_FROZEN, result.log)) == 1 and re.search(_FROZEN, result.log)[1] == "2"
        assert _requests(agent) == ["freeze", "thaw"] and agent.frozen == []
        assert bacula.run("VM", "Incremental").ok
        assert _requests(agent) == ["freeze", "thaw"] * 2
    guest.assert_clean()


def test_disk_by_disk(start, path):
    """Each transaction has its moment."""
    with ScriptedAgent(path) as agent:
        result = start(f"agent={path} transaction=disk freeze=yes").run("VM", "Full")
        assert result.ok and len(re.findall(_FROZEN, result.log)) == 2, result.log
        assert _requests(agent) == ["freeze", "thaw"] * 2


def test_chosen_file_systems(start, path):
    """Those of freeze_mountpoints."""
    with ScriptedAgent(path, mounts=("/", "/srv", "/home")) as agent:
        words = f"agent={path} freeze_mountpoints=/srv freeze_mountpoints=/home"
        result = start(words).run("VM", "Full")
        assert re.search(_FROZEN, result.log)[1] == "2", result.log
        assert _requests(agent) == ["freeze-list", "thaw"]


def test_no_agent_is_named(start):
    """Most guests have none: no line each night."""
    result = start("").run("VM", "Full")
    assert result.ok and "file systems" not in result.log


def test_not_wanted(start, path):
    """freeze=no asks nobody."""
    with ScriptedAgent(path) as agent:
        result = start(f"agent={path} freeze=no").run("VM", "Full")
        assert result.ok and "file systems" not in result.log and agent.asked == []


@pytest.mark.parametrize("how, why", [
    ("deaf", "it does not answer in time"),
    ("refuses", "cannot freeze its file systems: the agent says: failed to freeze /srv: Device or resource busy"),
])
def test_auto_goes_on_without(start, guest, path, how, why):
    """One line says so, and why."""
    with ScriptedAgent(path, how) as agent:
        result = start(f"agent={path}").run("VM", "Full")
        assert result.ok and result.log.count(_NOT) == 1 and why in result.log, result.log
        assert agent.frozen == []
    guest.assert_clean()


@pytest.mark.parametrize("how", ["deaf", "refuses", "nobody"])
def test_yes_is_an_error_of_the_guest(start, guest, path, how):
    """Nothing is dumped, and what was begun is out of QEMU; the guest runs, thawed."""
    with ScriptedAgent(path, how) as agent:
        words = "freeze=yes" if how == "nobody" else f"agent={path} freeze=yes"
        result = start(words).run("VM", "Full")
        assert result.status == "f" and "Dumped" not in result.log, result.log
        line = 'Error: qemu: guest "vm": freeze=yes: .*; .*, or set freeze=auto'
        assert len(re.findall(line, result.log)) == 1, result.log
        assert agent.frozen == []
    guest.assert_clean()
    assert guest.qmp("query-status")["status"] == "running"


def test_a_guest_that_stays_frozen_is_a_loud_error(start, path):
    """An agent that only says that it thaws; the helper tries on."""
    with ScriptedAgent(path, "liar") as agent:
        result = start(f"agent={path}").run("VM", "Full")
        line = 'Error: qemu: guest "vm": its file systems stay frozen, says the agent; the guest\'s writes may stand still'
        assert line in result.log and str(path) in result.log, result.log
        agent.how = ""
        wait_until(lambda: not agent.frozen, PATIENCE, "the thaw")


class _StandsStill(ScriptedAgent):
    """The guest's QEMU stands still from the freeze on, so no transaction ends."""

    guest = None  # whose QEMU does

    def _freeze(self, client, arguments):
        if self.guest:
            os.kill(self.guest.pid, signal.SIGSTOP)
        return super()._freeze(client, arguments)


@pytest.fixture
def frozen(start, guest, path):
    """(bacula, job id, agent) of a job between freeze and thaw."""
    with _StandsStill(path) as agent:
        agent.guest = guest
        bacula = start(f"agent={path}")
        jobid = bacula.run("VM", "Full", wait=False)
        wait_until(lambda: agent.frozen, PATIENCE, "the freeze")
        yield bacula, jobid, agent


def _assert_next_job_is_good(bacula, guest, agent):
    result = bacula.run("VM", "Full")
    assert result.ok and re.search(_FROZEN, result.log), result.log
    assert agent.frozen == []
    guest.assert_clean()


def test_cancelled_while_frozen(frozen, guest):
    """The guest is thawed at once, though its QEMU does not answer."""
    bacula, jobid, agent = frozen
    bacula.cancel(jobid)
    wait_until(lambda: not agent.frozen, PATIENCE, "the thaw")
    agent.guest = None
    os.kill(guest.pid, signal.SIGCONT)
    assert bacula.wait(jobid).status == "A"
    _assert_next_job_is_good(bacula, guest, agent)


def test_cancelled_while_the_freeze_hangs(start, guest, path):
    """Nobody waits for it; what is frozen in the end is thawed."""
    with ScriptedAgent(path, "late", delay=30) as agent:
        bacula = start(f"agent={path}")
        jobid = bacula.run("VM", "Full", wait=False)
        wait_until(lambda: _requests(agent) == ["freeze"], PATIENCE, "the freeze")
        bacula.cancel(jobid)
        assert bacula.wait(jobid).status == "A"
        wait_until(lambda: not bacula.fd_leftovers(), PATIENCE, "the end of the job")
        assert _requests(agent) == ["freeze"]
        wait_until(lambda: _requests(agent) == ["freeze", "thaw"], PATIENCE, "the thaw")
        wait_until(lambda: not agent.frozen, PATIENCE, "all to be thawed")
        agent.delay = 0
        _assert_next_job_is_good(bacula, guest, agent)


def test_the_file_daemon_is_killed_while_frozen(frozen, guest):
    """Its helper thaws."""
    bacula, _, agent = frozen
    bacula.kill_fd()
    wait_within(lambda: not agent.frozen, 10, "the thaw")
    agent.guest = None
    os.kill(guest.pid, signal.SIGCONT)
    bacula.start_fd()
    _assert_next_job_is_good(bacula, guest, agent)


def test_the_guest_is_killed_while_frozen(frozen, guest):
    """Its agent is asked all the same."""
    bacula, jobid, agent = frozen
    os.kill(guest.pid, signal.SIGKILL)
    wait_until(lambda: not agent.frozen, PATIENCE, "the thaw")
    assert not bacula.wait(jobid).ok
    agent.guest = None
    guest.kill()
    guest.start()
    _assert_next_job_is_good(bacula, guest, agent)
