"""Which right each call takes: tried one by one on real servers, and here.

tests/data/pve-rights holds, for each call, the smallest set that was enough,
and what came back when one of the set was missing.
"""

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from harness.proxmox import VERSIONS
from harness.pve_api import Client, mint_csrf, mint_ticket
from harness.process import PATIENCE, wait_until

_DATA = Path(__file__).resolve().parents[1] / "data" / "pve-rights"
_USER = "backup@pve"

_NEW = (
    "vmid={vmid}&name=x&memory=64&cores=1&net0=virtio,bridge=vmbr0&scsihw=virtio-scsi-pci"
    "&scsi0=local:0.0625&onboot=1&description=x"
)
_MORE = (
    "vmid={vmid}&name=x&memory=32&cores=1&net0=virtio,bridge=vmbr0&scsihw=virtio-scsi-pci&onboot=1"
    "&description=x&tags=a&agent=1&boot=order=net0"
)
_CALLS = {
    "GET qemu list (non-empty)": "GET /nodes/{node}/qemu",
    "GET cluster/resources?type=vm (non-empty)": "GET /cluster/resources?type=vm",
    "GET config": "GET /nodes/{node}/qemu/{seen}/config",
    "GET status/current": "GET /nodes/{node}/qemu/{seen}/status/current",
    "GET pending": "GET /nodes/{node}/qemu/100/pending",
    "GET /storage (non-empty)": "GET /storage",
    "GET node storage (non-empty)": "GET /nodes/{node}/storage",
    "GET storage/local/status": "GET /nodes/{node}/storage/local/status",
    "GET content list (non-empty)": "GET /nodes/{node}/storage/local/content",
    "GET content/{volume of VM}": "GET /nodes/{node}/storage/local/content/{volume}",
    "POST content (alloc)": "POST /nodes/{node}/storage/local/content"
    " vmid={vmid}&filename=vm-{vmid}-disk-9.raw&size=1M",
    "DELETE content/{volume}": "DELETE /nodes/{node}/storage/local/content/{own}",
    "POST qemu {vmid} only": "POST /nodes/{node}/qemu vmid={vmid}",
    "POST qemu name,memory,cores,net0(bridge),scsihw,scsi0=new,onboot,description":
        "POST /nodes/{node}/qemu " + _NEW,
    "POST qemu scsi0=existing own volume": "POST /nodes/{node}/qemu vmid={vmid}&scsi0={own}",
    "POST qemu import-from=<volid of VM 105>":
        "POST /nodes/{node}/qemu vmid={vmid}&scsi0=local:0,import-from={other}",
    "PUT config scsi1=existing own volume": "PUT /nodes/{node}/qemu/{vmid}/config scsi1={own}",
    "PUT config memory": "PUT /nodes/{node}/qemu/105/config memory=48",
    "PUT config description": "PUT /nodes/{node}/qemu/105/config description=y",
    "DELETE qemu/{vmid}": "DELETE /nodes/{node}/qemu/{vmid}",
    "POST start": "POST /nodes/{node}/qemu/105/status/start",
    "GET tasks/{other user upid}/status": "GET /nodes/{node}/tasks/{upid}/status",
    "GET nextid": "GET /cluster/nextid",
    "GET node version": "GET /nodes/{node}/version",
    "GET /nodes": "GET /nodes",
    # Of 8.4 and 9.2.
    "GET content/{volume of the guest}": "GET /nodes/{node}/storage/local/content/{own}",
    "POST qemu {vmid}": "POST /nodes/{node}/qemu vmid={vmid}",
    "POST qemu name,memory,cores,net0,scsihw,onboot,description,tags,agent,boot":
        "POST /nodes/{node}/qemu " + _MORE,
    "POST qemu ciuser,cipassword,ide2=none":
        "POST /nodes/{node}/qemu vmid={vmid}&memory=32&ciuser=x&cipassword=y&ide2=none,media=cdrom",
    "POST qemu startup": "POST /nodes/{node}/qemu vmid={vmid}&startup=order%3D1",
    "POST qemu start=1": "POST /nodes/{node}/qemu vmid={vmid}&memory=32&kvm=0&start=1",
    "POST qemu bios,efidisk0/tpmstate0 own volumes":
        "POST /nodes/{node}/qemu vmid={vmid}&bios=ovmf&efidisk0={own},efitype=4m",
    "PUT config scsi0=own volume": "PUT /nodes/{node}/qemu/{vmid}/config scsi0={own}",
    "PUT config boot": "PUT /nodes/{node}/qemu/{vmid}/config boot=order%3Dnet0",
    "PUT config template=1": "PUT /nodes/{node}/qemu/{vmid}/config template=1",
    "POST template": "POST /nodes/{node}/qemu/{vmid}/template",
    "POST status/start": "POST /nodes/{node}/qemu/{vmid}/status/start",
    "DELETE qemu": "DELETE /nodes/{node}/qemu/{vmid}",
    "POST qemu pool=prod": "POST /nodes/{node}/qemu vmid={vmid}&pool=prod",
    "GET /pools/prod": "GET /pools/prod",
    "PUT firewall/options": "PUT /nodes/{node}/qemu/{vmid}/firewall/options dhcp=1",
    "POST firewall/rules": "POST /nodes/{node}/qemu/{vmid}/firewall/rules type=in&action=ACCEPT",
    "POST firewall/ipset": "POST /nodes/{node}/qemu/{vmid}/firewall/ipset name=x1",
    "POST firewall/aliases": "POST /nodes/{node}/qemu/{vmid}/firewall/aliases name=x2&cidr=192.0.2.9",
}
# What the plugin never asks for, and the stand-in does not know.
_NOT_PLAYED = {"POST snapshot", "POST vzdump", "POST agent/ping (403 or not)",
               "POST agent/fsfreeze-freeze (403 or not)", "PUT /pools/prod vms",
               "GET firewall/rules"}
