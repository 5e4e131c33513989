"""Measure on this machine what docs/internals/figures.md says, side by side, and write it there."""

import argparse
import fcntl
import importlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_TOP / "tests" / "integration"))

# pylint: disable=wrong-import-position
from harness.process import Failure  # noqa: E402

import machine  # noqa: E402
import report  # noqa: E402
from sample import Row  # noqa: E402
from world import GIB, MIB, caches  # noqa: E402

_FIGURES = ("full", "increment", "sparse", "restore", "memory", "listing", "latency", "many", "tables")
_VERSIONS = ("15.0.3", "9.6.7")
_BACULA_DIR = Path(os.environ.get("BACULA_DIR", _TOP / "build" / "bacula")).resolve()
_PLUGIN = Path(os.environ.get("QEMU_FD", _TOP / "build" / "qemu-fd.so")).resolve()
_QEMUS = _TOP / "build" / "qemu"
_QEMU = "10.0"  # of tools/fetch-qemu, for the guests: that of Debian 13 and Proxmox VE 9, which can stream
_FOLDER = _TOP / "build" / "bench"
_DOCUMENT = _TOP / "docs" / "internals" / "figures.md"
_ROOM = 12  # times the data of a disk, at most, in the folder


@dataclass(frozen=True)
class Settings:
    """What every figure needs to know."""

    folder: Path
    bacula_root: Path
    plugin: Path
    qemu: Path  # of the guests
    data: int  # bytes on the disk of a Full
    runs: int


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="a small disk, to see that it works: docs/internals/figures.md stays as it is")
    parser.add_argument("--only", choices=_FIGURES, action="append",
                        help="this figure alone (may be repeated); docs/internals/figures.md stays as it is")
    parser.add_argument("--runs", type=int, default=5, help="of everything (default %(default)s)")
    parser.add_argument("--bacula", choices=_VERSIONS, default=_VERSIONS[0])
    options = parser.parse_args()
    if options.runs < 3:
        parser.error("a median wants at least 3 runs")
    return options


def _settings(options):
    settings = Settings(
        folder=_FOLDER,
        bacula_root=_BACULA_DIR / options.bacula,
        plugin=_PLUGIN,
        qemu=_QEMUS / _QEMU / "usr" / "bin" / "qemu-system-x86_64",
        data=128 * MIB if options.quick else 2 * GIB,
        runs=options.runs,
    )
    if not settings.bacula_root.is_dir() or not settings.plugin.exists():
        sys.exit("first: make all bacula")
    subprocess.run([_TOP / "tools" / "fetch-qemu", _QEMUS, _QEMU], check=True)
    free = shutil.disk_usage(_FOLDER).free
    if free < _ROOM * settings.data:
        sys.exit(f"{_FOLDER} has {free / GIB:.0f} GiB free, {_ROOM * settings.data / GIB:.0f} "
                 "are needed")
    return settings


def _measure(name, settings):
    """One figure's rows; a figure that cannot be measured does not keep others from it."""
    begun = time.monotonic()
    print(f"measuring: {name} …", flush=True)
    try:
        rows = importlib.import_module(f"figure_{name}").measure(settings)
    except (Failure, OSError, AssertionError) as failure:
        print(f"{name} could not be measured: {failure}", file=sys.stderr)
        first = (str(failure).splitlines() or [type(failure).__name__])[0]
        rows = [Row(f"{name}", f"could not be measured: {first}", good=False)]
    for row in rows:
        print(f"  {row.figure}: {row.measured}; expected {row.expected}: {row.verdict}")
    print(f"  ({time.monotonic() - begun:.0f} s)", flush=True)
    return rows


def main():
    options = _options()
    _FOLDER.mkdir(parents=True, exist_ok=True)
    lock = open(_FOLDER.with_suffix(".lock"), "w")  # held to the end
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("figures are being measured here already")
    settings = _settings(options)
    described = machine.describe(settings, options.bacula, caches())
    begun = time.monotonic()
    rows = [row for name in options.only or _FIGURES for row in _measure(name, settings)]
    minutes = (time.monotonic() - begun) / 60
    how = f"Runs: {settings.runs} of everything (3 of figures 3, 4 and 5, 9 of 6), the sides of a figure in turn; {minutes:.0f} minutes in all"
    generated = report.text(rows, described, how)
    print(f"\n{generated}")
    (_FOLDER / "figures.md").write_text(generated)
    if not options.quick and not options.only:
        report.rewrite(_DOCUMENT, generated)
        print(f"written to {_DOCUMENT}")
    sys.exit(1 if any("could not be measured" in row.measured for row in rows) else 0)


if __name__ == "__main__":
    main()
