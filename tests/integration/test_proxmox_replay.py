"""Exchanges recorded on real Proxmox VE servers, put to the stand-in.

tests/data/pve holds them in the order in which they were made; passwords, tokens
and signatures are others.  Statuses, reasons and errors must be the same; so must
the keys of every document and the JSON types of their values, and the values that
do not depend on the machine.
"""

import json
import re
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from harness.disk import make_image
from harness.proxmox import VERSIONS
from harness.process import PATIENCE, run, wait_until
from harness.pve_api import Client, mint_csrf, mint_ticket

_DATA = Path(__file__).resolve().parents[1] / "data" / "pve"
_RECORDED = {"6.4": 336, "7.2": 361, "8.4": 615, "9.1": 363, "9.2": 618}
_MIB = 1024 * 1024

# These servers had nobody to ask for names.
_NO_RESOLVER = ("8.4", "9.2")
# What the recorder's hand or an earlier session of his had changed.
_BY_HAND = {"6.4": {105: {"description": "x"}}}
_UPID = re.compile(r"UPID:[\w-]+:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:([^:]+:[^:]*:[^:]+:)")
_CONFIGURATION = re.compile(r"\.config$|^(07|71)-config|^09-config")
_TICKET = re.compile(r"PVE:([^:]+@[^:]+):[0-9A-F]{8}::[\w+/=]{300,}")

# There only some time after the guest's start, or where a storage was set up so.
_SOMETIMES = {"idle_time_ns", "nics", "prune-backups"}
# Differ from machine to machine, or are made up anew.
_RANDOM = {"digest", "meta", "smbios1", "vmgenid"}
_MADE_UP = re.compile(r"\bBC:24:11(:[0-9A-F]{2}){3}")
_IDENTITIES = ("vmid", "volid", "storage", "key", "node", "n")


class Replay:
    """One version's recordings against one stand-in."""

    def __init__(self, pve, version):
        self.pve = pve
        self.version = version
        self.client = Client(pve)
        self.upids = {}
        self.tickets = {}
        self.paths = {
            str(pve.folder / "storage/local"): "/var/lib/vz",
            str(pve.folder / "storage/data"): "/srv/data",
            str(pve.folder / "import"): "/srv/import",
        }
        self.differences = []
        self.count = 0

    # Requests

    def play(self, exchange):
        """Send a request and compare the answer."""
        request = exchange["request"]
        self._prepare(exchange)
        path = request["path"].removeprefix("/api2/json")
        for old, new in self.upids.items():
            path = path.replace(quote(old, safe=""), quote(new, safe="")).replace(old, new)
        body = request["body"]
        if body:
            body = _TICKET.sub(lambda m: self._ticket(m.group(1)), unquote_ticket(body))
            body = body.replace("%2Fsrv%2Fimport", quote(str(self.pve.folder / "import"), safe=""))
        answer = self.client.request(request["method"], path, self._headers(exchange), body)
        self.count += 1
        for text in Comparison(self, exchange["response"], answer, exchange["name"]).differences():
            self.differences.append(f"{exchange['name']}: {text}")
        self._finish(exchange, answer)

    def _ticket(self, user):
        if user not in self.tickets:
            self.tickets[user] = quote(mint_ticket(self.pve.etc_pve, user), safe="")
        return self.tickets[user]

    def _headers(self, exchange):
        """The recorded ones, signed with today's keys."""
        headers = {}
        refused = exchange["response"]["reason"] == "Authentication failed!"
        for name, value in exchange["request"]["headers"].items():
            ticket = _TICKET.search(unquote(value))
            if name == "Cookie" and ticket and not refused:
                value = f"PVEAuthCookie={self._ticket(ticket.group(1))}"
                self.user = ticket.group(1)
            headers[name] = value
        wrong = "csrf" in exchange["response"]["reason"]
        if "CSRFPreventionToken" in headers and not wrong:
            headers["CSRFPreventionToken"] = mint_csrf(self.pve.etc_pve, self.user)
        return headers

    def _prepare(self, exchange):
        """What the recorder did: wait, and remove guests before he made them again."""
        request = exchange["request"]
        if exchange["name"].endswith("failed"):
            self._wait_for_tasks()
        if exchange["name"].endswith("lock-timeout"):
            text = "can't lock file '/var/lock/qemu-server/lock-350.conf' - got timeout"
            self.pve.fault("task-fail", task="qmstop", text=text)
        if exchange["response"]["status"] in (595, 596):
            self.pve.fault("status", ".", status=exchange["response"]["status"], document=None,
                           reason=exchange["response"]["reason"],
                           done=exchange["response"]["status"] == 596)
        if exchange["name"].startswith("170-storage-disabled"):
            self.pve.control("set_storage", name="data", enabled=False)
        match = re.search(r"\bvmid=(1[5-9]\d|3\d\d)\b", request["body"] or "")
        if request["method"] == "POST" and request["path"].endswith("/qemu") and match:
            if int(match.group(1)) in self.pve.vmids():
                self.pve.control("destroy_guest", vmid=int(match.group(1)))

    def _finish(self, exchange, answer):
        """Wait for a task to end, unless the next recordings see it run."""
        self._settle(exchange, answer)
        if exchange["name"].startswith("170-storage-disabled"):
            self.pve.control("set_storage", name="data")

    def _settle(self, exchange, answer):
        if answer.status != 200 or not isinstance(answer.data, str):
            return
        if answer.data.startswith("UPID:"):
            theirs = (exchange["response"]["body"] or {}).get("data")
            if theirs:
                self.upids[theirs] = answer.data
            if "shutdown" not in exchange["name"]:
                self._wait_for_tasks()

    def _wait_for_tasks(self):
        wait_until(
            lambda: all(task["exitstatus"] is not None for task in self.pve.tasks()),
            PATIENCE, "tasks to end", 0.01,
        )

    def recorded(self, text):
        """A text of the stand-in with the recorded machine's paths."""
        if self.version in _NO_RESOLVER:
            text = text.replace("Name or service not known", "Temporary failure in name resolution")
        for ours, theirs in self.paths.items():
            text = text.replace(ours, theirs)
        return text