# On top of the smallest set when one of it is taken away, as it was recorded.
_BESIDES = {
    "GET content/{volume of VM}": ["Datastore.Audit"],
    **dict.fromkeys(
        ("PUT config scsi1=existing own volume", "PUT config memory", "PUT config description"),
        ["VM.Config.CDROM"],
    ),
}


class Trial:
    """One call at a time, by a user with the rights given."""

    def __init__(self, pve, vmid):
        self.pve = pve
        self.vmid = vmid
        self.client = Client(pve)
        volume = pve.alloc("local", 100, 1 << 20, fmt="raw")[0]
        self.other = pve.alloc("data", 105, 1 << 20, fmt="raw")[0]
        pve.control("add_guest", vmid=100, config={"scsi0": volume}, running=True)
        pve.control("add_guest", vmid=105, config={"memory": "32", "scsi0": self.other})
        pve.control("add_pool", name="prod")
        started = self.client.as_root("POST", f"/nodes/{pve.node}/qemu/100/status/stop")
        self.names = {"node": pve.node, "vmid": vmid, "seen": 100 if vmid == 152 else vmid,
                      "volume": quote(volume, safe=""),
                      "other": self.other, "upid": started.data}
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
        """The guest is there when the call is about it, and so is its volume."""
        if not re.search("{(vmid|seen|own)}", _CALLS[call]):
            return
        wait_until(self._idle, PATIENCE, "the end of the tasks of earlier calls")
        self.pve.control("destroy_guest", vmid=self.vmid)
        own = self.pve.alloc("local", self.vmid, 1 << 20, fmt="raw")[0]
        self.names["own"] = own if "POST" in call or "PUT" in call else quote(own, safe="")
        if re.search("/{(vmid|seen)}|{own}", _CALLS[call]) and "/qemu " not in _CALLS[call]:
            self.pve.control("add_guest", vmid=self.vmid,
                             config={"memory": "32", "net0": "virtio,bridge=vmbr0"})


@pytest.mark.parametrize("version", VERSIONS)
def test_least_privileges(version, make_proxmox):
    """The smallest set is enough, and each of its parts is needed."""
    storages = [("local", "dir"), ("data", "dir")]
    vmid = 352 if version in ("8.4", "9.2") else 152  # as it was recorded
    trial = Trial(make_proxmox(version, port=18006, storages=storages), vmid)
    matrix = json.loads((_DATA / f"{version}.json").read_text())
    for call, about in matrix.items():
        if "minimal" not in about or call in _NOT_PLAYED:
            continue  # not on this version at all
        answer = trial.ask(call, about["minimal"])
        assert answer.status == 200, f"{call}: {answer.reason}"
        assert answer.data != [], call
        for missing, expected in about["refusals"].items():
            rest = [p for p in about["minimal"] if p != missing] + _BESIDES.get(call, [])
            if set(re.findall(r"\w+(?:\.\w+)+", expected)) & set(rest):
                rest = []  # any of them would do: it was recorded before one was given
            refused = trial.ask(call, rest)
            if expected == "403 empty list":
                assert refused.data == [], f"{call} without {missing}"
            else:
                assert f"{refused.status} {refused.reason}" == expected, f"{call}: {missing}"
