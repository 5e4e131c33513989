"""The Proxmox stand-in: what it lets in, what it refuses, and its faults.

The recordings (test_proxmox_replay.py) hold no minted ticket, no rotated key
and no broken connection: that it plays those well is shown here.
"""

import http.client
import json
import socket
import ssl
import subprocess
import time

import pytest
from harness.disk import MIB
from harness.process import PATIENCE, wait_until
from harness.proxmox import VERSIONS, FakeProxmox
from harness.pve_api import Client, mint_csrf, mint_ticket
from harness.pve_jobs import seldom

_HOUR = 3600
_OFTEN = ("6.4", "8.4", "9.2")


@pytest.fixture(scope="module", params=[v if v in _OFTEN else seldom(v) for v in VERSIONS])
def host(request, tmp_path_factory):
    """One host of each version for all tests; each leaves it as it was."""
    folder = tmp_path_factory.mktemp("pve")
    storages = [("local", "dir"), ("local-lvm", "lvmthin"), ("thick", "lvm")]
    with FakeProxmox(request.param, folder, port=18006, storages=storages) as pve:
        yield pve


@pytest.fixture
def pve(host):
    """The host without faults and with a right clock."""
    yield host
    host.control("clear_faults")
    host.control("clock", offset=0)
    host.control("age_key", seconds=0)
    host.control("set", delay_401=0, one_record=False, task_duration=0.05)
    for vmid in host.vmids():
        host.control("destroy_guest", vmid=vmid)


@pytest.fixture
def client(pve):
    client = Client(pve)
    yield client
    client.close()


def _why(pve, reason):
    """Some do not say why they refuse somebody."""
    return "Authentication failed!" if pve.version in ("8.4", "9.2") else reason


def _try(client, ticket, method="GET", path="/version", **headers):
    headers = {"Cookie": f"PVEAuthCookie={ticket}", **headers}
    return client.request(method, path, headers)


# Tickets


def test_minted_ticket(pve, client):
    """Signed with the host's key it is as good as one from a log-in."""
    assert _try(client, mint_ticket(pve.etc_pve)).status == 200
    renewed = client.request(
        "POST", "/access/ticket",
        body=f"username=root@pam&password={mint_ticket(pve.etc_pve).replace('+', '%2B')}",
    )
    assert _try(client, renewed.data["ticket"]).status == 200


@pytest.mark.parametrize(
    "age, accepted",
    [(-250, True), (-350, False), (2 * _HOUR - 60, True), (2 * _HOUR + 60, False)],
)
def test_age_of_a_ticket(age, accepted, pve, client):
    """From five minutes in the future to two hours in the past."""
    pve.control("age_key", seconds=3 * _HOUR)
    answer = _try(client, mint_ticket(pve.etc_pve, when=time.time() - age))
    assert answer.status == (200 if accepted else 401)


@pytest.mark.parametrize("spoil", ["sha256", "user", "signature", "nonsense"])
def test_bad_ticket(spoil, pve, client):
    """SHA-256 is refused, and so is a signature of something else; the body is empty."""
    ticket = mint_ticket(pve.etc_pve, digest="sha256" if spoil == "sha256" else "sha1")
    if spoil == "user":
        ticket = ticket.replace("root@pam", "boss@pam")
    elif spoil == "signature":
        ticket = ticket[:-8] + "AAAAAAA="
    elif spoil == "nonsense":
        ticket = "PVE:root@pam"
    answer = _try(client, ticket)
    assert (answer.status, answer.reason) == (401, _why(pve, "permission denied - invalid PVE ticket"))
    assert answer.text == "" and "Content-Length" not in answer.headers


def test_key_that_nobody_rotated(pve, client):
    """A key older than a day: tickets made after its day are refused."""
    pve.control("age_key", seconds=24 * _HOUR + 600)
    assert _try(client, mint_ticket(pve.etc_pve)).status == 401
    assert _try(client, mint_ticket(pve.etc_pve, when=time.time() - 700)).status == 200


