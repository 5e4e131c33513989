"""The guest of a random walk, and what is different about it."""

from dataclasses import replace

from harness.disk import MIB, SECTOR
from harness.streaming import find_qemu

from .scene import CLUSTER
from .stream_scene import StreamingScene

_LIMIT = 5  # seconds: timeout= of the line that talks to the gate


class WalkScene(StreamingScene):
    """What is written at moments differs from step to step, and covers disks of any size.

    Its first disk is another process', its second is fragile, and now and then one to which other
    hosts may write.  Its QEMU is one that can stream, if there is one.  With an odd seed the guest is
    told of a write that fails, else QEMU stops it where its storage is full.
    """

    def __init__(self, stage, folder, seed):
        self.seed = 0
        self.can_stream = find_qemu("newest") is not None
        self.program = find_qemu("newest") or self.program
        super().__init__(stage, folder, gated=True, working=64 * MIB, linked=True,
                         breakable="QEMU", limit=_LIMIT, served=True,
                         werror="report" if seed % 2 else "")

    def write_much(self, *disks):
        for disk in disks:
            for offset in range(0, self.guest.shadow(disk).stat().st_size - SECTOR, 2 * CLUSTER):
                self.guest.write(disk, 1 + (self.seed + offset // CLUSTER) % 255, offset, SECTOR)

    def write_little(self, seed):
        super().write_little(self.seed + seed)

    def _make_disks(self, style, fmt):
        first, second = super()._make_disks(style, fmt)
        return [first, replace(second, style="fragile")]
