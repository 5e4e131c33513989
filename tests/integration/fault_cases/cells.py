"""Which fault strikes a backup at which moment, and how its job has to end."""

from dataclasses import dataclass, replace

from . import faults as f
from . import guest_faults as g
from .moments import BEFORE, DUMPED, DUMPING, FIRST, LAST_BYTE, SECOND, Moment

START = Moment("before the job", None, lambda scene: None)

GOOD = "good"  # T without errors
WARNS = "warns"  # T with error lines, one for each disk or guest that is lost
ERRORS = "errors"  # E with such lines: a restore that lost a file
FAILS = "fails"  # f
CANCELLED = "cancelled"  # A
LOST = "lost"  # not good: a daemon was killed, and the Director says how


BOTH = ("9.6.7", "15.0.3")
ONE = ("15.0.3",)

# Seconds that the daemons take for their goodbyes; 0.2 is what was measured.
CANCEL_BOUND = 10


@dataclass(frozen=True, eq=False)
class Cell:
    """says are patterns, one for each error line of ours that must come, in any order.

    daemons are patterns of lines that must come from Bacula's daemons, among others.  long is for
    what takes a minute.
    """

    fault: f.Fault
    moment: Moment
    ends: str
    says: tuple = ()
    versions: tuple = BOTH
    bound: int = 60
    daemons: tuple = ()
    long: bool = False

    @property
    def id(self):
        return f"{self.fault.name}, {self.moment.name}"


def guest_line(text):
    """The pattern of a line about the guest."""
    return f'^guest "vm": .*{text}'


def disk_line(name, text):
    """The pattern of a line about one of its disks."""
    return f'^guest "vm", disk "{name}": .*{text}'


def _read_error(name):
    return rf"^fd JobId \d+: Error: Read error on file /@qemu/vm/0/{name}.qcow2. ERR=Input/output"


_GONE = "(closed the connection|cannot connect|ended)"
_SOCKET = 'QMP socket ".*": .*'
_ALL_MOMENTS = (BEFORE, DUMPING, DUMPED, FIRST, SECOND, LAST_BYTE)


def _bacula_cells():
    for moment in _ALL_MOMENTS:
        yield Cell(f.CANCELLED, moment, CANCELLED, bound=CANCEL_BOUND)
        for fault in (f.FD_KILLED, f.SD_KILLED, f.DIRECTOR_KILLED):
            yield Cell(fault, moment, LOST, bound=150)


def _qemu_cells():
    for fault in (f.QEMU_KILLED, f.QEMU_QUIT):
        yield Cell(fault, BEFORE, WARNS, (guest_line(_GONE),))
        yield Cell(fault, DUMPING, WARNS, (disk_line("first", _GONE), disk_line("second", _GONE)))
        yield Cell(fault, DUMPED, WARNS, (disk_line("second", _GONE),))
        yield Cell(fault, FIRST, WARNS, (disk_line("second", _GONE),))
        yield Cell(fault, SECOND, GOOD)
        yield Cell(fault, LAST_BYTE, GOOD)
    for fault in (f.QEMU_RESET, f.QEMU_PAUSED, f.MONITOR_EVENTS):
        for moment in _ALL_MOMENTS:
            yield Cell(fault, moment, GOOD)


STAYS = ".*; the job fails, since its bitmap may have stayed in QEMU: "


def _monitor_cells():
    unreachable = {
        f.QEMU_STOPPED: "no greeting within 30 seconds",
        f.MONITOR_SILENT: "no greeting within 30 seconds",
        f.MONITOR_HELD: "no greeting within 30 seconds",
        f.MONITOR_CLOSED: "cannot connect",
        f.MONITOR_REMOVED: "cannot connect",
        f.MONITOR_HANGS_UP: "closed the connection",
        f.MONITOR_GARBAGE: "no QMP message",
        f.MONITOR_ENDLESS: "a message of more than",
        f.MONITOR_NO_CAPABILITIES: "it sends no QMP greeting",
    }
    # What a look at the dump says that the fault finds in the middle of its talk.
    in_a_talk = {
        f.QEMU_STOPPED: "no answer in time",
        f.MONITOR_SILENT: "no answer in time",
        f.MONITOR_NO_CAPABILITIES: "no answer in time",
        f.MONITOR_CLOSED: "closed the connection",
        f.MONITOR_REMOVED: "closed the connection",
    }
    late = {f.QEMU_STOPPED, f.MONITOR_SILENT, f.MONITOR_HELD}
    unknown = r"within \d+ seconds is not known: the monitor"
    for fault, why in unreachable.items():
        during = unknown if fault in late else why
        yield Cell(fault, BEFORE, WARNS, (guest_line(_SOCKET + why),), bound=90)
        looked = f"({during}|{in_a_talk.get(fault, during)}|{unknown})"
        yield Cell(fault, DUMPING, FAILS, (disk_line("first", looked + STAYS),), bound=120)
        yield Cell(fault, DUMPED, FAILS, (disk_line("second", during + STAYS),), bound=120)
        yield Cell(fault, FIRST, FAILS, (disk_line("second", during + STAYS),), bound=120)
        yield Cell(fault, SECOND, GOOD)
        yield Cell(fault, LAST_BYTE, GOOD)
    yield Cell(f.MONITOR_BORROWED, FIRST, GOOD)


