"""Figure 6: how long the list of a Proxmox host's guests takes."""

import time

from harness import listing
from harness.bacula import Bacula
from harness.process import Failure
from harness.proxmox import FakeProxmox

from sample import Row, alternate, below
from world import World

_LINE = "qemu: mode=PVE"
_GUESTS = range(100, 200)
_RUNS = 9  # each is short


def _add_guests(pve):
    for vmid in _GUESTS:
        config = {"name": f"vm{vmid}", "scsi0": f"local:{vmid}/vm-{vmid}-disk-0.raw,size=1G"}
        pve.control("add_guest", vmid=vmid, config=config, running=True)


def measure(settings):
    """bconsole's .ls against the Proxmox stand-in, beside a command that asks no File Daemon."""
    with World(settings, "listing") as world, FakeProxmox("9.1", world.folder / "pve") as pve:
        _add_guests(pve)
        bacula = Bacula(settings.bacula_root, world.folder / "bacula", plugin=settings.plugin,
                        filesets={"VM": [_LINE]}, fd_wrapper=pve.fd_wrapper)
        with bacula:

            def list_guests(_):
                begun = time.monotonic()
                output = bacula.ls(_LINE, "/vm")
                lasted = time.monotonic() - begun
                if listing.total(output)[0] != len(_GUESTS):
                    raise Failure(f"not every guest was listed:\n{output}")
                return lasted

            def console_alone(_):
                begun = time.monotonic()
                bacula.console("time")
                return time.monotonic() - begun

            ours, console = alternate(_RUNS, list_guests, console_alone)
    return [
        below(f"6. Listing of {len(_GUESTS)} guests of a Proxmox host (a stand-in), console and all",
              ours.median, 1, ours.show(digits=3), " s", 3),
        Row("6. The console alone (command time)", console.show(digits=3)),
    ]
