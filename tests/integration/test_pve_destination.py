"""Where a ticket of root's and an API token are sent: this host, or where the token's file says.

A Plugin line, also one that is typed at a console's `.ls plugin=`, can send neither anywhere else.
The servers of these tests collect what they are sent; the last test shows that they do.
"""

from pathlib import Path

import pytest
from harness.collector import Collector
from harness.process import run
from harness.pve_jobs import LINE, ask, assert_refused, one_version, start_bacula, with_guest

pytestmark = one_version

_TICKETS_ARE_FOR_HERE = "without a token only this host is asked, with its own certificate"
_FILE_DOES_NOT_SAY = "the token's file does not say so"


@pytest.fixture
def pve(make_proxmox):
    return with_guest(make_proxmox("9.1"))


@pytest.fixture
def bacula(pve, make_bacula):
    return start_bacula(make_bacula, pve)


@pytest.fixture
def neighbour(workdir):
    """A program of somebody on this machine."""
    with Collector(workdir / "neighbour") as server:
        yield server


@pytest.fixture
def elsewhere(workdir):
    """Another host."""
    with Collector(workdir / "elsewhere", elsewhere=True) as server:
        yield server


def _token_file(pve, second=""):
    path = pve.token_file()
    path.write_text(path.read_text() + second)
    return path


def test_ticket_and_another_host(bacula, pve, elsewhere):
    """Not even a connection is made there, whatever the Plugin line says of its certificate."""
    assert_refused(bacula, f"url={elsewhere.url}", "it is another host",
                   "API token whose second line says url=")
    for more in (f"fingerprint={elsewhere.fingerprint}", f"cafile={elsewhere.certificate}"):
        assert_refused(bacula, f"url={elsewhere.url} {more}", _TICKETS_ARE_FOR_HERE)
    assert elsewhere.connections == 0 and elsewhere.received == ""
    assert ask(bacula) == ["vm1"]
    job = bacula.run("VM")
    assert _TICKETS_ARE_FOR_HERE not in job.log and pve.requests("GET /version")


def test_ticket_and_another_program(bacula, neighbour):
    """On this host the host's own certificate counts, and no other."""
    assert_refused(bacula, f"url={neighbour.url}", "its certificate is not accepted")
    for more in (f"fingerprint={neighbour.fingerprint}", f"cafile={neighbour.certificate}"):
        assert_refused(bacula, f"url={neighbour.url} {more}", _TICKETS_ARE_FOR_HERE)
    assert neighbour.received == ""


def _certificate_of_another_node(pve, folder):
    """As the cluster's CA signs them: every node's is good for 127.0.0.1 and localhost."""
    key, request, made, names = (folder / f"pve-other.{ending}" for ending in ("key", "csr", "pem", "ext"))
    authority = pve.etc_pve / "pve-root-ca.pem", pve.etc_pve / "priv" / "pve-root-ca.key"
    names.write_text("subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:pve-other\n")
    run(["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request,
         "-subj", "/OU=PVE Cluster Node/CN=pve-other"])
    run(["openssl", "x509", "-req", "-in", request, "-out", made, "-days", "2", "-extfile", names,
         "-CA", authority[0], "-CAkey", authority[1], "-CAserial", folder / "serial", "-CAcreateserial"])
    run(["openssl", "verify", "-CAfile", authority[0], "-verify_ip", "127.0.0.1", made])
    return made, key


def test_another_node_behind_a_port_of_this_host(bacula, pve, workdir):
    """A forwarded port leads to another node: its certificate is the cluster's, and not this host's."""
    with Collector(workdir / "node", certificate=_certificate_of_another_node(pve, workdir)) as server:
        for line in ("", f"tokenfile={_token_file(pve)} "):
            assert_refused(bacula, f"{line}url={server.url}", "its certificate is not accepted")
            assert_refused(bacula, f"{line}url=https://localhost:{server.port}",
                           "its certificate is not accepted")
        assert server.received == "" and server.connections > 0
    assert ask(bacula) == ["vm1"]