class Comparison:
    """One recorded answer and one of the stand-in."""

    def __init__(self, replay, recorded, answer, name):
        self.replay = replay
        self.recorded = recorded
        self.answer = answer
        self.name = name

    def differences(self):
        """In words."""
        yield from self._head()
        theirs, ours = self.recorded["body"], self._ours()
        if self.recorded["status"] >= 400 or not isinstance(theirs, dict):
            if _sorted(theirs) != _sorted(ours):
                yield f"body {ours!r}, recorded {theirs!r}"
            return
        yield from compare(theirs, ours, "")
        yield from self._values(theirs["data"], ours["data"])

    def _ours(self):
        return json.loads(self.replay.recorded(self.answer.text)) if self.answer.text else ""

    def _head(self):
        status = (self.recorded["status"], self.recorded["reason"])
        ours = (self.answer.status, self.replay.recorded(self.answer.reason))
        if status != ours:
            yield f"{ours}, recorded {status}"
        # A server ends a connection after so many requests, too.
        ending = ["Connection"] if self.recorded["status"] >= 400 else []
        for header in (*ending, "Content-Type", "Server", "Cache-Control", "Pragma"):
            theirs = self.recorded["headers"].get(header)
            if theirs != self.answer.headers.get(header):
                yield f"{header}: {self.answer.headers.get(header)}, recorded {theirs}"

    def _values(self, theirs, ours):
        """Those that say something: texts, states, configurations."""
        if isinstance(theirs, str) and isinstance(ours, str) and theirs.startswith("UPID:"):
            theirs, ours = _UPID.sub(r"\1", theirs), _UPID.sub(r"\1", ours)
        elif kind(theirs) != kind(ours):
            return  # that has been said
        elif isinstance(theirs, dict) and _CONFIGURATION.search(self.name):
            theirs, ours = _plain(theirs), _plain(ours)
        elif isinstance(theirs, dict) and "upid" in theirs:
            kept = ("type", "id", "user", "tokenid", "status", "exitstatus")
            theirs, ours = ({key: row.get(key) for key in kept} for row in (theirs, ours))
        elif isinstance(theirs, list) and "task-log" in self.name:
            theirs, ours = ([row["t"] for row in rows][-1:] for rows in (theirs, ours))
        elif not isinstance(theirs, str) or "ticket" in self.name:
            return
        if theirs != ours:
            yield f"{ours!r}, recorded {theirs!r}"


def _sorted(refusal):
    """What is wrong with the options of one parameter comes in any order."""
    if not isinstance(refusal, dict) or not refusal.get("errors"):
        return refusal
    errors = {key: sorted(text.split("\n")) for key, text in refusal["errors"].items()}
    return {**refusal, "errors": errors}


def _plain(config):
    """A configuration without what is made up anew."""
    return {key: _MADE_UP.sub("BC:24:11:…", value) if isinstance(value, str) else value
            for key, value in config.items() if key not in _RANDOM}


def compare(theirs, ours, where):
    """Keys and JSON types, all the way down."""
    if kind(theirs) != kind(ours):
        yield f"{where or 'document'} is {kind(ours)} ({ours!r}), recorded {kind(theirs)}"
    elif isinstance(theirs, dict):
        missing = theirs.keys() - ours.keys() - _SOMETIMES
        added = ours.keys() - theirs.keys() - _SOMETIMES
        if missing or added:
            yield f"{where or 'document'} lacks {sorted(missing)}, has {sorted(added)}"
        for key in theirs.keys() & ours.keys():
            yield from compare(theirs[key], ours[key], f"{where}.{key}")
    elif isinstance(theirs, list) and theirs:
        yield from _compare_lists(theirs, ours, where)


