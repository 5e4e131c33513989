"""Which right each call takes: tried one by one on real servers, and here.

tests/data/pve-rights holds, for each call, the smallest set that was enough,
and what came back when one of the set was missing.
"""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from harness.pve_api import Client, mint_csrf, mint_ticket
from harness.process import PATIENCE, wait_until

_DATA = Path(__file__).resolve().parents[1] / "data" / "pve-rights"
_USER = "backup@pve"

_NEW = (
    "vmid=152&name=x&memory=64&cores=1&net0=virtio,bridge=vmbr0&scsihw=virtio-scsi-pci"
    "&scsi0=local:0.0625&onboot=1&description=x"
)
_CALLS = {
    "GET qemu list (non-empty)": "GET /nodes/{node}/qemu",
    "GET cluster/resources?type=vm (non-empty)": "GET /cluster/resources?type=vm",
    "GET config": "GET /nodes/{node}/qemu/100/config",
    "GET status/current": "GET /nodes/{node}/qemu/100/status/current",
    "GET pending": "GET /nodes/{node}/qemu/100/pending",
    "GET /storage (non-empty)": "GET /storage",
    "GET node storage (non-empty)": "GET /nodes/{node}/storage",
    "GET storage/local/status": "GET /nodes/{node}/storage/local/status",
    "GET content list (non-empty)": "GET /nodes/{node}/storage/local/content",
    "GET content/{volume of VM}": "GET /nodes/{node}/storage/local/content/{volume}",
    "POST content (alloc)": "POST /nodes/{node}/storage/local/content"
    " vmid=152&filename=vm-152-disk-9.raw&size=1M",
    "DELETE content/{volume}": "DELETE /nodes/{node}/storage/local/content/{own}",
    "POST qemu {vmid} only": "POST /nodes/{node}/qemu vmid=152",
    "POST qemu name,memory,cores,net0(bridge),scsihw,scsi0=new,onboot,description":
        f"POST /nodes/{{node}}/qemu {_NEW}",
    "POST qemu scsi0=existing own volume": "POST /nodes/{node}/qemu vmid=152&scsi0={own}",
    "POST qemu import-from=<volid of VM 105>":
        "POST /nodes/{node}/qemu vmid=152&scsi0=local:0,import-from={other}",
    "PUT config scsi1=existing own volume": "PUT /nodes/{node}/qemu/152/config scsi1={own}",
    "PUT config memory": "PUT /nodes/{node}/qemu/105/config memory=48",
    "PUT config description": "PUT /nodes/{node}/qemu/105/config description=y",
    "DELETE qemu/{vmid}": "DELETE /nodes/{node}/qemu/152",
    "POST start": "POST /nodes/{node}/qemu/105/status/start",
    "GET tasks/{other user upid}/status": "GET /nodes/{node}/tasks/{upid}/status",
    "GET nextid": "GET /cluster/nextid",
    "GET node version": "GET /nodes/{node}/version",
    "GET /nodes": "GET /nodes",
}
# On top of the smallest set when one of it is taken away, as it was recorded.
_BESIDES = {"GET content/{volume of VM}": ["Datastore.Audit"]}


class Trial:
    """One call at a time, by a user with the rights given."""

    def __init__(self, pve):
        self.pve = pve
        self.client = Client(pve)
        volume = pve.alloc("local", 100, 1 << 20, fmt="raw")[0]
        self.other = pve.alloc("data", 105, 1 << 20, fmt="raw")[0]
        pve.control("add_guest", vmid=100, config={"scsi0": volume}, running=True)
        pve.control("add_guest", vmid=105, config={"memory": "32", "scsi0": self.other})
        started = self.client.as_root("POST", f"/nodes/{pve.node}/qemu/100/status/stop")
        self.names = {"node": pve.node, "volume": quote(volume, safe=""), "other": self.other,
                      "upid": started.data}
        self.headers = {
            "Cookie": f"PVEAuthCookie={mint_ticket(pve.etc_pve, _USER)}",
            "CSRFPreventionToken": mint_csrf(pve.etc_pve, _USER),
        }

    def ask(self, call, privileges):
        """Try a call; the Answer."""
        self._reset(call)
        self.pve.control("grant", path="/", name=_USER, privileges=privileges)
        method, path, *body = _CALLS[call].format(**self.names).split(" ")
        return self.client.request(method, path, self.headers, body[0] if body else None)

    def _idle(self):
        return all(task["exitstatus"] for task in self.pve.tasks())

    def _reset(self, call):
        """Guest 152 is there when the call is about it, and so is its volume."""
        if "152" not in _CALLS[call] and "{own}" not in _CALLS[call]:
            return
        wait_until(self._idle, PATIENCE, "the end of the tasks of earlier calls")
        self.pve.control("destroy_guest", vmid=152)
        own = self.pve.alloc("local", 152, 1 << 20, fmt="raw")[0]
        self.names["own"] = own if "POST" in call or "PUT" in call else quote(own, safe="")
        if "/152" in _CALLS[call]:
            self.pve.control("add_guest", vmid=152, config={"memory": "32"})


@pytest.mark.parametrize("version", ["6.4", "7.2", "9.1"])
def test_least_privileges(version, make_proxmox):
    """The smallest set is enough, and each of its parts is needed."""
    storages = [("local", "dir"), ("data", "dir")]
    trial = Trial(make_proxmox(version, port=18006, storages=storages))
    matrix = json.loads((_DATA / f"{version}.json").read_text())
    for call, about in matrix.items():
        if "minimal" not in about:
            continue  # not on this version at all
        answer = trial.ask(call, about["minimal"])
        assert answer.status == 200, f"{call}: {answer.reason}"
        assert answer.data != [], call
        for missing, expected in about["refusals"].items():
            rest = [p for p in about["minimal"] if p != missing] + _BESIDES.get(call, [])
            refused = trial.ask(call, rest)
            if expected == "403 empty list":
                assert refused.data == [], f"{call} without {missing}"
            else:
                assert f"{refused.status} {refused.reason}" == expected, f"{call}: {missing}"
