"""The tarball of a release, and what is built from it."""

import os
import shutil
from pathlib import Path

from harness.process import run

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
WORK = BUILD / "packages"
VERSION = (TOP / "VERSION").read_text().strip()
NAME = f"qemu-fd-{VERSION}"
TARBALL = BUILD / f"{NAME}.tar.gz"


def environment(**more):
    """This process's, without what a make around us would pass on."""
    return {name: value for name, value in os.environ.items() if "MAKE" not in name} | more


def empty(folder):
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def unpack(folder):
    """Unpack the tarball in an empty folder; the sources."""
    run(["tar", "-xf", TARBALL, "-C", empty(folder)])
    return folder / NAME


def exported(plugin):
    """Names that a shared object shows to the daemon."""
    lines = run(["nm", "-D", "--defined-only", plugin]).splitlines()
    return {line.split()[-1] for line in lines}