def test_rotated_key(pve, client):
    """The old key's tickets count until they are too old, then only the new key's."""
    before = mint_ticket(pve.etc_pve)
    pve.control("rotate_key")
    assert _try(client, before).status == 200
    assert _try(client, mint_ticket(pve.etc_pve)).status == 200
    (pve.etc_pve / "authkey.pub.old").unlink()
    assert _try(client, before).status == 401
    assert _try(client, mint_ticket(pve.etc_pve)).status == 200


def test_expired_tickets(pve, client):
    """What was used before is refused; a new one is not."""
    used = mint_ticket(pve.etc_pve)
    assert _try(client, used).status == 200
    pve.expire_tickets()
    assert _try(client, used).status == 401
    assert _try(client, mint_ticket(pve.etc_pve)).status == 200


def test_csrf(pve, client):
    """A change takes the user's own token that is young enough."""
    path = f"/nodes/{pve.node}/qemu/999/config"
    wrong = [None, "", mint_csrf(pve.etc_pve, "boss@pam"),
             mint_csrf(pve.etc_pve, when=time.time() - 2 * _HOUR - 9), "00000000:AAAA"]
    for token in wrong:
        headers = {} if token is None else {"CSRFPreventionToken": token}
        answer = _try(client, mint_ticket(pve.etc_pve), "PUT", path, **headers)
        assert (answer.status, answer.reason) == (401, "Permission denied - invalid csrf token")
    good = {"CSRFPreventionToken": mint_csrf(pve.etc_pve)}
    assert _try(client, mint_ticket(pve.etc_pve), "PUT", path, **good).status == 500


def test_delay_of_401(pve, client):
    """As slow as a test wants it: three seconds on a real host."""
    pve.control("set", delay_401=0.3)
    started = time.monotonic()
    assert client.request("GET", "/version").status == 401
    assert time.monotonic() - started >= 0.3


# Tokens


def test_tokens(pve, client):
    """A token counts until it is revoked, and needs no CSRF token."""
    token = pve.token(name="one")
    assert client.with_token(token, "GET", "/version").status == 200
    assert client.with_token(token, "PUT", f"/nodes/{pve.node}/qemu/9999/config").status == 500
    pve.control("revoke_token", user="root@pam", name="one")
    answer = client.with_token(token, "GET", "/version")
    why = _why(pve, "no such token 'one' for user 'root@pam'")
    assert (answer.status, answer.reason) == (401, why)


def test_token_with_few_rights(pve, client):
    """A token of root's with rights of its own has only those."""
    for vmid in (100, 101):
        pve.control("add_guest", vmid=vmid, config={"name": "x"}, running=True)
    token = pve.token(name="few", privileges={"/vms/100": ["VM.Audit"]})
    rows = client.with_token(token, "GET", f"/nodes/{pve.node}/qemu").data
    assert [int(row["vmid"]) for row in rows] == [100]
    refused = client.with_token(token, "GET", f"/nodes/{pve.node}/qemu/101/config")
    assert refused.reason == "Permission check failed (/vms/101, VM.Audit)"


def test_tasks_of_others(pve, client):
    """A token sees its own tasks; another one's only with Sys.Audit."""
    mine, other = (
        pve.token(name=name, privileges={"/vms": ["VM.PowerMgmt"]}) for name in ("me", "you")
    )
    upid = client.with_token(mine, "POST", f"/nodes/{pve.node}/qemu/105/status/stop").data
    path = f"/nodes/{pve.node}/tasks/{upid}/status"
    assert client.with_token(mine, "GET", path).status == 200
    assert client.with_token(other, "GET", path).status == 403
    assert client.as_root("GET", path).status == 200


# Volumes and new guests


def _alloc(client, token, storage, vmid, name, size):
    body = f"vmid={vmid}&filename={name}&size={size}"
    node = client.pve.node
    answer = client.with_token(token, "POST", f"/nodes/{node}/storage/{storage}/content", body)
    assert answer.status == 200, answer.reason
    volid = answer.data.replace("/", "%2F")
    path = f"/nodes/{node}/storage/{storage}/content/{volid}"
    return answer.data, client.with_token(token, "GET", path).data


