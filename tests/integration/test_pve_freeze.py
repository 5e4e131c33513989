"""File systems of a Proxmox guest rest by the socket of its agent, where its configuration has one."""

import contextlib
import re

import pytest
from harness.disk import MIB
from harness.pve_guest import Volume
from harness.pve_jobs import LINE, assert_nothing_left, one_version, start_bacula
from harness.scripted_agent import ScriptedAgent

_FROZEN = r"qemu: 2 file systems of vm1 were frozen for \d+ ms"
_NOT = "qemu: The file systems of vm1 are not frozen, so they are saved as after a power failure: "


@pytest.fixture
def start(make_proxmox, make_bacula):
    """A host with one guest of this agent setting, and a Bacula with this line: (host, Bacula, agent's path)."""

    def make(setting, line=LINE):
        pve = make_proxmox("9.2")
        config = {"agent": setting} if setting else None
        guest = pve.guest(100, "vm1", disks={"scsi0": Volume(size=2 * MIB, density=1)}, config=config)
        return pve, start_bacula(make_bacula, pve, line), guest.qmp_socket.with_suffix(".qga")

    return make


@one_version
@pytest.mark.parametrize("setting, line, frozen", [
    ("1", LINE, True),
    ("enabled=1,freeze-fs=0", LINE, False),
    ("enabled=1,freeze-fs=0", f"{LINE} freeze=yes", True),
    ("0", LINE, False),
    (None, LINE, False),
    ("1", f"{LINE} freeze=no", False),
])
def test_the_guests_word_is_honoured(start, setting, line, frozen):
    """Its own setting says whether, unless the Plugin line does."""
    pve, bacula, path = start(setting, line)
    with ScriptedAgent(path) as agent:
        result = bacula.run("VM", "Full")
        assert result.ok and bool(re.search(_FROZEN, result.log)) == frozen, result.log
        assert ("file systems" in result.log) == frozen
        assert agent.requests() == (["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"] if frozen else [])
    assert_nothing_left(pve, bacula)


@one_version
@pytest.mark.parametrize("how, why", [
    ("deaf", "it does not answer in time"),
    ("", "cannot connect: No such file or directory"),
])
def test_an_agent_that_does_not_run(start, how, why):
    """The guest is saved, and one line says how."""
    pve, bacula, path = start("1")
    with ScriptedAgent(path, how) if how else contextlib.nullcontext():
        result = bacula.run("VM", "Full")
    assert result.ok and result.log.count(_NOT) == 1 and why in result.log, result.log
    assert "/var/run/qemu-server/100.qga" in result.log
    assert_nothing_left(pve, bacula)


@one_version
def test_yes_needs_an_agent(start):
    """An error of that guest, and it is unlocked."""
    pve, bacula, _ = start(None, f"{LINE} freeze=yes")
    result = bacula.run("VM", "Full")
    assert result.status == "f"
    assert 'Error: qemu: guest "vm1" (100): freeze=yes: it has no guest agent; name its socket' in result.log
    assert "lock" not in pve.config(100)
    assert_nothing_left(pve, bacula)
