"""Perl with Proxmox' PVE::Storage, as far as a restore calls it."""

from pathlib import Path

# perl -MPVE::Storage -e PROGRAM VOLUME: what activates a volume brings its device.
_PROGRAM = """#!/bin/sh
cd {folder}
[ ! -e broken ] || {{ cat broken >&2; exit 255; }}
storage=${{4%%:*}} name=${{4#*:}}
case "$3" in
1) ;;
PVE::Storage::activate_volumes*)
    [ ! -e unwilling ] || {{ cat unwilling >&2; exit 2; }}
    echo "map $4" >>log
    mv "{storages}/$storage/unmapped/$name" "{storages}/$storage/dev/$name" ;;
PVE::Storage::deactivate_volumes*)
    [ ! -e sticky ] || {{ cat sticky >&2; exit 2; }}
    echo "unmap $4" >>log
    mv "{storages}/$storage/dev/$name" "{storages}/$storage/unmapped/$name" ;;
esac
"""


class Perl:
    """A program in a folder that is in the File Daemon's PATH."""

    def __init__(self, pve, folder):
        self.folder = Path(folder)
        self.program = self.folder / "perl"
        self.program.write_text(
            _PROGRAM.format(folder=self.folder, storages=pve.folder / "storage"))
        self.program.chmod(0o755)

    def fail(self, how, text):
        """From now on: broken (no module), unwilling (to map), sticky (does not unmap)."""
        (self.folder / how).write_text(text + "\n")

    def calls(self):
        """What was asked, in order."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def remove(self):
        """The machine's own perl is there again, which knows no PVE::Storage."""
        for name in ("perl", "log", "broken", "unwilling", "sticky"):
            (self.folder / name).unlink(missing_ok=True)
