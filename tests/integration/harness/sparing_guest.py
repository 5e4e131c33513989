"""A guest that leaves a hole where its fragile disk cannot be read, until it is told to spoil it."""

from .disk import BAD_OFFSET
from .guest import Guest

_CLUSTER = 64 * 1024


class SparingGuest(Guest):
    """As a Guest, with or without a disk of style fragile; its writes go round the hole."""

    def start(self, command_line=None):
        super().start(command_line)
        if self._fragile():
            self.mend()

    def spoil(self):
        """Write where reads fail."""
        super()._apply(self._fragile(), [(1, BAD_OFFSET, _CLUSTER)])

    def mend(self):
        """Make the hole again."""
        self.discard(self._fragile(), BAD_OFFSET, _CLUSTER)

    def write_zeroes(self, disk, offset, length, unmap=False):
        for start, count in self._around(disk, offset, length):
            super().write_zeroes(disk, start, count, unmap)

    def _apply(self, disk, writes):
        super()._apply(disk, [(pattern, start, count) for pattern, offset, length in writes
                              for start, count in self._around(disk, offset, length)])

    def _fragile(self):
        return next((disk for disk in self.disks.values() if disk.style == "fragile"), None)

    def _around(self, disk, offset, length):
        """(offset, length) of what lies before and behind the hole."""
        if self._disk(disk) is not self._fragile():
            return [(offset, length)]
        end = offset + length
        parts = [(offset, min(end, BAD_OFFSET)), (max(offset, BAD_OFFSET + _CLUSTER), end)]
        return [(start, stop - start) for start, stop in parts if start < stop]
