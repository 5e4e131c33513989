"""Which fault strikes a backup that streams at which moment, and how its job has to end."""

from dataclasses import replace

from . import faults as f
from . import guest_faults as g
from . import stream_faults as s
from .cells import (
    CANCEL_BOUND, CANCELLED, FAILS, GOOD, LOST, ONE, START, STAYS, WARNS, Cell, disk_line,
    guest_line, with_its_end,
)
from .stream_moments import AFTER, CLEANING, FIRST_BYTE, LAST, MIDDLE, MOMENTS

_GONE = "(closed the connection|cannot connect|ended|went away|has gone|disconnected)"
_READING = (FIRST_BYTE, MIDDLE)


def _both(text):
    return disk_line("first", text), disk_line("second", text)


def _first_met(moment, text):
    """The line of whom a monitor that nobody reaches is found out with."""
    if moment is AFTER:
        return guest_line(text)
    return disk_line("second" if moment is CLEANING else "first", text)


def _bacula_cells():
    for moment in MOMENTS:
        yield Cell(s.CANCELLED, moment, CANCELLED, bound=CANCEL_BOUND)
        for fault in (s.FD_KILLED, f.SD_KILLED, f.DIRECTOR_KILLED):
            yield Cell(fault, moment, LOST, bound=150)
    yield Cell(s.CLIENT_KILLED, MIDDLE, LOST, bound=150)


def _qemu_cells():
    for fault in (f.QEMU_KILLED, f.QEMU_QUIT):
        yield Cell(fault, AFTER, FAILS, (guest_line(_GONE),))
        for moment in (FIRST_BYTE, MIDDLE, LAST):
            yield Cell(fault, moment, WARNS, _both(_GONE))
        yield Cell(fault, CLEANING, FAILS, (disk_line("second", _GONE),))
    for fault in (f.QEMU_RESET, f.QEMU_PAUSED, f.MONITOR_EVENTS, f.CLOCK_BACK):
        for moment in MOMENTS:
            yield Cell(fault, moment, GOOD)


def _monitor_cells():
    late = "(no greeting within|no answer in time|the monitor does not answer)"
    unreachable = {
        f.QEMU_STOPPED: f"(no byte came|{late[1:]}",
        f.MONITOR_SILENT: late,
        f.MONITOR_HELD: late,
        f.MONITOR_CLOSED: "(cannot connect|closed the connection)",
        f.MONITOR_REMOVED: "(cannot connect|closed the connection)",
        f.MONITOR_HANGS_UP: "closed the connection",
        f.MONITOR_GARBAGE: "no QMP message",
        f.MONITOR_ENDLESS: "a message of more than",
        f.MONITOR_NO_CAPABILITIES: "(it sends no QMP greeting|no answer in time)",
    }
    for fault, why in unreachable.items():
        for moment in (MIDDLE,) if fault is f.MONITOR_HELD else MOMENTS:
            yield Cell(fault, moment, FAILS, (_first_met(moment, why + STAYS),), bound=150)
    for moment in _READING:
        yield Cell(s.MONITOR_BORROWED, moment, GOOD)


def _directory_cells():
    for moment in MOMENTS:
        yield Cell(f.DIRECTORY_FULL, moment, GOOD)
        yield Cell(f.DIRECTORY_ELSEWHERE, moment, GOOD)  # all is reached by descriptors
        for fault in (f.DIRECTORY_DELETED, f.DIRECTORY_REMOVED):
            first = _both("No such file") if moment is AFTER else (disk_line("second", "No such file"),)
            yield Cell(fault, moment, WARNS, first)
    no_room = (disk_line("first", "ran out of room"),)  # the other goes on
    for moment in _READING:
        yield Cell(s.SCRATCH_FULL, moment, WARNS, no_room, bound=120)
    yield Cell(s.SD_STOPPED, MIDDLE, WARNS, no_room, bound=180, long=True)


def _guard_cells():
    for moment in MOMENTS:
        yield Cell(s.GUARD_KILLED, moment, GOOD)
    killed = "the helper program was killed"
    for moment in (AFTER, *_READING):
        yield Cell(s.GUARDS_KILLED, moment, WARNS, _both(killed))
    for moment in (LAST, CLEANING):
        yield Cell(s.GUARDS_KILLED, moment, WARNS, (disk_line("second", killed),))


def _somebody_cells():
    yield Cell(s.FOREIGN_SERVER, START, WARNS, (guest_line("another NBD server runs in that QEMU"),))
    yield Cell(s.FOREIGN_SERVER_AUTO, START, GOOD,
               daemons=("vm is dumped, not streamed: another NBD server runs in that QEMU",))
    for moment in _READING:
        yield Cell(s.EXPORT_REMOVED, moment, WARNS, (disk_line("first", "the NBD server has gone"),))
    yield Cell(s.EXPORT_REMOVED, LAST, GOOD)
    yield Cell(s.EXPORT_REMOVED, CLEANING, GOOD)
    yield Cell(s.QEMU_JOB_CANCELLED, AFTER, WARNS, (guest_line(""),))
    for moment in (*_READING, LAST):
        yield Cell(s.QEMU_JOB_CANCELLED, moment, WARNS, (disk_line("first", ""),))
    yield Cell(s.QEMU_JOB_CANCELLED, CLEANING, GOOD)


def _storage_cells():
    yield Cell(f.DISK_ERROR, START, WARNS, (disk_line("first", "Input/output error"),))
    yield Cell(f.DISK_ERROR_ABORT, START, FAILS, (disk_line("first", "Input/output error"),))
    for moment in (FIRST_BYTE, MIDDLE, LAST):
        yield Cell(g.SOURCE_STALLED, moment, GOOD, bound=120, long=True)
    yield Cell(s.TIMEOUT, FIRST_BYTE, WARNS, (disk_line("first", "no byte came"),), bound=120)
    for moment in _READING:
        yield Cell(f.SECOND_JOB, moment, GOOD)
        yield Cell(f.SECOND_DAEMON, moment, GOOD)


# What Bacula's daemons do differs with their version, all else with QEMU's.
STREAM = tuple(_bacula_cells()) + tuple(replace(with_its_end(each), versions=ONE) for cells in (
    _qemu_cells(), _monitor_cells(), _directory_cells(), _guard_cells(),
    _somebody_cells(), _storage_cells(),
) for each in cells)

# What "make check" runs, beside test_stream_faults.py.
FEW = tuple(cell for cell in STREAM if (cell.fault, cell.moment) in (
    (s.GUARDS_KILLED, MIDDLE), (s.MONITOR_BORROWED, MIDDLE), (f.MONITOR_CLOSED, AFTER)))
