"""Back up and restore a running QEMU guest with Bacula, shown step by step.

A private Bacula and a real guest live in build/demo, on the loopback interface,
for as long as this runs.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path

_TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TOP / "tests" / "integration"))

# pylint: disable=wrong-import-position
from harness.process import Failure  # noqa: E402
import emulator  # noqa: E402
from screen import Screen, Stopwatch, mib  # noqa: E402
from story import Story  # noqa: E402

_VERSIONS = ("15.0.3", "9.6.7")
_BACULA_DIR = Path(os.environ.get("BACULA_DIR", _TOP / "build" / "bacula")).resolve()
_PLUGIN = Path(os.environ.get("QEMU_FD", _TOP / "build" / "qemu-fd.so")).resolve()
_FOLDER = _TOP / "build" / "demo"
_ROOM = 2 * 1024**3  # bytes that the folder may take


def _options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bacula", choices=_VERSIONS, help="with this version only")
    parser.add_argument("--all", action="store_true", help="show every line of the job logs")
    parser.add_argument("--dump", action="store_true",
                        help="dump the disks, with the QEMU of this machine, instead of streaming them")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    return parser.parse_args()


_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(*_):
    """End in good order; a second Ctrl-C does not stop the cleaning up."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _private_folder(keep):
    """The demo's folder, empty; no second demo may use it meanwhile."""
    _FOLDER.parent.mkdir(exist_ok=True)
    with open(_FOLDER.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure("another demo is running here") from None
        shutil.rmtree(_FOLDER, ignore_errors=True)
        try:
            yield _FOLDER
        finally:
            if not keep:
                shutil.rmtree(_FOLDER, ignore_errors=True)


def _check_machine(versions):
    for path in (_PLUGIN, *(_BACULA_DIR / version for version in versions)):
        if not path.exists():
            raise Failure(f"{path} is missing: run make demo")
    free = shutil.disk_usage(_FOLDER.parent).free
    if free < _ROOM:
        raise Failure(f"{_FOLDER.parent} has {mib(free)} free, the demo needs {mib(_ROOM)}")


def _run(screen, versions, keep, program):
    """Tell the story with each version; what was measured."""
    measured = []
    with _private_folder(keep) as folder:
        _check_machine(versions)
        for version in versions:
            screen.chapter(f"Bacula {version}")
            home = folder / version
            home.mkdir(parents=True)
            with contextlib.ExitStack() as stack:
                story = Story(_BACULA_DIR / version, _PLUGIN, home, screen, stack, program)
                stack.callback(screen.progress, "stopping Bacula and the guest")
                story.tell()
                measured.append(story.numbers)
            if not keep:
                screen.progress("removing its files")
                shutil.rmtree(home)
    return measured


def _tell_of_room(screen, measured):
    """Beside the volumes."""
    _, saved, _ = measured[0].jobs[0]
    aside = max(numbers.aside["Full"] for numbers in measured)
    if all(numbers.streams for numbers in measured):
        screen.shown(
            f"Its disks were streamed from QEMU to Bacula: for a Full of {mib(saved)} no more than"
            f" {mib(aside)} were put aside in the working directory, what the guest overwrote"
            " before it was read."
        )
    else:
        screen.say(
            f"Its disks were dumped, so the working directory held up to {mib(aside)} for a Full of"
            f" {mib(saved)}. From QEMU 9.1 on they are streamed, and it holds next to nothing."
        )


def _summary(screen, measured):
    screen.chapter("What this showed")
    heads = ["saved or restored", *(f"Bacula {numbers.version}" for numbers in measured)]
    rows = [
        [jobs[0][0], *(f"{mib(size)} in {seconds:.1f} s" for _, size, seconds in jobs)]
        for jobs in zip(*(numbers.jobs for numbers in measured))
    ]
    screen.table(heads, rows)
    screen.title("")
    writes = " and ".join(str(numbers.writes_during_full) for numbers in measured)
    screen.shown(
        f"A running guest was backed up as it was at one moment, although it wrote {writes} times"
        " while it was read."
    )
    _tell_of_room(screen, measured)
    screen.shown("Incrementals and the Differential held only what had changed.")
    screen.shown(
        "A job cancelled half-way and a Full by another Job broke no chain: the next Incremental"
        " was an increment on the last good one."
    )
    images = sum(numbers.images for numbers in measured)
    compared = sum(numbers.compared for numbers in measured)
    screen.shown(f"{images} restored images, {mib(compared)}, were identical byte for byte.")
    if len(measured) > 1:
        screen.shown("One and the same qemu-fd.so served every Bacula.")


def main():
    options = _options()
    versions = [options.bacula] if options.bacula else _VERSIONS
    screen, watch = Screen(options.all), Stopwatch()
    for number in _ENDINGS:
        signal.signal(number, _interrupt)
    screen.title("qemu-fd: a running guest is backed up with Bacula, and comes back")
    screen.say(
        f"Takes about {len(versions)} minute{'s' * (len(versions) > 1)} at most; Ctrl-C ends it and"
        " cleans up. Everything happens in build/demo and on 127.0.0.1."
    )
    try:
        program = emulator.MACHINES if options.dump else emulator.choose(screen)
        measured = _run(screen, versions, options.keep, program)
    except KeyboardInterrupt:
        screen.failed("Interrupted; Bacula and the guest are stopped.")
        return 130
    except (Failure, AssertionError, OSError) as failure:
        screen.failed(f"The demo failed: {failure}")
        screen.say("Bacula and the guest are stopped; --all shows whole logs, --keep keeps them.")
        return 1
    _summary(screen, measured)
    screen.title("")
    kept = f"{_FOLDER} is kept" if options.keep else "nothing of it is left"
    screen.say(f"{watch.seconds:.0f} seconds; Bacula and the guest are stopped, {kept}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
