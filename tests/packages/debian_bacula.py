"""The Bacula of Debian in a folder, as its packages set it up, on a loopback of its own."""

import contextlib
import re
from pathlib import Path

from harness.console import Console
from harness.process import Failure, run, spawn, stop, wait_until

PACKAGES = ("bacula-director-sqlite3", "bacula-director", "bacula-sd", "bacula-console")
_PORTS = {"dir": 9101, "fd": 9102, "sd": 9103}
_USERS = {"dir": ("bacula", "bacula"), "sd": ("bacula", "tape"), "fd": ("root", "root")}
_NOWHERE = r"/nonexist[ae]nt/path/to/file/archive/dir"  # Debian 12 and 13
_VOLUMES = "/srv/volumes"


class DebianBacula:
    """Director, Storage Daemon and File Daemon, started as Debian's units start them.

    Debian's ports may be taken on this machine: they all live in a network of
    their own, which a process that does nothing keeps alive.
    """

    def __init__(self, debian, folder, hostname="debian"):
        self._debian = debian
        self._hostname = hostname
        self._folder = folder
        self._network = None
        self._processes = {}

    def __enter__(self):
        self._network = spawn(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"],
            self._folder / "network.log",
        )
        wait_until(lambda: "lo" in self._inside("ip", "-o", "link", "show", "up"), 10, "a loopback")
        return self

    def __exit__(self, *_):
        for name in list(self._processes):
            self.stop(name)
        stop(self._network)

    def configure(self, example, **settings):
        """Debian's files, with a folder for volumes and one of the examples."""
        storage = self._debian.path("/etc/bacula/bacula-sd.conf")
        text, count = re.subn(_NOWHERE, _VOLUMES, storage.read_text())
        assert count, f"{storage} has no {_NOWHERE}"
        storage.write_text(text)
        self._debian.run("install", "-d", "-o", "bacula", "-g", "tape", _VOLUMES)
        self._debian.run("install", "-d", "-o", "bacula", "-g", "bacula", "/run/bacula")
        text = self._debian.path(example).read_text()
        for directive, value in settings.items():
            text, count = re.subn(rf"({directive} = ).*", rf'\1"{value}"', text, count=1)
            assert count, f"{example} sets no {directive}"
        self._debian.path("/etc/bacula/example.conf").write_text(text)
        with self._debian.path("/etc/bacula/bacula-dir.conf").open("a") as director:
            director.write("@/etc/bacula/example.conf\n")
        self._debian.run("chgrp", "bacula", "/etc/bacula/example.conf")

    def add(self, text):
        """More of the Director's configuration, while it runs."""
        with self._debian.path("/etc/bacula/example.conf").open("a") as file:
            file.write(text)
        self.console("reload")

    def own_client(self):
        """The name of the Client that the Director's package has set up."""
        text = self._debian.path("/etc/bacula/bacula-dir.conf").read_text()
        return re.search(r'^Client \{\n *Name = "?([\w-]+)', text, re.M)[1]

    def file_daemon_password(self):
        """What the installation chose."""
        text = self._debian.path("/etc/bacula/bacula-fd.conf").read_text()
        return re.search(r'^ *Password = "(.*)"', text, re.M)[1]

    def start(self, *names, debug=50):
        """Start daemons and wait until they listen."""
        for name in names:
            user, group = _USERS[name]
            argv = self._debian.command(
                f"/usr/sbin/bacula-{name}", "-f", "-d", debug, "-u", user, "-g", group,
                "-c", f"/etc/bacula/bacula-{name}.conf",
            )
            named = ["unshare", "--uts", "sh", "-c", f'hostname {self._hostname} && exec "$@"', "sh"]
            self._processes[name] = spawn(self.in_network(*named, *argv), self.log_file(name))
        for name in names:
            wait_until(lambda name=name: self._listens(name), 30, f"bacula-{name} to listen")

    def stop(self, name):
        """End a daemon."""
        stop(self._processes.pop(name), grace=10)

    def log_file(self, name):
        """What a daemon printed, debug output too."""
        return self._folder / f"{name}.log"

    def console(self, *commands, timeout=120):
        """Feed bconsole some commands; all it printed."""
        argv = self._debian.command("/usr/sbin/bconsole", "-n", "-c", "/etc/bacula/bconsole.conf")
        with Console(self.in_network(*argv), None, timeout) as console:
            console.send("\n".join(commands))
            return console.finish()

    def in_network(self, *argv):
        """What runs argv where the daemons' loopback is."""
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", "--", *argv]

    def _inside(self, *argv):
        with contextlib.suppress(Failure):  # not made yet
            return run(self.in_network(*argv))
        return ""

    def _listens(self, name):
        if self._processes[name].poll() is not None:
            raise Failure(f"bacula-{name} did not start:\n{self.log_file(name).read_text()}")
        sockets = Path(f"/proc/{self._network.pid}/net/tcp").read_text()
        return f":{_PORTS[name]:04X} 00000000:0000 0A" in sockets
