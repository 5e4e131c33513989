"""A running QEMU guest whose disks' true content the test always knows."""

import os
import random
import re
import shutil
import tempfile
import uuid
from pathlib import Path

from .disk import SECTOR, copy_sparse, virtual_size
from .monitor import Monitor
from .process import PATIENCE, Failure, kill_group, run, spawn, stop, wait_until

# A TCG guest that finds nothing to boot sits in the BIOS' halt loop: 0.6 % of
# a CPU.  Only the absent network may boot (strict), as test disks hold random
# bytes which must never run as a boot sector.
_MACHINE = (
    "-machine pc -accel tcg -m 64 -display none -nodefaults -no-user-config"
    " -boot order=n,strict=on"
).split()

_LONGEST_WRITE = 256 * SECTOR


class Guest:
    """A qemu-system process, two QMP sockets, and a shadow for every disk.

    qmp is for the plugin alone; the test talks to QEMU on a socket of its own,
    because QEMU serves one client at a time.

    A shadow is a sparse raw file that gets the same writes as the disk.  All
    writes go through this class, so the shadow is the disk's content at any
    moment, and a copy of it what a backup started then must restore.
    """

    vmid = 0  # as in the names of its saved files

    def __init__(
        self,
        folder,
        name="vm",
        disks=(),
        runas=None,
        extra=(),
        binary="qemu-system-x86_64",
        identity=None,
    ):
        self.folder = Path(folder)
        self.name = name
        self.uuid = str(identity or uuid.uuid4())
        self.disks = {disk.name: disk for disk in disks}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._runas = runas
        self._extra = list(extra)
        self._binary = binary
        self._process = None
        self._monitor = None
        self._shadows = {}
        self._snapshots = 0
        # Socket paths are limited to 107 bytes, a test's folder is not.
        self._sockets = Path(tempfile.mkdtemp(prefix="guest-"))
        self.qmp_socket = self._sockets / "qmp"
        for disk in self._writable():
            self._make_shadow(disk)
        if runas:
            self._give_files_away()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    # Life

    @property
    def pid(self):
        """Process id of QEMU."""
        return self._process.pid

    def start(self, command_line=None):
        """Start QEMU and connect the test's monitor; command_line may be one that was saved."""
        argv = command_line or self._command_line()
        self._process = spawn(argv, self._log, user=self._runas)
        test_socket = self._sockets / "test"
        wait_until(lambda: self._listening(test_socket), PATIENCE, "QEMU's monitor", interval=0.01)
        self._monitor = Monitor(test_socket)

    def quit(self):
        """Shut QEMU down in good order: disks are flushed, bitmaps stored."""
        try:
            self.qmp("quit")
        except Failure:
            pass  # QEMU may hang up before its reply arrives
        self._process.wait(PATIENCE)
        self.close_process()

    def kill(self):
        """Kill QEMU as a crash would."""
        kill_group(self._process)
        self.close_process()

    def restart(self):
        """Shut down and start again over the same disks."""
        self.quit()
        self.start()

    def close_process(self):
        """End what is left of QEMU; harmless when it is gone."""
        if self._monitor:
            self._monitor.close()
            self._monitor = None
        if self._process:
            stop(self._process)
            self._process = None
        for socket in self._sockets.glob("*"):
            socket.unlink()

    def close(self):
        """End QEMU and remove the sockets; the disks stay."""
        self.close_process()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def stop(self):
        """Pause the vCPUs."""
        self.qmp("stop")

    def cont(self):
        """Let the vCPUs go on."""
        self.qmp("cont")

    def system_reset(self):
        """Press the reset button."""
        self.qmp("system_reset")

    # Disks

    def shadow(self, disk):
        """Path of the raw file that follows the disk; see snapshot."""
        return self._shadows[self._disk(disk).name]

    def snapshot(self, disk):
        """Copy what the disk holds now; return the copy's path."""
        self._snapshots += 1
        shadow = self.shadow(disk)
        return copy_sparse(shadow, shadow.with_suffix(f".{self._snapshots}.raw"))

    def write(self, disk, pattern, offset, length):
        """Write length bytes of one value."""
        self._apply(disk, [(pattern, offset, length)])

    def read(self, disk, pattern, offset, length):
        """Read through QEMU; a Failure unless every byte is the pattern."""
        self._qemu_io(disk, [f"read -q -P {pattern} {offset} {length}"])

    def write_zeroes(self, disk, offset, length, unmap=False):
        """Zero a range the way a guest's WRITE ZEROES command does."""
        self._qemu_io(disk, [f"write -q -z {'-u ' if unmap else ''}{offset} {length}"])
        self._write_shadow(disk, 0, offset, length)

    def discard(self, disk, offset, length):
        """Discard a range of whole clusters, which then reads as zeroes.

        QEMU leaves what is smaller than a cluster alone: the content would
        be anybody's guess.
        """
        cluster = 64 * 1024
        if offset % cluster or length % cluster:
            raise ValueError("discard whole clusters only")
        self._qemu_io(disk, [f"discard -q {offset} {length}"])
        self._write_shadow(disk, 0, offset, length)

    def random_writes(self, disk, count, seed):
        """Write count times somewhere, in sectors that ignore clusters."""
        source = random.Random(seed)
        size = self.shadow(disk).stat().st_size
        writes = []
        for _ in range(count):
            length = source.randrange(SECTOR, _LONGEST_WRITE + 1, SECTOR)
            length = min(length, size)
            offset = source.randrange(0, size - length + 1, SECTOR)
            writes.append((source.randrange(1, 256), offset, length))
        self._apply(disk, writes)

    def flush(self, disk):
        """Bring the disk's writes to the image."""
        self._qemu_io(disk, ["flush"])

    def resize(self, disk, size):
        """Change the disk's size while the guest runs."""
        self.qmp("block_resize", size=size, **self._disk(disk).resize_target())
        os.truncate(self.shadow(disk), size)

    def plug(self, disk):
        """Attach one more disk (of style blockdev, on a SCSI guest) while the guest runs."""
        self.disks[disk.name] = disk
        self._make_shadow(disk)
        self.qmp("blockdev-add", **disk.block_node())
        self.qmp("device_add", **disk.device())

    def unplug(self, name):
        """Detach a SCSI disk while the guest runs."""
        disk = self.disks.pop(name)
        self.qmp("device_del", id=disk.device_id)
        wait_until(lambda: self._removed(disk), PATIENCE, f"disk {name} to be unplugged")

    def slow_down(self, disk, rate=0):
        """Let a disk of style slow give rate bytes a second; 0 is as fast as it can.

        Requests that wait already keep the time that they were given.
        """
        self.qmp(
            "qom-set",
            path=f"/objects/{self._disk(disk).throttle_group}",
            property="limits",
            value={"bps-read": rate},
        )

    # What QEMU says

    def qmp(self, command, **arguments):
        """Run a QMP command on the test's socket; - is written _."""
        if not self._monitor:
            raise Failure("the guest does not run")
        return self._monitor.execute(command, **arguments)

    def takes(self, command, argument):
        """Whether this QEMU's command has that argument."""
        schema = {entity["name"]: entity for entity in self.qmp("query-qmp-schema")}
        members = schema[schema[command]["arg-type"]]["members"]
        return any(member["name"] == argument for member in members)

    def pass_descriptor(self, descriptor, label):
        """Give QEMU an open file of ours in a set of its own."""
        return self._monitor.pass_descriptor(descriptor, label)

    def events(self, name):
        """The data of all events of that name that QEMU has sent so far."""
        self.qmp("query-status")  # brings those that wait
        return [event.get("data", {}) for event in self._monitor.events if event["event"] == name]

    def all_events(self, *names):
        """All events of these names that QEMU has sent so far, in order, with their times."""
        self.qmp("query-status")
        return [event for event in self._monitor.events if event["event"] in names]

    def nodes(self):
        """All block nodes by name."""
        nodes = self.qmp("query-named-block-nodes", flat=True)
        return {node["node-name"]: node for node in nodes}

    def bitmaps(self, disk):
        """The disk's dirty bitmaps by name, on whatever node they sit.

        query-block shows none below a filter, so the nodes that read the
        disk's image are looked at.
        """
        disk = self._disk(disk)
        path = str(disk.path)
        found = {}
        for name, node in self.nodes().items():
            if path in (node["image"]["filename"], node["file"]) or name == disk.format_node:
                found |= {bitmap["name"]: bitmap for bitmap in node.get("dirty-bitmaps", [])
                          if "name" in bitmap}  # a job that runs has one of its own
        return found

    def bytes_written(self):
        """Bytes that QEMU has written so far: to files, hence all of a dump, and to sockets."""
        counters = Path(f"/proc/{self.pid}/io").read_text()
        return int(re.search(r"^wchar: (\d+)$", counters, re.M)[1])

    def log(self):
        """What QEMU printed."""
        return self._log.read_text(errors="replace")

    def leftovers(self):
        """What a backup must not leave behind, in words."""
        found = [f"job {job['id']}" for job in self.qmp("query-jobs")]
        if not found:  # QEMU 5.2 dies of the question while a job waits to be dismissed
            found += [f"node {name}" for name in self.nodes() if name.startswith("bacula-")]
        found += [f"export {export['id']}" for export in self.qmp("query-block-exports")]
        found += [f"fdset {fdset['fdset-id']}" for fdset in self.qmp("query-fdsets")]
        status = self.qmp("query-status")["status"]
        if status != "running":
            found.append(f"guest is {status}")
        return found

    def assert_clean(self, patience=PATIENCE):
        """Fail when something of a backup is left in QEMU.

        QEMU drops a descriptor set in its own time after the monitor that
        added it has gone: hence the patience.
        """
        try:
            wait_until(lambda: not self.leftovers(), patience, "a clean QEMU")
        except Failure:
            raise AssertionError(f"left in {self.name}: {self.leftovers()}") from None

    # Inside

    @property
    def _log(self):
        return self.folder / f"{self.name}.log"

    def _removed(self, disk):
        try:
            self.qmp("blockdev-del", node_name=disk.name)
        except Failure:
            return False
        return True

    def _disk(self, disk):
        return self.disks[getattr(disk, "name", disk)]

    def _writable(self):
        return [disk for disk in self.disks.values() if not disk.readonly]

    def _make_shadow(self, disk):
        shadow = self.folder / f"{disk.name}.shadow.raw"
        run(["qemu-img", "convert", "-f", disk.fmt, "-O", "raw", disk.path, shadow])
        # QEMU rounds a raw image up to whole sectors.
        os.truncate(shadow, virtual_size(disk.path, disk.fmt))
        self._shadows[disk.name] = shadow

    def _give_files_away(self):
        for disk in self.disks.values():
            shutil.chown(disk.path, self._runas)
        shutil.chown(self._sockets, self._runas)

    def _command_line(self):
        argv = [self._binary, *_MACHINE, "-name", self.name, "-uuid", self.uuid]
        for socket in ("qmp", "test"):
            argv += ["-qmp", f"unix:{self._sockets / socket},server=on,wait=off"]
        disks = self.disks.values()
        for interface, controller in (("scsi", "virtio-scsi-pci"), ("usb", "qemu-xhci")):
            if any(disk.interface == interface for disk in disks):
                argv += ["-device", controller]
        for disk in disks:
            argv += disk.arguments()
        return argv + self._extra

    def _listening(self, socket):
        if self._process.poll() is not None:
            raise Failure(f"QEMU did not start:\n{self.log()}")
        # Bound is not yet listening: the flag __SO_ACCEPTCON tells.
        sockets = Path("/proc/net/unix").read_text().splitlines()
        return any(line.endswith(f" {socket}") and line.split()[3] == "00010000" for line in sockets)

    def _apply(self, disk, writes):
        self._qemu_io(
            disk, (f"write -q -P {pattern} {offset} {length}" for pattern, offset, length in writes)
        )
        for pattern, offset, length in writes:
            self._write_shadow(disk, pattern, offset, length)

    def _write_shadow(self, disk, pattern, offset, length):
        chunk = 1024 * 1024
        with self.shadow(disk).open("r+b", buffering=0) as shadow:
            shadow.seek(offset)
            for position in range(0, length, chunk):
                shadow.write(bytes([pattern]) * min(chunk, length - position))

    def _qemu_io(self, disk, commands):
        """Run qemu-io commands on the guest's own view of a disk.

        qemu-io reports what went wrong on QEMU's standard output only, where
        -q keeps everything else away.
        """
        target = self._disk(disk).qemu_io_target
        printed = self._log.stat().st_size
        self._monitor.human(f'qemu-io {target} "{command}"' for command in commands)
        complaints = self._log.read_bytes()[printed:].decode(errors="replace")
        if complaints:
            raise Failure(f"qemu-io on {target}: {complaints}")