def _directory_cells():
    yield Cell(f.DIRECTORY_MISSING, START, FAILS, ('cannot make a folder|cannot use the working directory',))
    yield Cell(f.DIRECTORY_READ_ONLY, START, FAILS, ("Read-only file system",))
    yield Cell(f.DIRECTORY_FULL, START, WARNS, (guest_line("bytes free and needs up to"),))
    yield Cell(f.DIRECTORY_ELSEWHERE, START, GOOD)
    yield Cell(f.DIRECTORY_READ_ONLY, BEFORE, WARNS, (guest_line("Read-only file system"),))
    yield Cell(f.DIRECTORY_FULL, BEFORE, WARNS, (guest_line("(No space left|bytes free and needs up to)"),))
    yield Cell(f.DIRECTORY_DELETED, BEFORE, WARNS, (guest_line("No such file"),))
    yield Cell(f.DIRECTORY_ELSEWHERE, BEFORE, WARNS, (guest_line("No such file"),))
    yield Cell(f.DIRECTORY_FULL, DUMPING, GOOD)  # the dumps have their room
    yield Cell(f.DIRECTORY_DELETED, DUMPING, WARNS,
               (disk_line("first", "No such file"), disk_line("second", "No such file")))
    yield Cell(f.DIRECTORY_ELSEWHERE, DUMPING, WARNS,
               (disk_line("first", "No such file"), disk_line("second", "No such file")))
    yield Cell(f.DIRECTORY_FULL, DUMPED, GOOD)
    yield Cell(f.DIRECTORY_DELETED, DUMPED, WARNS,
               (disk_line("first", "No such file"), disk_line("second", "No such file")))
    yield Cell(f.DIRECTORY_FULL, FIRST, GOOD)
    yield Cell(f.DIRECTORY_DELETED, FIRST, WARNS, (disk_line("second", "No such file"),))
    yield Cell(f.DIRECTORY_DELETED, SECOND, GOOD)
    yield Cell(f.DIRECTORY_ELSEWHERE, DUMPED, WARNS,
               (disk_line("first", "No such file"), disk_line("second", "No such file")))
    yield Cell(f.DIRECTORY_ELSEWHERE, FIRST, WARNS, (disk_line("second", "No such file"),))
    yield Cell(f.DIRECTORY_ELSEWHERE, SECOND, GOOD)
    yield Cell(f.DIRECTORY_ELSEWHERE, LAST_BYTE, GOOD)
    yield Cell(f.DIRECTORY_REMOVED, BEFORE, WARNS, (guest_line("No such file"),))
    for moment in (DUMPING, DUMPED):
        yield Cell(f.DIRECTORY_REMOVED, moment, WARNS,
                   (disk_line("first", "No such file"), disk_line("second", "No such file")))
    yield Cell(f.DIRECTORY_REMOVED, FIRST, WARNS, (disk_line("second", "No such file"),))
    for moment in (SECOND, LAST_BYTE):
        yield Cell(f.DIRECTORY_REMOVED, moment, GOOD)
        yield Cell(f.DIRECTORY_READ_ONLY, moment, GOOD)
        yield Cell(f.DIRECTORY_FULL, moment, GOOD)
    yield Cell(f.DIRECTORY_DELETED, LAST_BYTE, GOOD)


def _room_cells():
    for fault in (g.UNRESERVED_FULL, g.UNRESERVED_FILLED):
        yield Cell(fault, DUMPING, WARNS, (disk_line("first", "(No space left|room)"),))
    for moment in (DUMPING, DUMPED, FIRST):
        yield Cell(g.SHARED_ROOM, moment, GOOD)


def _stalling_cells():
    for moment in _ALL_MOMENTS:
        yield Cell(g.SOURCE_STALLED, moment, GOOD, bound=120, long=moment in (BEFORE, DUMPING))
    yield Cell(g.SOURCE_STALLED_CANCELLED, DUMPING, CANCELLED, bound=150, long=True)
    for moment in _ALL_MOMENTS:
        yield Cell(g.MONITOR_HELD_CANCELLED, moment, CANCELLED, bound=120, long=True)
        yield Cell(g.MONITOR_BORROWED_CANCELLED, moment, CANCELLED, bound=60)