def _compare_lists(theirs, ours, where):
    """By what the elements are called, as the order is by chance."""
    first = theirs[0] if isinstance(theirs[0], dict) else {}
    identity = next((key for key in _IDENTITIES if key in first), None)
    if identity is None:
        for their, our in zip(theirs, ours):
            yield from compare(their, our, f"{where}[]")
        return
    found = {element[identity]: element for element in ours}
    common = [element for element in theirs if element[identity] in found]
    if not common:
        yield f"{where} has {sorted(map(str, found))}, none that was recorded"
    for element in common:
        yield from compare(element, found[element[identity]], f"{where}[{element[identity]}]")


def kind(value):
    """The JSON type of a value."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def unquote_ticket(body):
    """A form whose password is a ticket, with the ticket readable."""
    return unquote(body) if "PVE%3A" in body else body


def _import_sources(folder):
    """The files that the recorded imports name."""
    folder.mkdir()
    (folder / "sub").mkdir()
    make_image(folder / "marked.qcow2", 64 * _MIB, density=0.01)
    make_image(folder / "src64.raw", 64 * _MIB, "raw", density=0.01)
    marked = folder / "marked.qcow2"
    run(["cp", marked, folder / "sub/with space.qcow2"])
    run(["ln", "-s", marked, folder / "link.qcow2"])
    make_image(folder / "backed.qcow2", 64 * _MIB, backing=(marked, "qcow2"))
    (folder / "garbage.qcow2").write_bytes(b"garbage\n" * 64)


def _people(pve, exchanges):
    """Users and the token with the secrets that were recorded."""
    for exchange in exchanges:
        request, status = exchange["request"], exchange["response"]["status"]
        header = request["headers"].get("Authorization", "")
        match = re.match(r"PVEAPIToken=(\S+)!(\w+)=(\S+)", header)
        if match and status == 200:
            user, name, secret = match.groups()
            pve.control("set_token", user=user, name=name, secret=secret)
        match = re.match(r"username=([^&]+)&password=([^&]+)", request["body"] or "")
        if match and status == 200 and "PVE%3A" not in match.group(2):
            user, password = map(unquote, match.groups())
            if "@" in user:
                pve.control("set_password", user=user, password=password)
    # An administrator who is not root.
    privileges = [f"VM.Config.{w}" for w in "Disk CPU Memory Network HWType Options".split()]
    privileges += ["VM.Allocate", "Datastore.Allocate", "Datastore.AllocateSpace", "SDN.Use"]
    pve.control("grant", path="/", name="root@pve", privileges=privileges)


def _what_was_there(pve, exchanges):
    """Guests that were made before a recording began: as it shows them."""
    shown = {e["name"]: e["response"]["body"] for e in exchanges}
    for name, body in shown.items():
        match = re.fullmatch(r"07-config-(\d+)", name)
        if not match or not body["data"]:
            continue
        vmid, config = int(match.group(1)), dict(body["data"])
        del config["digest"]
        for value in config.values():
            _make_volume(pve, vmid, str(value))
        state = shown[f"08-status-current-{vmid}"]["data"]["status"]
        pve.control("add_guest", vmid=vmid, config=config, running=state == "running")


def _make_volume(pve, vmid, value):
    match = re.match(r"(\w+):((\d+)/base-[^,/]+/)?\d+/([^,]+).*size=(\d+)([MG])", value)
    if not match:
        return
    storage, base, _, name, size, unit = match.groups()
    if base:
        pve.control("linked_clone", storage=storage, base=base.rstrip("/"), vmid=vmid)
        return
    size = int(size) * (_MIB if unit == "M" else 1024 * _MIB)
    pve.alloc(storage, vmid, size, fmt=name.rpartition(".")[2], name=name)


@pytest.mark.parametrize("version", VERSIONS)
def test_replay(version, make_proxmox, record_property):
    """Everything that the plugin depends on is as it was on a real server."""
    pve = make_proxmox(
        version, port=18006, storages=[("local", "dir"), ("data", "dir")],
        settings={"task_duration": 0.0},
    )
    groups = [json.loads(path.read_text()) for path in sorted((_DATA / version).glob("*.json"))]
    exchanges = [exchange for group in groups for exchange in group]
    _import_sources(pve.folder / "import")
    _people(pve, exchanges)
    if groups[0][0]["name"] != "setup-create-100":
        _what_was_there(pve, exchanges)
    if version in ("8.4", "9.2"):
        pve.control("add_pool", name="prod", comment="Kommentar ä €")
        pve.control("add_pool", name="prod/sub")
    replay = Replay(pve, version)
    for exchange in exchanges:
        replay.play(exchange)
        if exchange["name"] == "setup-start-102":
            for vmid, config in _BY_HAND.get(version, {}).items():
                pve.control("set_guest", vmid=vmid, config=config)
    record_property("exchanges", replay.count)
    print(f"{replay.count} exchanges of Proxmox VE {version} replayed")
    assert not replay.differences, "\n".join(replay.differences)
    assert replay.count == _RECORDED[version]