@pytest.mark.parametrize("storage", ["local", "local-lvm", "thick"])
def test_new_guest_with_volume(storage, pve, client):
    """As a restore does it: allocate, fill, make the guest; then remove both."""
    token = pve.token(name="restore")
    name = "vm-150-disk-0" + (".qcow2" if storage == "local" else "")
    volid, volume = _alloc(client, token, storage, 150, name, "5000")
    assert volid == f"{storage}:" + (f"150/{name}" if storage == "local" else name)
    # Logical volumes grow to whole extents.
    assert volume["size"] == 5000 * 1024 if storage == "local" else 8 * MIB
    if storage != "local":
        first = open(volume["path"], "rb").read(4096)
        assert any(first) == (storage == "thick")
    created = client.with_token(
        token, "POST", f"/nodes/{pve.node}/qemu", f"vmid=150&memory=32&scsi0={volid}"
    )
    _wait_for_task(client, created.data, "OK")
    assert pve.config(150)["scsi0"].startswith(volid)
    removed = client.with_token(token, "DELETE", f"/nodes/{pve.node}/qemu/150")
    _wait_for_task(client, removed.data, "OK")
    assert 150 not in pve.vmids() and volid not in pve.volumes()


def _wait_for_task(client, upid, expected):
    path = f"/nodes/{client.pve.node}/tasks/{upid}/status"
    about = wait_until(
        lambda: (data := client.as_root("GET", path).data)["status"] == "stopped" and data,
        PATIENCE, "the task to end",
    )
    assert about["exitstatus"] == expected


def _create(client, vmid, expected=200):
    answer = client.as_root("POST", f"/nodes/{client.pve.node}/qemu", f"vmid={vmid}&memory=32")
    assert answer.status == expected, answer.reason
    return answer


def test_locked_guest(pve, client):
    """A lock keeps changes and removal away, until somebody unlocks by hand."""
    pve.control("add_guest", vmid=100, config={"name": "x", "lock": "backup"})
    path = f"/nodes/{pve.node}/qemu/100"
    assert client.as_root("PUT", f"{path}/config", "memory=48").reason == "VM is locked (backup)"
    assert client.as_root("GET", f"{path}/config").data["lock"] == "backup"
    _wait_for_task(client, client.as_root("DELETE", path).data, "VM is locked (backup)")
    assert 100 in pve.vmids()


def test_guest_of_another_node(pve, client):
    """It is in the cluster's list only, and its number is taken."""
    pve.control("add_guest", vmid=100, config={"name": "far"}, node="elsewhere", running=True)
    assert client.as_root("GET", f"/nodes/{pve.node}/qemu").data == []
    rows = client.as_root("GET", "/cluster/resources?type=vm").data
    assert [row["node"] for row in rows] == ["elsewhere"]
    assert client.as_root("GET", "/cluster/nextid").data == "101"
    assert "already exists on node 'elsewhere'" in _create(client, 100, 500).reason


# Faults


def test_somebody_is_quicker(pve, client):
    """The number is free when asked for, and taken when it is used."""
    pve.fault("take-vmid", vmid=150)
    assert client.as_root("GET", "/cluster/nextid?vmid=150").data == "150"
    assert "VM 150 already exists" in _create(client, 150, 500).reason
    assert pve.config(150)["name"] == "somebody-elses"


def test_task_that_fails(pve, client):
    """The call is answered well; the failed creation leaves no configuration."""
    pve.fault("task-fail", task="qmcreate", text="unable to create VM 150 - no space")
    assert 150 not in pve.vmids()
    _wait_for_task(client, _create(client, 150).data, "unable to create VM 150 - no space")
    assert 150 not in pve.vmids()
    _wait_for_task(client, _create(client, 151).data, "OK")


def test_task_that_never_ends(pve, client):
    """It says that it runs, with an empty log."""
    pve.fault("task-hang", task="qmcreate")
    path = f"/nodes/{pve.node}/tasks/{_create(client, 150).data}"
    time.sleep(0.2)
    assert client.as_root("GET", f"{path}/status").data["status"] == "running"
    assert client.as_root("GET", f"{path}/log").data == [{"n": 1, "t": "no content"}]


def test_refusals_that_end(pve, client):
    """503 as often as wanted, only where it is wanted, then all is well."""
    pve.fault("status", match="GET /version", status=503, times=2, skip=1)
    codes = [client.as_root("GET", "/version").status for _ in range(4)]
    assert codes == [200, 503, 503, 200]
    pve.fault("status", match="GET /version", status=500, reason="a very own text")
    assert client.as_root("GET", "/nodes").status == 200
    assert client.as_root("GET", "/version").reason == "a very own text"


