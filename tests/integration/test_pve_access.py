"""The way to a Proxmox host's API: certificates, tickets, tokens, and that they stay secret.

`.ls` asks the API one question, so it shows in no time what a job would say.
"""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from harness import listing
from harness.disk import MIB
from harness.process import PATIENCE, run, wait_until
from harness.pve_guest import Volume
from harness.pve_jobs import (
    LINE,
    ask,
    assert_nothing_left,
    assert_refused,
    one_version,
    start_bacula,
    with_guest,
)
from harness.pve_manual import rights_of

pytestmark = one_version

_HOUR = 3600


@pytest.fixture
def pve(make_proxmox):
    """A host whose only guest is in its list alone."""
    return with_guest(make_proxmox("7.2"))


@pytest.fixture
def bacula(pve, make_bacula):
    return start_bacula(make_bacula, pve)


# Certificates

_RENEW = "renew the host's certificates (pvecm updatecerts)"


def _shown_certificate(pve):
    """The bad one that the server shows."""
    (path,) = pve.folder.glob("certificate-*/pve-ssl.pem")
    return path


def _token_file(pve, place):
    """A token whose file says that it may be sent to this very server, known by its certificate."""
    path = pve.token_file()
    path.write_text(f"{path.read_text()}url={pve.url} {place}\n")
    return f"tokenfile={path}"


def _fingerprint(certificate):
    line = run(["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"])
    return line.strip().partition("=")[2]


_COMPLAINTS = {
    "other-ca": "unable to get local issuer certificate",
    "wrong-name": "no alternative certificate subject name matches target host name",
    "expired": "certificate has expired",
}


@pytest.mark.parametrize("kind", _COMPLAINTS)
def test_wrong_certificate(kind, make_proxmox, make_bacula):
    """Refused before anything is sent; whoever names this very one, in a token's file, means it."""
    pve = with_guest(make_proxmox("9.1", certificate=kind))
    bacula = start_bacula(make_bacula, pve)
    api = f"Proxmox API at {pve.url}: GET /nodes/pve9/qemu: its certificate is not accepted: SSL"
    assert_refused(bacula, "", api, _RENEW)
    cluster = _token_file(pve, f"cafile={pve.etc_pve / 'pve-root-ca.pem'}")
    assert_refused(bacula, cluster, api, _COMPLAINTS[kind], _RENEW)
    assert pve.requests() == []
    shown = _shown_certificate(pve)
    assert ask(bacula, _token_file(pve, f"fingerprint={_fingerprint(shown)}")) == ["vm1"]
    (pve.etc_pve / "local" / "pveproxy-ssl.pem").write_bytes(shown.read_bytes())
    assert ask(bacula) == ["vm1"]
    if kind == "other-ca":
        ca = shown.with_name("ca.pem")
        assert ask(bacula, _token_file(pve, f"cafile={ca}")) == ["vm1"]


def test_what_is_trusted(make_proxmox, make_bacula):
    """What a token's file says counts rather than the host's files; a pinned one alone counts."""
    pve = with_guest(make_proxmox("6.4", certificate="other-ca"))
    bacula = start_bacula(make_bacula, pve)
    shown, ours = _shown_certificate(pve), pve.etc_pve / "local" / "pve-ssl.pem"
    bad = "its certificate is not accepted: SSL"
    digest = _fingerprint(shown).lower().replace(":", "")
    assert ask(bacula, _token_file(pve, f"fingerprint={digest}")) == ["vm1"]
    assert_refused(bacula, _token_file(pve, f"fingerprint={_fingerprint(ours)}"), bad, _RENEW)
    own = pve.etc_pve / "local" / "pveproxy-ssl.pem"
    own.write_bytes(ours.read_bytes())
    assert_refused(bacula, "", bad, _RENEW)
    own.write_bytes(shown.read_bytes())
    own_ca = f"cafile={pve.etc_pve}/pve-root-ca.pem"
    assert_refused(bacula, _token_file(pve, own_ca), _COMPLAINTS["other-ca"])
    own.write_text("no certificate")
    assert_refused(bacula, "", '"/etc/pve/local/pveproxy-ssl.pem" holds no certificate')
    assert len(pve.requests()) == 1


def test_files_of_certificates(pve, bacula, workdir):
    """A cafile that is missing or none, a fingerprint that is none."""
    garbage = workdir / "garbage.pem"
    garbage.write_text("nothing")
    count = len(pve.requests())
    missing = _token_file(pve, f"cafile={workdir}/none")
    assert_refused(bacula, missing, f'CA file "{workdir}/none" cannot be read')
    wrong = _token_file(pve, f"cafile={garbage}")
    assert_refused(bacula, wrong, "its certificate is not accepted", _RENEW)
    assert_refused(bacula, "fingerprint=AB:CD", '"fingerprint": "AB:CD" is not possible; it takes')
    (pve.etc_pve / "local" / "pve-ssl.pem").unlink()
    assert_refused(bacula, "", "this host's certificate \"/etc/pve/local/pve-ssl.pem\" cannot be read",
                   "mode=PVE is for a File Daemon that runs as root on a Proxmox VE")
    assert len(pve.requests()) == count


