"""Commands under Debian's kernel, in a guest whose root is this machine's with memory over it.

For what the machine's own kernel has not.  tools/fetch-kernel brings the kernel.  The guest runs
without KVM, which a machine that is a guest itself may show and not have: a minute to start.
"""

import re
import shlex
import subprocess
from pathlib import Path

from .process import Failure, run, spawn, stop, wait_until

KERNEL = Path(__file__).resolve().parents[3] / "build" / "kernel"
_MODULES = ("virtio_pci", "virtiofs", "overlay", "loop", "dm-thin-pool")
_PROGRAMS = ("/bin/sh", "/bin/mount", "/bin/mkdir", "/usr/sbin/chroot", "/sbin/insmod")
_SERVER = Path("/usr/lib/qemu/virtiofsd")
_LIMIT = 840  # seconds; QEMU without KVM on a busy machine
_INIT = """#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mkdir -p /dev /lower /memory /root
mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
for module in {modules}; do insmod /modules/$module; done
mount -t virtiofs -o ro host /lower
mount -t tmpfs -o size=70% memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work root /root
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts pts /root/dev/pts
for place in dev/shm run tmp; do mount -t tmpfs tmp /root/$place; done
chroot /root /bin/sh -c {command}
echo "guest: status $?"
echo o >/root/proc/sysrq-trigger
exec chroot /root /bin/sleep 600
"""


def missing():
    """Why it cannot be used, or None."""
    if not KERNEL.exists():
        return "no kernel for a guest: tools/fetch-kernel build/kernel"
    return None if _SERVER.exists() else "no virtiofsd"


def run_under(folder, command, memory="1G"):
    """Run a shell command as root there; what it wrote.  A Failure when it failed."""
    folder = Path(folder)
    (kernel,) = (KERNEL / "boot").glob("vmlinuz-*")
    start = _initramfs(folder, kernel.name.removeprefix("vmlinuz-"), command)
    socket = folder / "fs.socket"
    server = spawn(
        [_SERVER, f"--socket-path={socket}", "-o", "source=/", "-o", "sandbox=chroot"],
        folder / "virtiofsd.log",
    )
    try:
        wait_until(socket.exists, 60, "virtiofsd")
        return _boot(folder, kernel, start, socket, memory)
    finally:
        stop(server)


def _boot(folder, kernel, start, socket, memory):
    console = folder / "console.log"
    guest = spawn(
        ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
         "-m", memory, "-display", "none", "-serial", f"file:{console}", "-monitor", "none",
         "-nodefaults", "-no-reboot", "-kernel", kernel, "-initrd", start,
         "-append", "console=ttyS0 quiet panic=-1 edd=off",
         "-object", f"memory-backend-memfd,id=memory,size={memory},share=on",
         "-machine", "q35,memory-backend=memory",
         "-chardev", f"socket,id=fs,path={socket}",
         "-device", "vhost-user-fs-pci,chardev=fs,tag=host"],
        folder / "qemu.log",
    )
    try:
        guest.wait(_LIMIT)
    except subprocess.TimeoutExpired:
        pass
    finally:
        stop(guest)
    said = console.read_text(errors="replace").replace("\r", "") if console.exists() else ""
    status = re.search(r"^guest: status (\d+)$", said, re.M)
    if not status or status.group(1) != "0":
        raise Failure(f"the guest's command failed:\n{said}\n{(folder / 'qemu.log').read_text()}")
    return said


def _initramfs(folder, version, command):
    root = folder / "start"
    (root / "modules").mkdir(parents=True)
    names = _modules(version, root / "modules")
    _copy_programs(root)
    init = root / "init"
    init.write_text(_INIT.format(modules=" ".join(names), command=shlex.quote(command)))
    init.chmod(0o755)
    run(["sh", "-c", "find . | cpio -o -H newc --quiet >../start.cpio"], cwd=root)
    return folder / "start.cpio"


def _modules(version, place):
    """Copies of the modules and of what they need, in the order to load them."""
    names = []
    for module in _MODULES:
        said = run(["modprobe", "-d", KERNEL, "-S", version, "--show-depends", module])
        for line in said.splitlines():
            kind, path, *_ = line.split()
            if kind == "insmod" and Path(path).name not in names:
                names.append(Path(path).name)
                (place / names[-1]).write_bytes(Path(path).read_bytes())
    return names


def _copy_programs(root):
    """With their libraries, all where they are here."""
    for program in _PROGRAMS:
        libraries = re.findall(r"(/\S+) \(0x", run(["ldd", program]))
        for path in (program, *libraries):
            copy = root / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(Path(path).read_bytes())
            copy.chmod(0o755)