def _storage_cells():
    yield Cell(f.DISK_ERROR, START, WARNS, (disk_line("first", "Input/output error"),))
    yield Cell(f.DISK_ERROR_ABORT, START, FAILS, (disk_line("first", "Input/output error"),))
    yield Cell(f.DISK_ERROR, BEFORE, WARNS, (disk_line("first", "Input/output error"),))
    yield Cell(f.DISK_ERROR_ABORT, BEFORE, FAILS, (disk_line("first", "Input/output error"),))
    yield Cell(f.DISK_ERROR, DUMPED, GOOD)
    # QEMU cannot read the first target, which it is to open.
    yield Cell(f.TARGET_ERROR, BEFORE, WARNS, (guest_line("disk \"first\": .*Input/output error"),))
    # QEMU has copied all of the second disk, and cannot write where its clusters are.
    yield Cell(f.TARGET_ERROR, DUMPING, WARNS, (disk_line("first", "Input/output error"),
                                                disk_line("second", "could not be written")))
    for moment in (DUMPED, FIRST):
        yield Cell(f.TARGET_ERROR, moment, WARNS, (disk_line("second", "could not be written"),))
    unread = "cannot read .*: Input/output error"
    nothing = "^nothing was saved of any guest"
    for moment in (BEFORE, DUMPING, DUMPED):
        yield Cell(f.READ_ERROR, moment, FAILS, (disk_line("first", unread), disk_line("second", unread), nothing))
    yield Cell(f.READ_ERROR, FIRST, FAILS, (disk_line("first", unread), disk_line("second", unread), nothing),
               daemons=(_read_error("first"),))
    yield Cell(f.READ_ERROR, SECOND, WARNS, (disk_line("second", unread),),
               daemons=(_read_error("second"),))


def _time_cells():
    yield Cell(f.TIMEOUT, DUMPING, FAILS, (disk_line("first", r"did not end within \d+ seconds"),))
    for moment in _ALL_MOMENTS:
        yield Cell(f.CLOCK_BACK, moment, GOOD)


def _tool_cells():
    missing = 'program "qemu-img" not found'
    yield Cell(f.TOOL_MISSING, START, WARNS, (guest_line(missing),))
    yield Cell(f.TOOL_MISSING, DUMPING, WARNS, (disk_line("first", missing), disk_line("second", missing)))
    yield Cell(f.TOOL_KILLED, BEFORE, WARNS, (guest_line("ended with status 137"),))
    yield Cell(f.TOOL_KILLED, DUMPED, WARNS, (disk_line("first", "ended with status 137"),))
    yield Cell(f.CREATE_FAILS, START, WARNS, (guest_line("a test wants it to fail"),))
    yield Cell(f.CHECK_FAILS, DUMPING, WARNS, (disk_line("first", "a test wants it to fail"),
                                               disk_line("second", "a test wants it to fail")))
    yield Cell(f.CHECK_FAILS, FIRST, WARNS, (disk_line("second", "a test wants it to fail"),))
    yield Cell(f.CHECK_FAILS, BEFORE, WARNS, (disk_line("first", "a test wants it to fail"),
                                              disk_line("second", "a test wants it to fail")))
    yield Cell(f.TOOL_MISSING, BEFORE, WARNS, (guest_line(missing),))
    yield Cell(f.TOOL_MISSING, DUMPED, WARNS, (disk_line("second", missing),))
    yield Cell(f.TOOL_MISSING, FIRST, WARNS, (disk_line("second", missing),))
    yield Cell(f.TOOL_HANGS, BEFORE, WARNS, (guest_line("did not end within 120 seconds"),))
    yield Cell(f.TOOL_HANGS, DUMPED, WARNS, (disk_line("first", r"did not end within 36\d\d seconds"),))


def _two_at_once_cells():
    for moment in (DUMPING, DUMPED, FIRST):
        yield Cell(f.SECOND_JOB, moment, GOOD)
    for moment in (BEFORE, SECOND, LAST_BYTE):
        yield Cell(f.SECOND_JOB_GOOD, moment, GOOD)
    for moment in _ALL_MOMENTS:
        # Which job numbers are given away, 9.6's catalog does not let a test say.
        yield Cell(f.SECOND_DAEMON, moment, GOOD, versions=ONE)


def with_its_end(cell):
    """A job that lost the guest, or both of its disks, has saved nothing: it fails, and says so."""
    guest = any(says.startswith(guest_line("")) for says in cell.says)
    if cell.ends != WARNS or not (guest or len(cell.says) == 2):
        return cell
    return replace(cell, ends=FAILS, says=(*cell.says, "^nothing was saved of any guest"))


_EACH = (
    *_bacula_cells(),
    *_qemu_cells(),
    *_monitor_cells(),
    *_directory_cells(),
    *_room_cells(),
    *_stalling_cells(),
    *_storage_cells(),
    *_time_cells(),
    *_tool_cells(),
    *_two_at_once_cells(),
)
BACKUP = tuple(with_its_end(each) for each in _EACH)

# Where a fault does the most harm comes first.
HARDEST = (DUMPING, FIRST, DUMPED, BEFORE, START, SECOND, LAST_BYTE)


def reach(cell, scene, start):
    """Bring a job to the cell's moment and let the fault strike; the job's id."""
    if cell.moment is START:
        cell.fault.strike(scene, None)
        scene.write_much("second")
        return start(scene)
    jobid = cell.moment.reach(scene, start)
    cell.fault.strike(scene, jobid)
    return jobid
