"""A guest whose writes go round some places of its disks."""

from .disk import BAD_OFFSET
from .guest import Guest

_CLUSTER = 64 * 1024


class SparingGuest(Guest):
    """As a Guest, with or without a disk of style fragile.

    It leaves a hole where that disk cannot be read, until it is told to spoil it, and alone
    what it was told to spare.
    """

    def __init__(self, folder, **options):
        super().__init__(folder, **options)
        self._spared = {}  # disk -> [(offset, length)]
        if self._fragile():
            self.spare(self._fragile().name, BAD_OFFSET, _CLUSTER)

    def start(self, command_line=None):
        super().start(command_line)
        if self._fragile():
            self.mend()

    def spare(self, disk, offset, length):
        """From now on write round this place."""
        self._spared.setdefault(disk, []).append((offset, length))

    def spoil(self):
        """Write where reads fail."""
        super()._apply(self._fragile(), [(1, BAD_OFFSET, _CLUSTER)])

    def mend(self):
        """Make the hole again."""
        super().discard(self._fragile(), BAD_OFFSET, _CLUSTER)

    def write_zeroes(self, disk, offset, length, unmap=False):
        for start, count in self._around(disk, offset, length):
            super().write_zeroes(disk, start, count, unmap)

    def discard(self, disk, offset, length):
        for start, count in self._around(disk, offset, length):
            super().discard(disk, start, count)

    def write_from_elsewhere(self, disk, pattern, offset, length):
        """Write to a raw disk as another host does: this guest's QEMU hears nothing of it."""
        for start, count in self._around(disk, offset, length):
            with self._disk(disk).path.open("r+b", buffering=0) as image:
                image.seek(start)
                image.write(bytes([pattern]) * count)
            self._write_shadow(disk, pattern, start, count)

    def _apply(self, disk, writes):
        super()._apply(disk, [(pattern, start, count) for pattern, offset, length in writes
                              for start, count in self._around(disk, offset, length)])

    def _fragile(self):
        return next((disk for disk in self.disks.values() if disk.style == "fragile"), None)

    def _around(self, disk, offset, length):
        """(offset, length) of what lies outside the spared places."""
        parts = [(offset, offset + length)]
        for spared, count in self._spared.get(self._disk(disk).name, ()):
            parts = [piece for start, stop in parts
                     for piece in ((start, min(stop, spared)), (max(start, spared + count), stop))
                     if piece[0] < piece[1]]
        return [(start, stop - start) for start, stop in parts]
