"""Which fault strikes a restore while it fills a new Proxmox guest's volumes.

The tests are test_pve_restore_ended.py and test_pve_restore_faults.py, in words of their own:
each has more to look at than a table could say.
"""

from .cells import BOTH, ONE

MOMENT = "import"

# fault -> the versions of Bacula that meet with it
IMPORT = {
    "job cancelled": BOTH,
    "File Daemon killed": BOTH,
    "Storage Daemon killed": BOTH,
    "Director killed": BOTH,
    "qemu-img convert fails": ONE,
    "qemu-img hangs": ONE,
    "qemu-img killed": ONE,
    "Proxmox' API goes away": ONE,
    "storage full, at the first volume": ONE,
    "storage full, at a later volume": ONE,
}
