"""The guest of the manual's restore example, backed up three times."""

import contextlib

from .bacula import Bacula
from .disk import MIB, Disk, make_image
from .guest import Guest
from .history import History

PLAIN_TEXT = "restored by Bacula itself"


@contextlib.contextmanager
def vm1_history(bacula_root, plugin, folder):
    """A History with a Full and two Incrementals of VM1 and, beside it, of a plain file."""
    disks = [
        Disk("ide0-hd0", make_image(folder / "hd0.qcow2", 8 * MIB, seed=1), "qcow2", "ide"),
        Disk("ide0-hd1", make_image(folder / "hd1.raw", 4 * MIB, "raw", seed=2), "raw", "ide"),
    ]
    plain = folder / "plain.txt"
    plain.write_text(PLAIN_TEXT)
    with contextlib.ExitStack() as stack:
        guest = stack.enter_context(Guest(folder / "VM1", name="VM1", disks=disks))
        bacula = Bacula(
            bacula_root,
            folder / "bacula",
            plugin=plugin,
            filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}", plain]},
            fd_messages="all, !restored",
        )
        stack.enter_context(bacula)
        history = History(bacula, guest, folder)
        for step, level in enumerate(("Full", "Incremental", "Incremental")):
            for disk in disks:
                guest.random_writes(disk, 10, seed=step)
            history.backup(level)
        yield history


def restored_files(where):
    """Names of the files below a folder without the plain one."""
    names = (str(path.relative_to(where)) for path in where.rglob("*") if not path.is_dir())
    return sorted(name for name in names if not name.endswith(("plain.txt", ".state")))


FILES = ["@qemu/VM1/0/config.json", "@qemu/VM1/0/ide0-hd0.qcow2", "@qemu/VM1/0/ide0-hd1.qcow2"]
