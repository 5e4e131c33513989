"""The files of a Proxmox host that its API and its clients share.

    /etc/pve  ->  etc-pve     keys of tickets, certificates
    /etc/pve/local            a link to nodes/NAME, as on a real host
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_NAMES = "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:{node},DNS:{node}.example.test"


def openssl(*arguments, **options):
    """Run openssl; its output, or None when it fails."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, check=False, **options
    )
    return done.stdout if done.returncode == 0 else None


def lay_out(folder, node, certificate="good", cache=None):
    """Make what is missing; (certificate, key) that the server shows.

    The key pair of the tickets takes a second to make: a copy is kept in cache.

    certificate: good; other-ca (that nobody trusts); wrong-name (signed well,
    for somebody else); expired.
    """
    folder = Path(folder)
    own = folder / "nodes" / node
    own.mkdir(parents=True, exist_ok=True)
    (folder / "priv").mkdir(mode=0o700, exist_ok=True)
    if not (folder / "local").is_symlink():
        (folder / "local").symlink_to(f"nodes/{node}")
        _first_key_pair(folder, cache and Path(cache))
        _make_authority(folder / "pve-root-ca.pem", folder / "priv/pve-root-ca.key")
        _key(folder / "pve-www.key")
        os.chmod(folder / "pve-www.key", 0o640)
        _sign(folder, own / "pve-ssl", _NAMES.format(node=node))
    if certificate == "good":
        return own / "pve-ssl.pem", own / "pve-ssl.key"
    return _bad_certificate(folder, node, certificate)


def _first_key_pair(folder, cache):
    kept = cache and cache / "authkey.key"
    if kept and kept.exists():
        _install_key(folder, kept)
        return
    make_key_pair(folder)
    if kept:
        cache.mkdir(parents=True, exist_ok=True)
        new = cache / f"new.{os.getpid()}"
        shutil.copy(folder / "priv/authkey.key", new)
        os.replace(new, kept)


def make_key_pair(folder):
    """A new authkey.key and its authkey.pub."""
    with tempfile.TemporaryDirectory() as place:
        key = Path(place) / "key"
        openssl("genrsa", "-traditional", "-out", key, 2048)
        _install_key(folder, key)


def _install_key(folder, key):
    """Each file appears at once, as others may read them now."""
    private, public = folder / "priv/authkey.key", folder / "authkey.pub"
    shutil.copyfile(key, f"{private}.new")
    os.chmod(f"{private}.new", 0o600)
    openssl("rsa", "-in", key, "-pubout", "-out", f"{public}.new")
    os.replace(f"{private}.new", private)
    os.replace(f"{public}.new", public)


def fingerprint(certificate):
    """SHA-256 of a certificate, as the API shows it."""
    line = openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256")
    return line.decode().strip().partition("=")[2]


def _bad_certificate(folder, node, kind):
    # Not in the host's folder: no client may find it there.
    place = Path(tempfile.mkdtemp(prefix="certificate-", dir=folder.parent))
    authority = (folder / "pve-root-ca.pem", folder / "priv/pve-root-ca.key")
    names, dates = _NAMES.format(node=node), []
    if kind == "other-ca":
        authority = (place / "ca.pem", place / "ca.key")
        _make_authority(*authority)
    elif kind == "wrong-name":
        names = "subjectAltName=DNS:somebody-else.example.test"
    elif kind == "expired":
        dates = ["-startdate", "200101000000Z", "-enddate", "210101000000Z"]
    else:
        raise ValueError(f"unknown kind of certificate: {kind}")
    _sign(folder, place / "pve-ssl", names, authority, dates)
    return place / "pve-ssl.pem", place / "pve-ssl.key"


def _key(path):
    """The plugin never sees what kind these are, and these are quick to make."""
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    os.chmod(path, 0o600)


def _make_authority(certificate, key):
    _key(key)
    subject = "/CN=Proxmox Virtual Environment/OU=stand-in/O=PVE Cluster Manager CA"
    openssl("req", "-new", "-x509", "-days", 3650, "-key", key, "-out", certificate,
            "-subj", subject, "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def _sign(folder, name, names, authority=None, dates=()):
    """name.pem and name.key, signed by the host's own authority or another."""
    certificate, key = authority or (folder / "pve-root-ca.pem", folder / "priv/pve-root-ca.key")
    _key(f"{name}.key")
    subject = f"/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN={name.parent.name}"
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        (place / "index").touch()
        (place / "config").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={place}/index\nnew_certs_dir={place}\n"
            "policy=p\nrand_serial=yes\ndefault_md=sha256\ndefault_days=700\nunique_subject=no\n"
            "x509_extensions=x\nemail_in_dn=no\n[p]\ncommonName=optional\n"
            "organizationName=optional\norganizationalUnitName=optional\n[x]\n"
            f"basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n{names}\n"
        )
        openssl("req", "-new", "-key", f"{name}.key", "-out", place / "request", "-subj", subject)
        signed = openssl(
            "ca", "-batch", "-config", place / "config", "-cert", certificate, "-keyfile", key,
            "-in", place / "request", "-out", f"{name}.pem", "-notext", "-preserveDN", *dates,
        )
    if signed is None:
        raise RuntimeError(f"openssl did not sign {name}.pem")
