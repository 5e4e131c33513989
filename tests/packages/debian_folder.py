"""A Debian in a folder, in which packages are installed and programs run."""

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

from harness.process import Failure, run

# Proxmox VE 8 and 9 stand on these.
SUITES = {"12": "bookworm", "13": "trixie"}
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}
_APT = ["apt-get", "-q", "-y", "-o", "Acquire::Retries=3", "--no-install-recommends"]

# What dpkg and apt note about their own work, and what is no package's.
_PASSED_OVER = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/etc/ld.so.cache",
                "/proc", "/tmp", "/run")


def _mirror():
    """DEBIAN_MIRROR, or the one that this machine uses; a mirror of Debian has all that are supported."""
    if mirror := os.environ.get("DEBIAN_MIRROR"):
        return mirror
    lines = run(
        ["apt-get", "indextargets", "--no-release-info", "--format",
         "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    ).splitlines()
    for release, component, address in map(str.split, lines):
        if release in SUITES.values() and component == "main":
            return address
    raise Failure("no mirror of Debian in this machine's apt sources: set DEBIAN_MIRROR")


def _base(cache, suite):
    """A minimal Debian that nobody changes, made at the first use."""
    base = cache / suite
    if not base.exists():
        partial = cache / f"{suite}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        run(["debootstrap", "--variant=minbase", suite, partial, _mirror()])
        partial.rename(base)
    return base


class DebianFolder:
    """A copy of the minimal Debian, for as long as the with block lasts."""

    def __init__(self, root, cache, release):
        self.root = Path(root)
        self.release = release  # "12"
        self._cache = cache
        self._mounts = contextlib.ExitStack()

    def __enter__(self):
        base = _base(self._cache, SUITES[self.release])
        shutil.rmtree(self.root, ignore_errors=True)
        run(["cp", "-a", "--reflink=auto", base, self.root])
        shutil.copy("/etc/resolv.conf", self.path("/etc/resolv.conf"))
        # No package starts its daemon.
        refusal = self.path("/usr/sbin/policy-rc.d")
        refusal.write_text("#!/bin/sh\nexit 101\n")
        refusal.chmod(0o755)
        # Nobody needs this folder after a crash.
        self.path("/etc/dpkg/dpkg.cfg.d/unsafe").write_text("force-unsafe-io\n")
        archives = self._cache / f"archives-{self.release}"
        archives.mkdir(exist_ok=True)
        self._mounts.callback(self._remove)
        self.mount("-t", "proc", "proc", on="/proc")
        self.mount("--bind", archives, on="/var/cache/apt/archives")
        return self

    def __exit__(self, *_):
        self._mounts.close()

    def _remove(self):
        mounts = Path("/proc/self/mounts").read_text()
        assert f" {self.root}/" not in mounts, "what is mounted would be removed as well"
        shutil.rmtree(self.root)

    def path(self, inside):
        """Where a file of the folder is for those outside."""
        return self.root / str(inside).lstrip("/")

    def mount(self, *arguments, on):
        """Mount something until the end."""
        run(["mount", *arguments, self.path(on)])
        self._mounts.callback(run, ["umount", "--lazy", self.path(on)])

    def show(self, outside, on):
        """Let a file, folder or socket of the outside be seen inside until the end."""
        place = self.path(on)
        place.parent.mkdir(parents=True, exist_ok=True)
        if Path(outside).is_dir():
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        self.mount("--bind", outside, on=on)

    def command(self, *argv):
        """What runs argv inside."""
        variables = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
        return ["chroot", self.root, "env", "-i", *variables, *argv]

    def run(self, *argv):
        """Run a program inside; what it printed."""
        return run(self.command(*argv))

    def succeeds(self, *argv):
        """Whether a program inside ends well."""
        return subprocess.run(
            [str(word) for word in self.command(*argv)], capture_output=True, check=False
        ).returncode == 0

    def apt(self, *arguments):
        """Run apt-get inside."""
        return self.run(*_APT, *arguments)

    def bring(self, package):
        """Copy a package file in; its name there."""
        shutil.copy(package, self.path("/tmp"))
        return f"/tmp/{package.name}"

    def installed(self):
        """Names of all installed packages."""
        lines = self.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n").splitlines()
        return {name for name, status in map(str.split, lines) if status == "installed"}

    def files(self):
        """Everything there is: path -> kind, mode, owner, group and content."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            inside = "/" / Path(folder).relative_to(self.root)
            folders[:] = [name for name in folders if str(inside / name) not in _PASSED_OVER]
            for name in folders + names:
                if str(inside / name) not in _PASSED_OVER:
                    found[str(inside / name)] = _state(Path(folder, name))
        return found


def _state(path):
    status = path.lstat()
    content = None
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    return status.st_mode, status.st_uid, status.st_gid, content
