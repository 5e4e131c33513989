"""All cells of docs/internals/faults.md: what has to be run, and why the others are not."""

from . import cells, import_cells, moments, restore_cells, restore_moments, stream_cells, stream_moments

COLUMNS = {
    "backup": [moment.name for moment in (cells.START, *moments.MOMENTS)],
    "stream": [moment.name for moment in (cells.START, *stream_moments.MOMENTS)],
    "restore": [*(moment.name for moment in restore_moments.MOMENTS), import_cells.MOMENT],
}

SHORT = {moments.FIRST.name: "first disk read", moments.SECOND.name: "second disk read"}  # headings

_START = cells.START.name
_BEFORE, _DUMPING, _DUMPED, _FIRST, _SECOND, _LAST = COLUMNS["backup"][1:]
_AFTER, _FIRST_BYTE, _MIDDLE, _LAST_BYTE, _CLEANING = COLUMNS["stream"][1:]
_PART_0, _PART_N, _PATCHING, _CHECKING, _CONVERTING, _IMPORT = COLUMNS["restore"][1:]
_DURING = (_PART_0, _PART_N, _PATCHING, _CHECKING, _CONVERTING)
_ANY = ""  # what every fault's name begins with

# (how the faults' names begin, moments, reason), for each table; the first that fits counts.
BLANKS = {
    "backup": (
        (("working directory full, without", "working directory filled slowly"), COLUMNS["backup"],
         "as where room can be reserved: see working directory full"),
        (("job cancelled while the source stalls",), (_BEFORE, _DUMPED, _FIRST, _SECOND, _LAST),
         "nothing of the source is asked for then"),
        (("another guest's job",), (_BEFORE, _SECOND, _LAST), "nothing of the job lies there then, or less than before"),
        (("I/O error under the dump", "I/O error when the dump is read", "working directory",
          "qemu-img killed", "qemu-img hangs", "timeout="), (_START,),
         "nothing is there yet that it could strike"),
        (("qemu-img check fails",), (_START,), "the same as before the transaction: every call fails"),
        ((_ANY,), (_START,), "no job is there yet: the one that comes finds it as before the transaction, "
                             "or Bacula does not start it"),
        (("qemu-img create fails",), (_BEFORE,), "the call of this moment has begun"),
        (("qemu-img check fails",), (_DUMPED,), "the call of this moment has begun"),
        (("qemu-img create fails", "qemu-img killed", "qemu-img hangs"),
         (_DUMPING, _DUMPED, _FIRST, _SECOND, _LAST), "no qemu-img of that kind runs then"),
        (("qemu-img",), (_SECOND, _LAST), "no qemu-img is started any more"),
        (("I/O error under the guest",), (_DUMPING,),
         "the disk that is dumped slowly is another than the one that cannot be read"),
        (("I/O error under",), (_DUMPED, _FIRST, _SECOND, _LAST), "every dump is out of QEMU"),
        (("I/O error when the dump is read",), (_LAST,), "nothing is read any more"),
        (("monitor held for a moment",), (_BEFORE, _DUMPING, _DUMPED, _SECOND, _LAST),
         "of no consequence before the limit, and with no dump left to ask for"),
        (("timeout=",), (_BEFORE,), "no dump has begun"),
        (("timeout=",), (_DUMPED, _FIRST, _SECOND, _LAST), "every dump has ended"),
        (("working directory missing",), COLUMNS["backup"][1:], "then it is removed: see there"),
        (("working directory read-only",), (_DUMPING, _DUMPED, _FIRST),
         "QEMU has files open for writing there, so the kernel refuses"),
    ),
    "stream": (
        (("another NBD server",), COLUMNS["stream"][1:], "QEMU has one server only: ours is there by then"),
        (("I/O error under the guest",), COLUMNS["stream"][1:],
         "what is written later is kept before it is written, and what cannot be read is found when it is read"),
        ((_ANY,), (_START,), "no job is there yet: see the table above"),
        (("a job of another File Daemon", "the same guest in two jobs", "scratch full",
          "another client holds", "the source stalls"), (_AFTER, _CLEANING),
         "that the job stands still there holds the monitor, for everybody"),
        (("a job of another File Daemon", "the same guest in two jobs", "scratch full", "another client holds"),
         (_LAST_BYTE,), "that the job stands still there holds the monitor, for everybody"),
        (("File Daemon killed with reads", "timeout="), (_AFTER, _LAST_BYTE, _CLEANING), "nothing is being read then"),
        (("export removed",), (_AFTER,), "there is none yet"),
        (("File Daemon killed with reads", "Storage Daemon stands still", "another client holds", "timeout="),
         (_AFTER, _FIRST_BYTE, _MIDDLE, _LAST_BYTE, _CLEANING), "as at the moment that is there"),
    ),
    "restore": (
        (("Proxmox' API", "storage full"), (_START, *_DURING), "this is no restore to Proxmox"),
        (("destination becomes a link", "a link planted"), (_START,),
         "a link that stands there from the beginning is what the user asked for, or replaced"),
        (("I/O error",), (_START,), "nothing is there yet that it could strike"),
        (("qemu-img killed", "qemu-img hangs"), (_START, _PART_0, _PART_N), "no qemu-img runs then"),
        (("qemu-nbd killed", "qemu-nbd hangs"), (_START, _PART_0, _PATCHING, _CHECKING, _CONVERTING),
         "no qemu-nbd runs then"),
        (("an original's qemu-nbd killed",), (_START, _PART_0), "the first disk's part 0 is a file of the daemon's"),
        (("an original's",), (_START, _PATCHING, _CHECKING, _CONVERTING),
         "what is put together beside its place is only checked then, and gets its name"),
        (("qemu-nbd",), _DURING, "every such call fails, whenever in a job it comes"),
        (("the host's clock",), (_START,), "no time of the job has passed"),
        (("destination emptied", "working directory emptied"), (_START,), "it is empty"),
        ((_ANY,), (_START,), "no job is there yet, or Bacula does not start it"),
        (("qemu-img",), _DURING, "every such call fails, whenever in a job it comes"),
        (("destination missing", "the originals' folder missing", "working directory missing"), _DURING,
         "then it is emptied of what the job has there: see that row"),
        (("destination read-only", "working directory read-only"),
         (_PART_0, _PART_N, _CONVERTING),
         "the job has files open for writing there, so the kernel refuses"),
        (("a link planted where",), _DURING, "an original is looked at when it is converted"),
        (("a planted link", "destination becomes a link"), (_CONVERTING,),
         "this goes to the originals, of which one is replaced by a link in a row of its own"),
        (("I/O error",), (_PART_N, _PATCHING, _CHECKING, _CONVERTING),
         "qemu-nbd or qemu-img writes then, and not the File Daemon"),
        (("destination", "a link planted", "a planted link", "the originals' folder", "an original's", "the guest runs",
          "working directory", "I/O error"), (_IMPORT,),
         "Proxmox' storage has no such place: what it does is in rows of its own"),
        (("qemu-img", "qemu-nbd"), (_IMPORT,), "the import starts qemu-img convert only"),
        (("the host's clock", "two restores"), (_IMPORT,),
         "nothing reads the time of day then; two guests get two numbers (test_pve_restore)"),
    ),
}


def runs():
    """(table, fault, moment, version) of everything that has to be run."""
    found = {(table, cell.fault.name, cell.moment.name, version)
             for table, all_cells in (("backup", cells.BACKUP), ("stream", stream_cells.STREAM),
                                     ("restore", restore_cells.RESTORE))
             for cell in all_cells for version in cell.versions}
    return found | {("restore", fault, import_cells.MOMENT, version)
                    for fault, versions in import_cells.IMPORT.items() for version in versions}


def reason(table, fault, moment):
    """Why there is no such cell; None when nobody has said so."""
    for names, where, why in BLANKS[table]:
        if moment in where and fault.startswith(tuple(names)):
            return why
    return None
