"""A stand-in for the API of one Proxmox VE node.

    python3 tests/fakes/proxmox SETTINGS.json

SETTINGS.json: version (versions.py), node, address, port, etc_pve (is
filled when it is empty), certificate and key_cache (see files.py), control
(socket), storages (list of name, type, folder, ...), settings (see host.py).  It says
"ready" when it answers.
"""

import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from control import Control  # noqa: E402
from files import fingerprint, lay_out  # noqa: E402
from host import Host  # noqa: E402
from server import Listener  # noqa: E402


def main():
    """Serve until a signal comes."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    certificate, key = lay_out(
        settings["etc_pve"],
        settings["node"],
        settings.get("certificate", "good"),
        settings.get("key_cache"),
    )
    host = Host({**settings, "fingerprint": fingerprint(certificate)})
    listener = Listener(host, (settings["address"], settings["port"]), certificate, key)
    listener.open()
    Control(host, listener).serve(settings["control"])
    print("ready", flush=True)
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        for storage in host.storages.all.values():
            getattr(storage, "close", lambda: None)()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