def test_proxies_of_the_environment(make_bacula, pve, neighbour):
    """They are for others: nobody stands between the plugin and the API."""
    proxy = neighbour.url.replace("https:", "http:")
    environment = {name: proxy for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
    bacula = make_bacula(filesets={"VM": [LINE]}, fd_wrapper=pve.fd_wrapper, fd_env=environment)
    assert ask(bacula) == ["vm1"]
    assert neighbour.connections == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect(bacula, pve, neighbour, status):
    """Not followed, wherever it leads."""
    pve.fault("redirect", "^GET", to=f"{neighbour.url}/api2/json/version", status=status, times=-1)
    assert_refused(bacula, "", f"Proxmox says: Found (status {status})")
    assert neighbour.connections == 0


def test_name_that_leads_elsewhere_later(make_proxmox, make_bacula, elsewhere):
    """The address counts that is connected to, each time, and not the name."""
    pve = with_guest(make_proxmox("9.1", port=elsewhere.port))
    bacula = start_bacula(make_bacula, pve)
    line = f"url=https://wanderer.example.test:{pve.port}"
    hosts = Path(f"/proc/{bacula.fd_pid}/root/etc/hosts")
    here, there = (f"{address} wanderer.example.test\n" for address in ("127.0.0.1", elsewhere.address))
    hosts.write_text(here)
    assert ask(bacula, line) == ["vm1"]
    hosts.write_text(there)
    assert_refused(bacula, line, "it is another host")
    hosts.write_text(here + there)
    pve.control("down")
    assert_refused(bacula, line, "it is another host")
    assert elsewhere.connections == 0


def test_token_for_this_host(bacula, pve, neighbour, elsewhere):
    """Without a second line in its file: as a ticket."""
    line = f"tokenfile={_token_file(pve)}"
    assert ask(bacula, line) == ["vm1"]
    for server in (neighbour, elsewhere):
        for more in (f"fingerprint={server.fingerprint}", f"cafile={server.certificate}"):
            assert_refused(bacula, f"{line} url={server.url} {more}", _FILE_DOES_NOT_SAY,
                           "the second line of that file")
    assert_refused(bacula, f"{line} url={elsewhere.url}", "it is another host")
    assert_refused(bacula, f"{line} url={neighbour.url}", "its certificate is not accepted")
    assert neighbour.received == elsewhere.received == ""
    assert elsewhere.connections == 0


def test_token_for_another_host(bacula, pve, neighbour, elsewhere):
    """It goes where its file says, with that certificate, and nowhere else."""
    file = _token_file(pve, f"url={elsewhere.url} fingerprint={elsewhere.fingerprint}\n")
    line = f"tokenfile={file}"
    for more in (f"url={neighbour.url}", f"url={pve.url}", f"fingerprint={neighbour.fingerprint}",
                 f"cafile={neighbour.certificate}"):
        assert_refused(bacula, f"{line} {more}", _FILE_DOES_NOT_SAY)
    assert neighbour.connections == elsewhere.connections == 0 and pve.requests() == []

    file.write_text(file.read_text().replace(elsewhere.fingerprint, neighbour.fingerprint))
    assert_refused(bacula, line, "its certificate is not accepted")
    assert elsewhere.received == ""

    file.write_text(file.read_text().replace(neighbour.fingerprint, elsewhere.fingerprint))
    assert ask(bacula, line) == []
    token = file.read_text().splitlines()[0]
    assert f"Authorization: PVEAPIToken={token}" in elsewhere.received
    assert neighbour.received == "" and pve.requests() == []


def test_ticket_would_be_collected(workdir, make_proxmox, make_bacula):
    """The host's own certificate at another port: what the other tests look for does come."""
    pve = with_guest(make_proxmox("9.1"))
    bacula = start_bacula(make_bacula, pve)
    with Collector(workdir / "own") as server:
        (pve.etc_pve / "local" / "pveproxy-ssl.pem").write_bytes(server.certificate.read_bytes())
        assert ask(bacula, f"url={server.url}") == []
        assert "Cookie: PVEAuthCookie=PVE:root@pam:" in server.received
