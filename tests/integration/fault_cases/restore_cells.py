"""Which fault strikes a restore at which moment, and how its job has to end."""

from dataclasses import replace

from . import faults as f
from . import restore_faults as r
from .cells import CANCEL_BOUND, CANCELLED, ERRORS, FAILS, GOOD, LOST, ONE, WARNS, Cell
from .restore_moments import CHECKING, CONVERTING, PART_0, PART_N, PATCHING, START

_DURING = (PART_0, PART_N, PATCHING, CHECKING, CONVERTING)
_DISKS = ("first", "second")


def _disk(name, text):
    return f'^guest "vm", disk "{name}": .*{text}'


def _disks(text):
    return tuple(_disk(name, text) for name in _DISKS)


def _guest(text):
    return f'^guest "vm": .*{text}'


def _bacula_cells():
    for moment in _DURING:
        yield Cell(f.CANCELLED, moment, CANCELLED, bound=CANCEL_BOUND)
        for fault in (f.FD_KILLED, f.SD_KILLED, f.DIRECTOR_KILLED):
            end = LOST
            if fault is f.SD_KILLED and moment in (CHECKING, CONVERTING):
                end = GOOD  # its data has come, and it has said so
            yield Cell(fault, moment, end, bound=150)


def _destination_cells():
    full, read_only = "No space left on device", "Read-only file system"
    gone, planted = "No such file or directory", "is in the way: it is not a directory"
    yield Cell(r.MISSING, START, GOOD)
    yield Cell(r.ORIGINALS_MISSING, START, ERRORS, _disks("is missing; make it"))
    yield Cell(r.FULL, START, ERRORS, (*_disks(full), _guest(full)))
    yield Cell(r.FULL, PART_0, ERRORS, _disks(full))
    # What the first disk took is free again when the second comes.
    yield Cell(r.FULL, PART_N, ERRORS, (_disk("first", full),))
    yield Cell(r.FULL, PATCHING, ERRORS, (_disk("first", full),))
    yield Cell(r.FULL, CHECKING, GOOD)
    yield Cell(r.FULL, CONVERTING, WARNS, _disks(full))
    yield Cell(r.READ_ONLY, START, ERRORS, (_guest(read_only),))
    yield Cell(r.READ_ONLY, PATCHING, ERRORS, (*_disks(read_only), _guest(read_only)))
    yield Cell(r.READ_ONLY, CHECKING, WARNS, _disks(read_only))
    for moment in (PART_0, PART_N, PATCHING):
        yield Cell(r.DELETED, moment, ERRORS, (_guest(gone), *_disks(gone)))
    yield Cell(r.DELETED, CHECKING, WARNS, _disks(gone))
    yield Cell(r.DELETED, CONVERTING, WARNS, (_disk("first", gone),))
    yield Cell(r.PLANTED, START, ERRORS, (_guest(planted), *_disks(planted)))
    yield Cell(r.PLANTED, CHECKING, WARNS, _disks(planted))
    for moment in (PART_0, PART_N, PATCHING):
        yield Cell(r.PLANTED, moment, ERRORS, (_guest(planted), *_disks(planted)))
        yield Cell(r.ELSEWHERE, moment, ERRORS, (_guest(gone), *_disks(gone)))
    yield Cell(r.IMAGE_PLANTED, CONVERTING, GOOD)
    yield Cell(r.ELSEWHERE, CHECKING, WARNS, _disks(gone))


def _working_cells():
    yield Cell(r.WORKING_MISSING, START, ERRORS, (_guest("No such file or directory"),))
    yield Cell(r.WORKING_READ_ONLY, START, ERRORS, (_guest("Read-only file system"),))
    yield Cell(r.WORKING_KEPT, PATCHING, ERRORS, _disks("Read-only file system"))
    yield Cell(r.WORKING_KEPT, CHECKING, GOOD)
    yield Cell(r.WORKING_KEPT, CONVERTING, GOOD)
    yield Cell(r.WORKING_FULL, START, ERRORS, _disks("No space left on device"))
    yield Cell(r.WORKING_FULL, PART_N, ERRORS, (_disk("first", "No space left on device"),))
    yield Cell(r.WORKING_FULL, CONVERTING, GOOD)
    yield Cell(r.WORKING_FULL, PART_0, ERRORS, _disks("No space left on device"))
    yield Cell(r.WORKING_FULL, PATCHING, ERRORS, (_disk("first", "No space left on device"),))
    yield Cell(r.WORKING_FULL, CHECKING, GOOD)
    for moment in (PART_0, PATCHING):
        yield Cell(r.WORKING_DELETED, moment, ERRORS, _disks("No such file or directory"))
    yield Cell(r.WORKING_DELETED, CHECKING, WARNS, _disks("No such file or directory"))
    yield Cell(r.WORKING_DELETED, PART_N, ERRORS, _disks("No such file or directory"))
    yield Cell(r.WORKING_DELETED, CONVERTING, WARNS, _disks("No such file or directory"))