@pytest.mark.parametrize("action", ["cut", "cut-body", "garbage-http"])
def test_broken_connection(action, pve, client):
    """No whole answer comes."""
    pve.fault(action, match="GET /version")
    with pytest.raises((http.client.HTTPException, OSError)):
        client.as_root("GET", "/version")
    client.close()
    assert client.as_root("GET", "/version").status == 200


@pytest.mark.parametrize("action", ["garbage", "half-json"])
def test_answer_that_is_no_json(action, pve, client):
    """HTTP is well, its content is not."""
    pve.fault(action, match="GET /version")
    answer = client.as_root("GET", "/version")
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        _ = answer.body


def test_slow_and_huge(pve, client):
    """Late, in drops, and too much."""
    pve.fault("slow", match="GET /version", seconds=0.3)
    started = time.monotonic()
    assert client.as_root("GET", "/version").status == 200
    assert time.monotonic() - started >= 0.3
    pve.fault("drip", match="GET /version", seconds=0.001)
    assert client.as_root("GET", "/version").data["release"] == pve.version
    pve.fault("huge", match="GET /version", size=3 * MIB)
    assert len(client.as_root("GET", "/version").data) == 3 * MIB
    hasty = Client(pve, timeout=0.3)
    pve.fault("hang", match="GET /version")
    with pytest.raises(TimeoutError):
        hasty.as_root("GET", "/version")


def test_done_but_not_said(pve, client):
    """The change is made, and the answer is lost on the way."""
    pve.fault("cut", match="POST .*/qemu$", done=True)
    with pytest.raises((http.client.HTTPException, OSError)):
        _create(client, 150)
    wait_until(lambda: 150 in pve.vmids(), PATIENCE, "the guest")


def test_down_and_up(pve, client):
    """Nobody listens; later somebody does."""
    assert client.as_root("GET", "/version").status == 200
    pve.control("down")
    with pytest.raises((http.client.HTTPException, OSError)):
        client.as_root("GET", "/version")
    client.close()
    with pytest.raises(ConnectionRefusedError):
        client.as_root("GET", "/version")
    pve.control("up")
    client.close()
    assert client.as_root("GET", "/version").status == 200


def test_body_in_a_record_of_its_own(pve):
    """Some hosts drop such a change when it comes with a ticket."""
    pve.control("set", one_record=True)
    ticket, csrf = mint_ticket(pve.etc_pve), mint_csrf(pve.etc_pve)
    header = (
        f"PUT /api2/json/nodes/{pve.node}/qemu/999/config HTTP/1.1\r\nHost: x\r\n"
        f"Cookie: PVEAuthCookie={ticket}\r\nCSRFPreventionToken: {csrf}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n"
    ).encode()
    context = ssl.create_default_context(cafile=str(pve.etc_pve / "pve-root-ca.pem"))
    for parts, expected in (([header + b"memory=64"], b"HTTP"), ([header, b"memory=64"], b"")):
        with socket.create_connection(("127.0.0.1", pve.port)) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                for part in parts:
                    connection.sendall(part)
                assert connection.recv(4) == expected


@pytest.mark.parametrize(
    "certificate, complaint",
    [
        ("other-ca", "unable to get local issuer certificate"),
        ("wrong-name", "IP address mismatch"),
        ("expired", "certificate has expired"),
    ],
)
def test_bad_certificate(certificate, complaint, make_proxmox):
    """A client that verifies does not even ask."""
    pve = make_proxmox("7.2", port=18007, certificate=certificate)
    with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
        Client(pve).request("GET", "/version")


def test_certificate_by_the_usual_names(pve):
    """It is good for localhost, 127.0.0.1 and the node's name, as on a real host."""
    authority = pve.etc_pve / "pve-root-ca.pem"
    for name in ("localhost", "127.0.0.1", pve.node):
        command = ["openssl", "verify", "-CAfile", authority]
        command += ["-verify_ip" if name[0] == "1" else "-verify_hostname", name]
        subprocess.run([*command, pve.etc_pve / "local/pve-ssl.pem"], check=True)
