"""A plain client of the API, and tickets signed with nothing but openssl."""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import subprocess
import time
from .process import PATIENCE


def mint_ticket(folder, user="root@pam", when=None, digest="sha1"):
    """A ticket signed with the host's key, as its own tools would do it."""
    plain = f"PVE:{user}:{int(time.time() if when is None else when):08X}"
    signature = subprocess.run(
        ["openssl", "dgst", f"-{digest}", "-sign", folder / "priv/authkey.key"],
        input=plain.encode(), capture_output=True, check=True,
    ).stdout
    return f"{plain}::{base64.b64encode(signature).decode()}"


def mint_csrf(folder, user="root@pam", when=None):
    """The token that has to come with a change."""
    stamp = f"{int(time.time() if when is None else when):08X}"
    secret = _hmac((folder / "pve-www.key").read_bytes(), b"")
    return f"{stamp}:{_hmac(secret, f'{stamp}:{user}'.encode()).decode()}"


def _hmac(key, data):
    return base64.b64encode(hmac.new(key, data, hashlib.sha256).digest()).rstrip(b"=")


class Answer:
    """What came back."""

    def __init__(self, response):
        self.status = response.status
        self.reason = response.reason
        self.headers = dict(response.getheaders())
        self.text = response.read().decode()

    @property
    def body(self):
        """The JSON document; "" when there is none."""
        return json.loads(self.text) if self.text else ""

    @property
    def data(self):
        """What the answer is about."""
        return self.body["data"]


class Client:
    """One connection to a FakeProxmox, verified by the host's own CA."""

    def __init__(self, pve, timeout=PATIENCE):
        self.pve = pve
        authority = ssl.create_default_context(cafile=str(pve.etc_pve / "pve-root-ca.pem"))
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", pve.port, timeout=timeout, context=authority
        )

    def request(self, method, path, headers=None, body=None):
        """Any request below /api2/json."""
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        self._connection.request(
            method, f"/api2/json{path}", body=body and body.encode(), headers=headers
        )
        answer = Answer(self._connection.getresponse())
        if answer.headers.get("Connection") == "close":
            self._connection.close()
        return answer

    def as_root(self, method, path, body=None, **minting):
        """With a ticket and a CSRF token minted now."""
        headers = {"Cookie": f"PVEAuthCookie={mint_ticket(self.pve.etc_pve, **minting)}"}
        if method != "GET":
            headers["CSRFPreventionToken"] = mint_csrf(self.pve.etc_pve)
        return self.request(method, path, headers, body)

    def with_token(self, token, method, path, body=None):
        """With the content of a token file."""
        return self.request(method, path, {"Authorization": f"PVEAPIToken={token}"}, body)

    def close(self):
        """Hang up."""
        self._connection.close()