def _tool_cells():
    missing, fails = 'program "qemu-img" not found', "a test wants it to fail"
    killed = "ended with status 137"
    for moment in (START, PART_0, PART_N):  # all that needs it then is the final check
        yield Cell(f.TOOL_MISSING, moment, WARNS, _disks(missing))
    yield Cell(f.TOOL_MISSING, PATCHING, ERRORS, _disks(missing))
    yield Cell(f.TOOL_MISSING, CHECKING, WARNS, (_disk("second", missing),))
    yield Cell(f.TOOL_MISSING, CONVERTING, WARNS, (_disk("second", missing),))
    yield Cell(f.TOOL_KILLED, PATCHING, ERRORS, (_disk("first", killed),))
    yield Cell(f.TOOL_KILLED, CHECKING, WARNS, (_disk("first", killed),))
    yield Cell(f.TOOL_KILLED, CONVERTING, WARNS, (_disk("first", killed),))
    hangs = r"did not end within 36\d\d seconds"
    yield Cell(f.TOOL_HANGS, PATCHING, ERRORS, (_disk("first", hangs),))
    yield Cell(f.TOOL_HANGS, CHECKING, WARNS, (_disk("first", hangs),))
    yield Cell(f.TOOL_HANGS, CONVERTING, WARNS, (_disk("first", hangs),))
    for command in ("info", "rebase", "commit"):
        yield Cell(r.patching_fails(command), START, ERRORS, _disks(fails))
    yield Cell(r.patching_fails("check", "*.part"), START, ERRORS, _disks(fails))
    yield Cell(r.tool_fails("check", "*.qcow2"), PART_N, WARNS, _disks(fails))
    yield Cell(r.tool_fails("convert", original=True), START, WARNS, _disks(fails))


def _server_cells():
    killed = r"part 1: qemu-nbd ended with status 137"
    yield Cell(r.SERVER_KILLED, PART_N, ERRORS, (_disk("first", killed),))
    yield Cell(r.SERVER_STANDS_STILL, PART_N, CANCELLED, bound=CANCEL_BOUND)
    yield Cell(r.SERVER_FAILS, START, ERRORS, _disks("part 1: .*Input/output error"))
    yield Cell(r.SERVER_MISSING, START, GOOD)


def _direct_cells():
    full, killed = "No space left on device", r"part 1: qemu-nbd ended with status 137"
    yield Cell(r.DIRECT_FULL, PART_0, ERRORS, _disks(full))
    yield Cell(r.DIRECT_FULL, PART_N, ERRORS, (_disk("first", full),))
    yield Cell(r.DIRECT_SERVER_KILLED, PART_N, ERRORS, (_disk("first", killed),))
    for moment in (PART_0, PART_N):
        yield Cell(r.DIRECT_FD_KILLED, moment, LOST, bound=150)
        yield Cell(r.DIRECT_WORKING_FULL, moment, GOOD)


def _other_cells():
    runs = "is in use by a running guest; stop the guest first"
    yield Cell(r.GUEST_RUNS, START, ERRORS, _disks(runs))
    yield Cell(r.GUEST_RUNS, PART_0, ERRORS, _disks(runs))
    for moment in (PART_N, PATCHING, CHECKING, CONVERTING):
        yield Cell(r.GUEST_RUNS, moment, WARNS, _disks(runs))
    for moment in _DURING:
        yield Cell(f.CLOCK_BACK, moment, GOOD)
    yield Cell(r.WRITE_ERROR, PART_0, ERRORS,
               (_guest("Input/output error"), *_disks("Input/output error")))
    for moment in _DURING:
        yield Cell(r.SECOND_RESTORE, moment, GOOD, bound=120)


def _had_on_all(cell):
    """Whether the cell can be had on 9.6.7.

    Whether that passes on a restore's options depends on how long they are, so no working
    directory is named there.
    """
    original = cell.fault.options.get("original") or cell.moment is CONVERTING
    needs_working = original and (
        "small" in cell.fault.options or "working" in cell.fault.name
        or cell.moment in (PART_0, PART_N)  # where the parts that came are looked at
    )
    return not needs_working


_EACH = (
    *_bacula_cells(),
    *_destination_cells(),
    *_working_cells(),
    *_tool_cells(),
    *_server_cells(),
    *_direct_cells(),
    *_other_cells(),
)


def _with_its_end(cell):
    """A restore that brought neither disk fails, and says so where the File Daemon does not."""
    if cell.ends != WARNS or len(cell.says) < 2:
        return cell
    return replace(cell, ends=FAILS, says=(*cell.says, "^no disk was restored"))


RESTORE = tuple(
    _with_its_end(each if _had_on_all(each) else replace(each, versions=ONE)) for each in _EACH
)

# Where a fault does the most harm comes first.
HARDEST = (PATCHING, CONVERTING, PART_N, CHECKING, PART_0, START)
