"""The .deb, built as docs/install.md says."""

from harness.process import run
from source import VERSION, WORK, environment, unpack

PACKAGE = "bacula-qemu-fd-plugin"
FILE = f"{PACKAGE}_{VERSION}_amd64.deb"
_DEBUG_FILE = f"{PACKAGE}-dbgsym_{VERSION}_amd64.deb"


def _build(folder, **surroundings):
    sources = unpack(folder)
    umask = surroundings.pop("umask", 0o022)
    run(["dpkg-buildpackage", "-b", "-us", "-uc"], cwd=sources, umask=umask,
        env=environment(**surroundings))
    return {name: folder / name for name in (FILE, _DEBUG_FILE)}


def build_twice():
    """Name -> path of the packages of two builds, with little in common but the source."""
    return (
        _build(WORK / "deb", TZ="UTC", LC_ALL="C"),
        _build(WORK / "deb-again" / "elsewhere", TZ="Asia/Kathmandu", LC_ALL="C.UTF-8",
               umask=0o027, DEB_BUILD_OPTIONS="parallel=1", HOME="/nonexistent"),
    )
