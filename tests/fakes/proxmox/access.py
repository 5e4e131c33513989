"""Who asks, whether that is so, and what they may do.

Tickets and CSRF tokens are verified against the host's files, which are read
anew each time: the plugin signs with the same files.
"""

import base64
import hashlib
import hmac
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from answers import Refusal, forbidden, unauthorised
from files import make_key_pair, openssl
from versions import since

_LIFETIME = 2 * 3600
_KEY_LIFETIME = 24 * 3600
_SKEW = 300

_CAPABILITIES = json.loads(Path(__file__).with_name("capabilities.json").read_text())


@dataclass(frozen=True)
class Caller:
    """A user, or one of a user's API tokens."""

    user: str
    token: str = ""

    @property
    def name(self):
        """As the API writes it."""
        return f"{self.user}!{self.token}" if self.token else self.user

    @property
    def is_root(self):
        """Only root itself, with a ticket: Proxmox compares the names."""
        return self.name == "root@pam"


class Access:
    """Users, tokens, rights, and the signatures that stand for them."""

    def __init__(self, folder, now, version):
        self.folder = Path(folder)
        self.now = now
        self.version = version
        self.passwords = {}
        self.tokens = {}  # (user, id) -> {"secret", "privsep"}
        self.acl = []  # (path, name, privileges)
        self.revoked = set()
        self.seen = set()
        self._good = {}

    # Who

    def identify(self, method, headers):
        """The Caller behind a request, or why not; newer ones do not say why."""
        try:
            return self._identify(method, headers)
        except Refusal as refusal:
            quiet = self.version == "8.4" or since(self.version, "9.2")
            if quiet and not re.search("No ticket|csrf", refusal.text):
                raise unauthorised("Authentication failed!") from None
            raise

    def _identify(self, method, headers):
        """The Caller behind a request; as on Proxmox a cookie beats a token."""
        cookie = re.search(r"PVEAuthCookie=([^;]*)", headers.get("Cookie", ""))
        authorisation = headers.get("Authorization", "")
        if cookie:
            ticket = _unescape(cookie.group(1))
            user = self.verify_ticket(ticket)
            if not user:
                raise unauthorised("permission denied - invalid PVE ticket")
            if method != "GET" and not self.verify_csrf(headers.get("CSRFPreventionToken"), user):
                raise unauthorised("Permission denied - invalid csrf token")
            return Caller(user)
        match = re.match(r"PVEAPIToken[= ](.*)", authorisation)
        if not match:
            raise unauthorised("No ticket")
        return self._token(match.group(1))

    def _token(self, text):
        match = re.fullmatch(r"([^!\s]+@[^!\s]+)!([A-Za-z][\w.-]+)=(.*)", text)
        if not match:
            raise unauthorised("no tokenid specified")
        user, name, secret = match.groups()
        token = self.tokens.get((user, name))
        if not token:
            raise unauthorised(f"no such token '{name}' for user '{user}'")
        if token["secret"] != secret:
            raise unauthorised("invalid token value!")
        return Caller(user, name)

    # Tickets

    def mint(self, user):
        """A ticket made now with the host's key."""
        plain = f"PVE:{user}:{int(self.now()):08X}"
        signature = openssl(
            "dgst", "-sha1", "-sign", self.folder / "priv/authkey.key", input=plain.encode()
        )
        return f"{plain}::{base64.b64encode(signature).decode()}"

    def verify_ticket(self, ticket):
        """The user that a ticket is for, or None."""
        match = re.fullmatch(r"(PVE:(\S+):([0-9A-F]{8}))::([^:\s]+)", ticket)
        if not match or ticket in self.revoked:
            return None
        plain, user, stamp, signature = match.groups()
        age = self.now() - int(stamp, 16)
        for name, rotated in (("authkey.pub", False), ("authkey.pub.old", True)):
            key = self.folder / name
            if not key.exists():
                continue
            youngest, oldest = self._ages(key, rotated)
            if youngest < age < oldest and self._signed(key, plain, signature):
                self.seen.add(ticket)
                return user
        return None

    def _ages(self, key, rotated):
        """Between which ages a key's tickets count (get_ticket_age_range)."""
        key_age = max(0, self.now() - key.stat().st_mtime)
        youngest, oldest = -_SKEW, _LIFETIME
        if rotated:
            youngest = key_age - _SKEW
        else:
            if key_age > _KEY_LIFETIME:
                youngest = key_age - _KEY_LIFETIME
            if key_age < _LIFETIME:
                oldest = key_age + _SKEW
        return youngest, oldest

    def _signed(self, key, plain, signature):
        """Let openssl check the signature, once for each ticket and key."""
        about = (key.read_bytes(), plain, signature)
        if about not in self._good:
            try:
                binary = base64.b64decode(signature, validate=True)
            except ValueError:
                return False
            with tempfile.NamedTemporaryFile() as file:
                file.write(binary)
                file.flush()
                checked = openssl(
                    "dgst", "-sha1", "-verify", key, "-signature", file.name, input=plain.encode()
                )
            self._good[about] = checked is not None
        return self._good[about]

    # CSRF tokens

    def csrf(self, user, stamp=None):
        """The token that a ticket's user has to send with a change."""
        stamp = stamp or f"{int(self.now()):08X}"
        key = (self.folder / "pve-www.key").read_bytes()
        secret = _base64(hmac.new(key, b"", hashlib.sha256).digest())
        digest = hmac.new(secret, f"{stamp}:{user}".encode(), hashlib.sha256).digest()
        return f"{stamp}:{_base64(digest).decode()}"

    def verify_csrf(self, token, user):
        """Whether a CSRF token is the user's and young enough."""
        match = re.fullmatch(r"([0-9A-F]{8}):(\S+)", token or "")
        if not match:
            return False
        age = self.now() - int(match.group(1), 16)
        return -_SKEW < age < _LIFETIME and token == self.csrf(user, match.group(1))

    # Log in

    def login(self, username, password, realm=None):
        """What POST /access/ticket gives."""
        user = f"{username}@{realm}" if realm else username
        if "@" not in user or not self._password_good(user, password):
            raise unauthorised("authentication failure", empty=False)
        return {
            "ticket": self.mint(user),
            "CSRFPreventionToken": self.csrf(user),
            "username": user,
            "cap": self._capabilities(user),
        }

    def _password_good(self, user, password):
        if password.startswith("PVE:"):
            return self.verify_ticket(password) == user
        return user in self.passwords and self.passwords[user] == password

    def _capabilities(self, user):
        """The table that the web interface hides its buttons by."""
        known = _CAPABILITIES[self.version]
        if user != "root@pam":
            return {area: {} for area in known}
        return {area: dict.fromkeys(privileges, 1) for area, privileges in known.items()}

    # Rights

    def privileges(self, caller, path):
        """What a caller may do there: None means everything."""
        if caller.user == "root@pam":
            granted = None
        else:
            granted = self._granted(caller.user, path)
        if caller.token and self.tokens[caller.user, caller.token].get("privsep"):
            own = self._granted(caller.name, path)
            return own if granted is None else own & granted
        return granted

    def _granted(self, name, path):
        """The entry nearest to a path counts, as deeper ones replace others."""
        found, depth = set(), -1
        for where, who, privileges in self.acl:
            inside = where == "/" or path == where or path.startswith(where + "/")
            if who == name and inside and len(where) > depth:
                found, depth = set(privileges), len(where)
        return found

    def may(self, caller, path, *privileges):
        """Whether a caller has any of the privileges there."""
        granted = self.privileges(caller, path)
        return granted is None or any(privilege in granted for privilege in privileges)

    def demand(self, caller, path, *privileges):
        """Refuse a caller who has none of the privileges there."""
        if not self.may(caller, path, *privileges):
            raise forbidden(f"{path}, {'|'.join(privileges)}")

    # Key rotation

    def rotate(self, forget_old=False):
        """Give the host a new key, as pvestatd does once a day."""
        public, old = self.folder / "authkey.pub", self.folder / "authkey.pub.old"
        old.write_bytes(public.read_bytes())
        if forget_old:
            old.unlink()
        make_key_pair(self.folder)


def _unescape(text):
    """Undo percent signs and leave a plus alone, as Proxmox does."""
    return re.sub("%([0-9A-Fa-f]{2})", lambda match: chr(int(match.group(1), 16)), text)


def _base64(binary):
    return base64.b64encode(binary).rstrip(b"=")