def test_url(make_proxmox, make_bacula):
    """Another port and another name of the host; never without TLS."""
    pve = with_guest(make_proxmox("9.1", port=18107))
    bacula = start_bacula(make_bacula, pve)
    assert ask(bacula, f"url={pve.url}") == ask(bacula, "url=https://localhost:18107/") == ["vm1"]
    assert_refused(bacula, "", "Proxmox API at https://127.0.0.1:8006: GET /nodes/pve9/qemu: ",
                    "the connection failed", "see whether pveproxy runs on that host")
    for url in ("http://127.0.0.1:18107", "https://root:secret@127.0.0.1:18107", "127.0.0.1"):
        assert_refused(bacula, f"url={url}", "it takes https://HOST:PORT")


# Tickets


def _statuses(pve):
    return [request.get("status") for request in pve.control("requests")]


def _run_and_meanwhile(bacula, pve, disturb):
    """A job whose first question is answered late; what is done before it is."""
    pve.fault("slow", match="GET /version", seconds=2)
    jobid = bacula.run("VM", wait=False)
    wait_until(lambda: pve.requests("GET /version"), PATIENCE, "the first request")
    time.sleep(0.1)  # the answer is made before it is late
    disturb()
    result = bacula.wait(jobid)
    assert result.ok and "Finish backup of vm1/drive-scsi0" in result.log, result.log


@pytest.mark.parametrize("what", ["expired", "key rotated", "key rotated, old one gone"])
def test_ticket_that_no_longer_counts(what, make_proxmox, make_bacula):
    """A new one is signed once, with the key that counts then, and the job goes on."""
    pve = make_proxmox("9.1")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    bacula = start_bacula(make_bacula, pve)
    disturb = {
        "expired": lambda: pve.control("expire_tickets"),
        "key rotated": lambda: pve.control("rotate_key"),
        "key rotated, old one gone": lambda: pve.control("rotate_key", forget_old=True),
    }
    _run_and_meanwhile(bacula, pve, disturb[what])
    assert _statuses(pve).count(401) == (0 if what == "key rotated" else 1)
    assert_nothing_left(pve, bacula)


def test_tickets_that_never_count(pve, bacula):
    """Tried again once with each digest that Proxmox may want, then given up."""
    why = ("permission denied - invalid PVE ticket (status 401)",
           "check the host's clock, and that pvestatd and pvedaemon run")
    pve.control("age_key", seconds=25 * _HOUR)  # nobody rotated it: new tickets do not count
    assert_refused(bacula, "", *why)
    pve.control("age_key", seconds=60)
    pve.control("clock", offset=3 * _HOUR)
    assert_refused(bacula, "", *why)
    assert _statuses(pve) == [401] * 6
    pve.control("clock", offset=0)
    key = pve.etc_pve / "priv" / "authkey.key"
    key.write_text("no key")
    assert_refused(bacula, "", '"/etc/pve/priv/authkey.key": no ticket can be signed with it')
    key.unlink()
    assert_refused(bacula, "", "/etc/pve/priv/authkey.key", "run the File Daemon as root")


# Tokens


def test_tokenfile(pve, bacula):
    """Only root may read it; what is wrong with it is said, and never what is in it."""
    good = pve.token_file(name="good")
    secret = good.read_text().strip().partition("=")[2]
    assert ask(bacula, f"tokenfile={good}") == ["vm1"]
    assert [request["cookie"] for request in pve.control("requests")] == [False]

    pve.control("revoke_token", user="root@pam", name="good")
    assert_refused(bacula, f"tokenfile={good}", "no such token 'good' for user 'root@pam'",
                    "check the API token in tokenfile=: it may be wrong, expired or revoked")
    wrong = pve.token_file(name="other")
    token = wrong.read_text().strip()
    wrong.write_text(f"{token[:-4]}beef")
    assert_refused(bacula, f"tokenfile={wrong}", "invalid token value!", "check the API token")
    assert _statuses(pve)[1:] == [401, 401]

    for content in ("", "\n", "hello", token.partition("=")[0], f"PVEAPIToken={token} x",
                    token.replace("!", "!\t"), "x" * 5000):
        wrong.write_text(content)
        assert_refused(bacula, f"tokenfile={wrong}", f'"{wrong}": it holds no API token',
                        "its first line is USER@REALM!ID=SECRET")
    wrong.write_text(f"{token}\nurl=https://127.0.0.1:8006\n")
    assert_refused(bacula, f"tokenfile={wrong}", "does not say where the token may be sent")
    for mode in (0o640, 0o604, 0o601):
        good.chmod(mode)
        assert_refused(bacula, f"tokenfile={good}", f'others may read "{good}" (mode {mode:o})',
                        f"chmod 600 {good}, and make a new token: this one may be known")
    good.chmod(0o600)
    os.chown(good, 1000, 0)
    assert_refused(bacula, f"tokenfile={good}", f'"{good}" belongs to user 1000')
    assert_refused(bacula, f"tokenfile={good}x", f'cannot open "{good}x": No such file')
    assert_refused(bacula, f"tokenfile={good.parent}", f'"{good.parent}" is no file')
    assert _statuses(pve)[3:] == []
    log = bacula.fd_log()
    assert secret not in log and token.partition("=")[2] not in log


