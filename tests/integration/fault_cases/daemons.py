"""What Bacula's own daemons say, and how the job ends, when it is cancelled or one of them dies.

How many lines they write, and which, differs from version to version: the one that tells what
happened must be there, as those of the two versions were found to be.
"""

import re
from dataclasses import dataclass

from . import faults as f
from . import guest_faults as g
from . import restore_faults as rf
from . import restore_moments as r
from . import stream_faults as s


@dataclass(frozen=True)
class End:
    """How a job ends: status in the catalog (one of these letters), and patterns that its log holds.

    ours says whether the plugin may have lines about what was lost as well; reported whether
    the Director writes its report.
    """

    status: str
    says: tuple
    ours: bool = False
    reported: bool = True

    def check(self, result, errors):
        """Fail unless the job ended so; errors are the plugin's lines."""
        assert result.status in self.status, (result.status, result.log)
        for pattern in self.says:
            assert re.search(pattern, result.log, re.M), (pattern, result.log)
        assert ("Termination:" in result.log) == self.reported, result.log
        assert self.ours or not errors, errors
        lost = ('guest "vm"', "no disk was restored, so the job fails")
        assert all(line.startswith(lost) for line in errors), errors


_FD_AWAY = r"^dir JobId \d+: Fatal error: Network error with FD during {}: ERR="
_NO_STATUS = r"^dir JobId \d+: Fatal error: No Job status returned from FD\.$"
_STORE_END = {
    "9.6.7": r"^dir JobId \d+: Fatal error: Socket error on Store end command: ERR=",
    "15.0.3": r"^dir JobId \d+: Fatal error: \[DE0038\] Socket error on Store end command: ERR=",
}
_SD_AWAY = r"^dir JobId \d+: Error: Director's connection to SD for this Job was lost\.$"
_CANNOT_SEND = r"^fd JobId \d+: Fatal error: \S+ Network send error to SD\. ERR="
_ERROR, _CANCELED = r"^  Termination: +\*\*\* {} Error \*\*\*$", r"^  Termination: +{} Canceled$"


def cancelled(kind):
    """No daemon is in the middle of the data of a restore."""
    return End("A", (_CANCELED.format(kind),))


def fd_killed(kind, version):
    """The File Daemon died when it had all data of its job ("Restore") or was saving ("Backup")."""
    says = (_FD_AWAY.format(kind), _ERROR.format(kind))
    return End("f", says + ((_NO_STATUS,) if version == "9.6.7" else ()))


# The Director that is started again marks the job in its catalog and says nothing more.
DIRECTOR_KILLED = End("f", (r"^dir JobId \d+: Start (Backup|Restore Job)",), reported=False)


def _of_backup(fault, version):
    return {
        f.CANCELLED: cancelled("Backup"),
        g.SOURCE_STALLED_CANCELLED: cancelled("Backup"),
        g.MONITOR_HELD_CANCELLED: cancelled("Backup"),
        g.MONITOR_BORROWED_CANCELLED: cancelled("Backup"),
        s.CANCELLED: cancelled("Backup"),
        f.FD_KILLED: fd_killed("Backup", version),
        s.FD_KILLED: fd_killed("Backup", version),
        s.CLIENT_KILLED: fd_killed("Backup", version),
        f.SD_KILLED: End("f", (_SD_AWAY, _CANNOT_SEND, _ERROR.format("Backup")), ours=True),
        f.DIRECTOR_KILLED: DIRECTOR_KILLED,
    }[fault]


def _of_restore_that_reads(fault, version):
    """The Storage Daemon is still sending.

    Where it dies behind a whole record the File Daemon takes it for the end of the data, and
    the job lacks some: E; within one it is an error at once: f.
    """
    error = _ERROR.format("Restore")
    # Whether the Director asks the Storage Daemon for its end is a matter of moments.
    ended = End("A", (f"{error}|{_CANCELED.format('Restore')}",))
    return {
        f.CANCELLED: ended,
        rf.SERVER_STANDS_STILL: ended,
        f.FD_KILLED: End("f", (_STORE_END[version], error)),
        rf.DIRECT_FD_KILLED: End("f", (_STORE_END[version], error)),
        f.SD_KILLED: End("fE", (_SD_AWAY, error), ours=True),
        f.DIRECTOR_KILLED: DIRECTOR_KILLED,
    }[fault]


def _of_restore_that_has_all(fault, version):
    return {
        f.CANCELLED: cancelled("Restore"),
        f.FD_KILLED: fd_killed("Restore", version),
        f.DIRECTOR_KILLED: DIRECTOR_KILLED,
    }[fault]


def end_of(cell, version):
    """How the job of a cell ends that is cancelled or loses a daemon."""
    if cell.moment not in r.MOMENTS:
        return _of_backup(cell.fault, version)
    if cell.moment in (r.PART_0, r.PART_N, r.PATCHING):
        return _of_restore_that_reads(cell.fault, version)
    return _of_restore_that_has_all(cell.fault, version)
