"""The .deb for a Debian, built in a Debian of its own.

    python3 tests/packages/debian_package.py 12 13

fills build/debs; "make debs" does that by way of run.py.
"""

import shutil
import sys

from debian_folder import SUITES, DebianFolder
from source import BUILD, NAME, TARBALL, TOP, VERSION, WORK, empty

PACKAGE = "bacula-qemu-fd-plugin"
DEBS = BUILD / "debs"


def version(release):
    """The package's: that of a later Debian is the newer one, as a host that is upgraded needs it."""
    return f"{VERSION}+deb{release}"


def file_name(release, package=PACKAGE):
    """What dpkg-buildpackage calls a package."""
    return f"{package}_{version(release)}_amd64.deb"


def files(folder, release):
    """Name -> path of what a build made."""
    names = (file_name(release), file_name(release, f"{PACKAGE}-dbgsym"))
    return {name: folder / name for name in names}


def prepare(debian):
    """Install what the package's control file says that a build needs, and nothing else."""
    sources = _unpack(debian, "/build-dep")
    debian.apt("update")
    debian.apt("build-dep", sources)


def build(debian, inside, umask="022", **surroundings):
    """Build in a folder of the prepared Debian; that folder from outside, with what was printed in build.log."""
    sources = _unpack(debian, inside)
    changelog = debian.path(f"{sources}/debian/changelog")
    first, rest = changelog.read_text().split("\n", 1)
    changelog.write_text(first.replace(f"({VERSION})", f"({version(debian.release)})") + "\n" + rest)
    variables = [f"{name}={value}" for name, value in surroundings.items()]
    said = debian.run("env", *variables, "sh", "-c",
                      f"umask {umask} && cd {sources} && exec dpkg-buildpackage -b -us -uc")
    debian.path(f"{inside}/build.log").write_text(said)
    return debian.path(inside)


def _unpack(debian, inside):
    empty(debian.path(inside))
    debian.run("tar", "-xf", debian.bring(TARBALL), "-C", inside)
    return f"{inside}/{NAME}"


def main():
    """Build those of the releases that are named."""
    DEBS.mkdir(exist_ok=True)
    for release in sys.argv[1:]:
        if release not in SUITES:
            sys.exit(f"no Debian {release}: {' or '.join(SUITES)}")
        with DebianFolder(WORK / f"debs-{release}", WORK, release) as debian:
            prepare(debian)
            made = files(build(debian, "/build"), release)
            for path in made.values():
                shutil.copy(path, DEBS)
        print((DEBS / file_name(release)).relative_to(TOP))


if __name__ == "__main__":
    main()
