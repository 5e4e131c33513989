"""Tasks: things that go on after the request has been answered.

Most calls that change something give a UPID; whether it worked is only in the
task's exit status.
"""

import itertools
import re
import threading
import time

from answers import Listing, Refusal, bad_parameters

_UPID = re.compile(r"UPID:[\w-]+:([0-9A-F]{8}:){3}[\w-]+:[^:\s]*:[^:\s]+:")


class Task:
    """One task of one caller."""

    def __init__(self, node, number, kind, ident, caller, now):
        self.node = node
        self.kind = kind
        self.id = str(ident)
        self.caller = caller
        self.pid = 20000 + number
        self.pstart = int(time.monotonic() * 100)
        self.start = int(now)
        self.end = None
        self.exitstatus = None
        self.log = []
        self.upid = (
            f"UPID:{node}:{self.pid:08X}:{self.pstart:08X}:{self.start:08X}:"
            f"{kind}:{self.id}:{caller.name}:"
        )

    @property
    def good(self):
        """Ended well; warnings do not matter."""
        return self.exitstatus == "OK" or (self.exitstatus or "").startswith("WARNINGS")

    def say(self, line):
        """Add a line to the log."""
        self.log.append(line)

    def describe(self):
        """As GET .../status shows it."""
        about = {
            "upid": self.upid,
            "node": self.node,
            "pid": self.pid,
            "pstart": self.pstart,
            "starttime": self.start,
            "type": self.kind,
            "id": self.id,
            "user": self.caller.user,
        }
        if self.caller.token:
            about["tokenid"] = self.caller.token
        return about

    def belongs_to(self, caller):
        """A user sees those of his tokens, a token only its own."""
        return caller.name in (self.caller.name, self.caller.user)


class Tasks:
    """All tasks of the node, each in a thread of its own."""

    def __init__(self, host):
        self.host = host
        self.all = {}
        self._numbers = itertools.count(1)

    def start(self, kind, ident, caller, work, duration=None, undo=lambda: None):
        """Begin a task; its UPID.  work(task) does the thing and may raise.

        undo takes back what was done before, for a failure that a test wants.
        """
        task = Task(self.host.node, next(self._numbers), kind, ident, caller, self.host.now())
        self.all[task.upid] = task
        seconds = self.host.settings["task_duration"] if duration is None else duration
        threading.Thread(target=self._run, args=(task, work, seconds, undo), daemon=True).start()
        return task.upid

    def _run(self, task, work, seconds, undo):
        fault = self.host.faults.for_task(task.kind)
        time.sleep(fault.get("seconds", seconds))
        if fault.get("action") == "task-hang":
            return
        try:
            if fault.get("action") == "task-fail" and not fault.get("after"):
                undo()
                raise Refusal(500, fault["text"])
            with self.host.lock:
                work(task)
                self.host.locks.write_files()
            if fault.get("action") == "task-fail":
                raise Refusal(500, fault["text"])
            status = fault.get("text", "OK") if fault.get("action") == "task-warn" else "OK"
        except Refusal as refusal:
            status = refusal.text.rstrip("\n")
        except Exception as error:  # a task must end, whatever happens in it
            status = f"stand-in: {error!r}"
        task.say("TASK OK" if status == "OK" else f"TASK ERROR: {status}")
        task.end = int(self.host.now())
        task.exitstatus = status

    # Endpoints

    def _find(self, caller, upid):
        if not _UPID.fullmatch(upid):
            raise bad_parameters({"upid": "unable to parse worker upid"})
        task = self.all.get(upid)
        if not task:
            raise bad_parameters({"upid": "no such task"})
        if not task.belongs_to(caller):
            self.host.access.demand(caller, f"/nodes/{self.host.node}", "Sys.Audit")
        return task

    def status(self, caller, p):
        """GET .../tasks/{upid}/status."""
        task = self._find(caller, p["upid"])
        about = task.describe()
        # Both from one look: the exit status is set last.
        exitstatus = task.exitstatus
        about["status"] = "running" if exitstatus is None else "stopped"
        if exitstatus is not None:
            about["exitstatus"] = exitstatus
        return about

    def read_log(self, caller, p):
        """GET .../tasks/{upid}/log."""
        task = self._find(caller, p["upid"])
        start, limit = p.get("start", 0), p.get("limit", 50)
        lines = list(task.log) or ["no content"]
        rows = [{"n": n, "t": line} for n, line in enumerate(lines, 1)]
        return Listing(rows[start : start + limit] if limit else rows[start:], len(lines))

    def listing(self, caller, p):
        """GET .../tasks: those that have ended."""
        audit = self.host.access.may(caller, f"/nodes/{self.host.node}", "Sys.Audit")
        rows = []
        for task in reversed(list(self.all.values())):
            if task.exitstatus is not None and (audit or task.belongs_to(caller)):
                rows.append({**task.describe(), "endtime": task.end, "status": task.exitstatus})
        start, limit = p.get("start", 0), p.get("limit", 50)
        return Listing(rows[start : start + limit], len(rows))