def test_token_with_few_rights(make_proxmox, make_bacula):
    """The role qemu-fd-backup of docs/reference/proxmox.md suffices for backup and listing."""
    pve = make_proxmox("9.1")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    rights = rights_of("qemu-fd-backup")
    assert rights == dict.fromkeys(("/vms", "/storage"), ["VM.Audit", "VM.Config.Disk", "Datastore.Audit"])
    line = f"{LINE} tokenfile={pve.token_file(privileges=rights)}"
    bacula = start_bacula(make_bacula, pve, line)
    result = bacula.run("VM")
    assert result.ok and "Finish backup of vm1/drive-scsi0" in result.log, result.log
    assert listing.total(bacula.ls(line, "/storage"))[0] == 3
    assert not any(request["cookie"] for request in pve.control("requests"))

    # Taken away between the list and the guest.
    pve.fault("status", match="/config", status=403, times=-1,
              reason="Permission check failed (/vms/100, VM.Audit)")
    result = bacula.run("VM")
    said = (
        f'guest "vm1" (100): Proxmox API at {pve.url}: GET /nodes/pve9/qemu/100/config: Proxmox says:'
        " Permission check failed (/vms/100, VM.Audit) (status 403); give the token's role what"
        " docs/reference/proxmox.md lists"
    )
    assert re.findall(r"Error: qemu: (.*)", result.log) == [said]
    assert_nothing_left(pve, bacula)


def test_token_without_rights(make_proxmox, make_bacula):
    """Proxmox shows it no guest and refuses nothing: without a word backups would be empty."""
    pve = make_proxmox("9.1")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    line = f"{LINE} tokenfile={pve.token_file(privileges={})}"
    result = start_bacula(make_bacula, pve, line).run("VM")
    assert "VM.Audit" in result.log


# Secrets

_TICKET = r"PVE:root@pam:[0-9A-Fa-f]{8}::|PVEAuthCookie|CSRFPreventionToken: |PVEAPIToken"


def _arguments(session):
    """The command lines of a daemon and all that it has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == session:
                found.append((path / "cmdline").read_bytes())
        except OSError:
            pass  # it has ended
    return b"\n".join(found)


class _Watch:
    """Remembers the command lines of a daemon's family while it works."""

    def __init__(self, session):
        self.seen = set()
        self._session = session
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._done.wait(0.01):
            self.seen.add(_arguments(self._session))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def test_secrets_stay_secret(make_proxmox, make_bacula):
    """Neither ticket nor token is in a log, a trace at its finest, a backup or an argument."""
    pve = make_proxmox("7.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=2 * MIB)})
    file = pve.token_file()
    secret = file.read_text().strip().partition("=")[2]
    lines = {"ticket": [LINE], "token": [f"{LINE} tokenfile={file}"]}
    bacula = make_bacula(filesets=lines, fd_wrapper=pve.fd_wrapper, fd_debug=800)
    pattern = re.compile(f"{secret}|{_TICKET}".encode())
    logs = []
    with _Watch(bacula.fd_pid) as watch:
        for job in lines:
            result = bacula.run(job)
            logs.append(result.log)
            logs.append(bacula.restore(result.jobid, "/").log)
            assert "Successfully imported device drive-scsi0" in logs[-1], logs[-1]
    assert any(b"qemu-img" in arguments for arguments in watch.seen)
    assert not any(pattern.search(arguments) for arguments in watch.seen)

    pve.control("revoke_token", user="root@pam", name="backup")
    pve.control("age_key", seconds=25 * _HOUR)
    for job in lines:
        refused = bacula.run(job)
        assert refused.status == "f" and "(status 401)" in refused.log
        logs.append(refused.log)
    trace = bacula.fd_log()
    assert "Proxmox: GET /version: 401" in trace and "Proxmox: GET /version: 200" in trace
    assert not pattern.search("".join([*logs, trace]).encode())
    files = [path for path in bacula.folder.rglob("*") if path.is_file()]
    files = [path for path in files if "plugins" not in path.parts]
    assert not [path for path in files if pattern.search(path.read_bytes())]
