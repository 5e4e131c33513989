"""What the tests let go wrong.

A fault is a dictionary:

  match    regular expression on "METHOD /path?query"; for requests
  task     kind of task, such as qmcreate; for the task-... actions
  action   see server.py (requests), tasks.py (tasks), and take-vmid here
  times    how often, -1 for ever (1)
  skip     how many are let through first (0)
  done     the request is carried out all the same (False)
  after    the task does its work, then fails (False)
"""

import re
import threading


class Faults:
    """The faults that are switched on, in order."""

    def __init__(self, host):
        self.host = host
        self.all = []
        self._lock = threading.Lock()

    def add(self, fault):
        """Switch one on."""
        with self._lock:
            self.all.append({"times": 1, "skip": 0, **fault})

    def clear(self):
        """Switch all off."""
        with self._lock:
            self.all.clear()

    def for_request(self, method, path):
        """The fault of this request, or {}."""
        line = f"{method} {path}"
        return self._take(lambda f: "match" in f and re.search(f["match"], line))

    def for_task(self, kind):
        """The fault of this task, or {}."""
        return self._take(
            lambda f: f["action"].startswith("task-") and re.fullmatch(f.get("task", ".*"), kind)
        )

    def before_create(self, vmid):
        """Somebody else was quicker."""
        fault = self._take(
            lambda f: f["action"] == "take-vmid" and f.get("vmid", vmid) == vmid
        )
        if fault:
            self.host.add_guest(vmid, {"name": "somebody-elses"}, node=fault.get("node"))

    def _take(self, applies):
        with self._lock:
            for fault in self.all:
                if not fault["times"] or not applies(fault):
                    continue
                if fault["skip"] > 0:
                    fault["skip"] -= 1
                    return {}
                fault["times"] -= 1
                return dict(fault)
        return {}
