"""What a guest's lock keeps away, and the guests' configuration files.

Recorded on 8.4.21 and 9.2.11 with lock=backup.  What a task would do to a guest that
is not locked is not done here: only whether it may begin.
"""

import os
from pathlib import Path

from answers import Failed

_DISK = {"disk": str, "size": str, "storage": str, "newid": str, "full": str, "idlist": str,
         "snapname": str, "timeout": str, "todisk": str, "skiplock": str}
_VZDUMP = {"vmid": str, "mode": str, "storage": str}


class Locks:
    """Calls that a locked guest refuses, beside those of guests.py and changes.py."""

    def __init__(self, host, etc_pve):
        self.host = host
        self._folder = Path(etc_pve) / "nodes" / host.node / "qemu-server"
        self._written = {}

    @staticmethod
    def check(guest, skiplock=False):
        """Refuse what a lock keeps away."""
        if "lock" in guest.config and not skiplock:
            raise Failed(f"VM is locked ({guest.config['lock']})")

    def routes(self, base, guest):
        """Their paths, as in api.py."""
        power = guest + "/status"
        return [
            ("POST", power + "/reboot", self._in_task("qmreboot"), _DISK),
            ("POST", power + "/reset", self._in_task("qmreset"), _DISK),
            ("POST", power + "/suspend", self._suspend, _DISK),
            ("POST", power + "/resume", self._in_task("qmresume", always=True), _DISK),
            ("POST", guest + "/snapshot", self._in_task("qmsnapshot"), _DISK),
            ("PUT", guest + "/resize", self._in_task("resize"), _DISK),
            ("POST", guest + "/clone", self._at_once("qmclone"), _DISK),
            ("POST", guest + "/move_disk", self._at_once("qmmove"), _DISK),
            ("PUT", guest + "/unlink", self._at_once(None), _DISK),
            ("POST", base + "/vzdump", self._vzdump, _VZDUMP),
        ]

    def _in_task(self, kind, always=False):
        def handler(caller, p):
            guest = self.host.guests.find(p["vmid"])

            def work(_):
                if not always:
                    self.check(guest)

            return self.host.tasks.start(kind, p["vmid"], caller, work)

        return handler

    def _at_once(self, kind):
        def handler(caller, p):
            self.check(self.host.guests.find(p["vmid"]))
            if not kind:
                return None
            return self.host.tasks.start(kind, p["vmid"], caller, lambda task: None)

        return handler

    def _suspend(self, caller, p):
        """A pause is free; to disk it is not."""
        guest = self.host.guests.find(p["vmid"])

        def work(_):
            if p.get("todisk") == "1" and guest.config.get("lock") == "backup":
                raise Failed("cannot suspend to disk during backup")

        kind = "qmsuspend" if p.get("todisk") == "1" else "qmpause"
        return self.host.tasks.start(kind, p["vmid"], caller, work)

    def _vzdump(self, caller, p):
        """It has the lock as long as its task lasts."""
        vmid = int(p["vmid"])
        guest = self.host.guests.find(vmid)
        lock = guest.config.get("lock")
        if not lock:
            guest.config["lock"] = "backup"

        def work(task):
            if lock:
                task.say(f"ERROR: Backup of VM {vmid} failed - VM is locked ({lock})")
                raise Failed("job errors")
            guest.config.pop("lock", None)

        return self.host.tasks.start("vzdump", vmid, caller, work)

    # Files

    def write_files(self):
        """Every configuration that was changed, as a new file whose time is in seconds."""
        with self.host.lock:
            texts = {guest.vmid: _text(guest) for guest in self.host.guests.here()}
            for vmid in self._written.keys() | texts.keys():
                if texts.get(vmid) != self._written.get(vmid):
                    self._write(vmid, texts.get(vmid))
            self._written = texts

    def _write(self, vmid, text):
        path = self._folder / f"{vmid}.conf"
        if text is None:
            path.unlink(missing_ok=True)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".tmp")
        new.write_text(text)
        os.utime(new, (int(self.host.now()),) * 2)
        new.rename(path)


def _text(guest):
    return "".join(f"{key}: {value}\n" for key, value in guest.config.items())
