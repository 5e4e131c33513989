"""The guest agent, as the helper talks to it: whatever it does, the guest is thawed, and the truth is said."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from harness.process import PATIENCE, wait_until
from harness.scripted_agent import ScriptedAgent

_HELPER = Path(os.environ.get("QEMU_FD", Path(__file__).parents[2] / "build" / "qemu-fd.so")).with_name(
    "qemu-fd-helper")


class Holder:
    """The helper at its duty, and we its File Daemon."""

    def __init__(self, agent, **orders):
        self._end, its = socket.socketpair()
        self._end.sendall(json.dumps({"agent": str(agent), **orders}).encode() + b"\n")
        with its:
            subprocess.run([_HELPER, "freeze"], stdin=its, check=True, timeout=PATIENCE)
        self._end.settimeout(200)
        self._lines = self._end.makefile()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.die()

    def word(self):
        """Its next line."""
        return self._lines.readline()

    def freeze(self):
        """Ask for that when the agent answers, and return what it says."""
        word = self.word()
        if word != "there\n":
            return word
        self._end.sendall(b"freeze\n")
        return self.word()

    def begin(self):
        """Ask for the freeze, and wait for nothing."""
        assert self.word() == "there\n"
        self._end.sendall(b"freeze\n")

    def thaw(self):
        """Ask for the end, and return what it says."""
        self._end.sendall(b"thaw\n")
        return self.word()

    def die(self):
        """As a File Daemon that is killed."""
        self._lines.close()
        self._end.close()


@pytest.fixture
def path(tmp_path):
    """Of the agent's socket."""
    return tmp_path / "qga"


def test_file_systems_rest_between_two_words(path):
    """And no longer; who asks meanwhile finds them frozen."""
    with ScriptedAgent(path) as agent, Holder(path) as holder:
        assert holder.freeze() == "frozen 2\n"
        assert agent.frozen == ["/", "/srv"]
        time.sleep(0.2)
        word, milliseconds = holder.thaw().split()
        assert word == "thawed" and 200 <= int(milliseconds) < PATIENCE * 1000
        assert agent.frozen == []
        assert agent.requests() == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


def test_chosen_mountpoints(path):
    """As the agent has them."""
    with ScriptedAgent(path) as agent, Holder(path, mountpoints=["/srv", "/nosuch"]) as holder:
        assert holder.freeze() == "frozen 1\n"
        assert agent.frozen == ["/srv"]
        assert holder.thaw().startswith("thawed ")
        assert agent.requests() == ["guest-fsfreeze-freeze-list", "guest-fsfreeze-thaw"]


def test_a_file_daemon_that_dies_leaves_nothing_frozen(path):
    """The process beside it thaws."""
    with ScriptedAgent(path) as agent, Holder(path) as holder:
        assert holder.freeze() == "frozen 2\n"
        holder.die()
        wait_until(lambda: not agent.frozen, PATIENCE, "the thaw")


def test_a_file_daemon_that_dies_during_the_freeze(path):
    """It is ended first, and then thawed."""
    with ScriptedAgent(path, delay=3) as agent, Holder(path) as holder:
        holder.begin()
        wait_until(lambda: "guest-fsfreeze-freeze" in agent.requests(), PATIENCE, "the freeze")
        holder.die()
        wait_until(lambda: "guest-fsfreeze-thaw" in agent.requests(), PATIENCE, "the thaw")
        assert agent.frozen == []


def test_nobody_listens(path):
    """The guest is off, or has no such channel."""
    with Holder(path) as holder:
        assert holder.word() == f'not guest agent "{path}": cannot connect: No such file or directory\n'


@pytest.mark.parametrize("how, says", [
    ("deaf", "it does not answer in time"),
    ("another", "it does not answer in time"),
    ("no fsfreeze", "the agent says: The command guest-fsfreeze-status has not been found"),
    ("looks only", "the agent says: The command guest-fsfreeze-freeze has not been found"),
    ("refuses", "cannot freeze its file systems: the agent says: failed to freeze /srv: Device or resource busy"),
    ("rubbish", "what it sends is no answer of a guest agent"),
    ("endless", "it sends more than 1048576 bytes in answer"),
])
def test_agents_that_do_not_freeze(path, how, says):
    """The reason is said, within seconds, and nothing is frozen."""
    with ScriptedAgent(path, how) as agent, Holder(path) as holder:
        word = holder.freeze()
        assert word.startswith("not ") and says in word, word
        assert agent.frozen == []


def test_stale_answers_are_passed_over(path):
    """Those to somebody who asked before us and did not wait."""
    with ScriptedAgent(path, "stale") as agent, Holder(path) as holder:
        assert holder.freeze() == "frozen 2\n"
        assert holder.thaw().startswith("thawed ")
        assert agent.frozen == []


def test_somebody_elses_freeze_is_left_alone(path):
    """It is his to thaw."""
    with ScriptedAgent(path) as agent:
        agent.frozen = ["/"]
        with Holder(path) as holder:
            assert "its file systems are frozen already, by somebody else" in holder.word()
        assert agent.frozen == ["/"] and agent.requests() == []


def test_an_agent_that_hangs_up_at_the_freeze(path):
    """Asked anew it thaws."""
    with ScriptedAgent(path, "hangs up") as agent, Holder(path) as holder:
        holder.begin()
        wait_until(lambda: agent.requests()[-1:] == ["guest-fsfreeze-thaw"] and not agent.frozen, PATIENCE, "the thaw")
        assert holder.word()


def test_an_agent_that_lies(path):
    """It says that it thaws, and is found out."""
    with ScriptedAgent(path, "liar") as agent, Holder(path) as holder:
        assert holder.freeze() == "frozen 2\n"
        assert holder.thaw() == "stays its file systems stay frozen, says the agent\n"
        agent.how = ""
        wait_until(lambda: not agent.frozen, PATIENCE, "the thaw")


@pytest.mark.long
def test_a_freeze_that_is_late(path):
    """It is given up after a minute, and undone when it ends."""
    with ScriptedAgent(path, delay=75) as agent, Holder(path) as holder:
        word = holder.freeze()
        assert word.startswith("not ") and "it does not answer in time" in word, word
        assert agent.requests() == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"] and agent.frozen == []
