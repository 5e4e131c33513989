"""Paths, their parameters, and who answers them."""

import json
import re
from urllib.parse import parse_qsl, unquote

from answers import Failed, Listing, Refusal, bad_parameters
from schema import MISSING, UNKNOWN, check_type, check_vmid
from versions import since

_SMALL, _LARGE = 64 * 1024, 512 * 1024  # of a body


def _boolean(value):
    return check_type("boolean", value) == "1"


def _natural(value):
    number = int(check_type("integer", value))
    if number < 0:
        raise ValueError("value must have a minimum value of 0")
    return number


def _pattern(expression):
    def check(value):
        if not re.fullmatch(expression, value):
            raise ValueError("value does not match the regex pattern")
        return value

    return check


def _one_of(*values):
    def check(value):
        if value not in values:
            known = ", ".join(values)
            raise ValueError(f"value '{value}' does not have a value in the enumeration '{known}'")
        return value

    return check


_LOG = {"start": _natural, "limit": _natural}
_START = {"timeout": _natural, "skiplock": _boolean, "machine": str, "forcecpu": str}
_SHUTDOWN = {"timeout": _natural, "forceStop": _boolean, "keepActive": _boolean,
             "skiplock": _boolean}
_CONTENT = {"vmid": check_vmid, "content": str}
_ALLOC = {
    "filename": str,
    "vmid": check_vmid,
    "size": _pattern(r"\d+[MG]?"),
    "format": _one_of("raw", "qcow2", "subvol", "vmdk"),
}
_DESTROY = dict.fromkeys(("purge", "destroy-unreferenced-disks", "skiplock"), _boolean)
_LISTED = {"content": str, "storage": str, "enabled": _boolean, "format": _boolean, "target": str}


class Api:
    """Answers requests of a caller, or refuses."""

    def __init__(self, host):
        self.host = host
        guests, changes, storages = host.guests, host.changes, host.storages
        volumes, tasks, node = host.volumes, host.tasks, host.about
        base = "/nodes/{node}"
        qemu, disk = base + "/qemu", base + "/storage"
        guest, content = qemu + "/{vmid}", disk + "/{storage}/content"
        # The fourth item: parameters, or None where the schema of guests decides.
        self._routes = [
            ("GET", "/version", node.version, {}),
            ("GET", "/nodes", node.nodes, {}),
            ("GET", base + "/version", node.version, {}),
            ("GET", base + "/status", node.status, {}),
            ("GET", "/cluster/status", node.cluster, {}),
            ("GET", "/cluster/nextid", guests.next_id, {"vmid": check_vmid}),
            ("GET", "/cluster/resources", guests.resources,
             {"type": _one_of("vm", "storage", "node", "sdn")}),
            ("GET", "/storage", storages.configuration, {"type": str}),
            ("GET", "/storage/{storage}", storages.configured, {}),
            ("GET", disk, storages.listing, _LISTED),
            ("GET", disk + "/{storage}/status", storages.status, {}),
            ("GET", content, volumes.listing, _CONTENT),
            ("POST", content, volumes.alloc, _ALLOC),
            ("GET", content + "/{volume}", volumes.describe, {}),
            ("DELETE", content + "/{volume}", volumes.remove, {"delay": _natural}),
            ("GET", qemu, guests.listing, {"full": _boolean}),
            ("POST", qemu, changes.create, None),
            ("DELETE", guest, changes.remove, _DESTROY),
            ("GET", guest + "/config", guests.config, {"current": _boolean, "snapshot": str}),
            ("PUT", guest + "/config", changes.update, None),
            ("POST", guest + "/config", changes.update_later, None),
            ("GET", guest + "/pending", guests.pending, {}),
            ("GET", guest + "/status/current", guests.current, {}),
            ("POST", guest + "/status/start", guests.power("start"), _START),
            ("POST", guest + "/status/stop", guests.power("stop"), _SHUTDOWN),
            ("POST", guest + "/status/shutdown", guests.power("shutdown"), _SHUTDOWN),
            ("POST", guest + "/template", guests.template, {"disk": str}),
            *host.firewall.routes(guest),
            ("GET", "/pools", host.pools.listing, {}),
            ("GET", "/pools/{pool}", host.pools.describe, {}),
            ("GET", base + "/tasks", tasks.listing, _LOG),
            ("GET", base + "/tasks/{upid}/status", tasks.status, {}),
            ("GET", base + "/tasks/{upid}/log", tasks.read_log, _LOG),
            *host.locks.routes(base, guest),
            *host.machines.routes(base),
        ]
        self._compiled = [
            (method, _compile(pattern), handler, schema)
            for method, pattern, handler, schema in self._routes
        ]

    def answer(self, method, target, headers, body):
        """(status, reason, document) of a request; None is no document."""
        try:
            data = self._data(method, target, headers, body)
            self.host.locks.write_files()
        except Refusal as refusal:
            return refusal.status, *self._refused(refusal)
        if isinstance(data, Listing):
            return 200, "OK", {"data": data.rows, "total": data.total}
        return 200, "OK", {"data": data}

    def _refused(self, refusal):
        text = refusal.text.rstrip("\n")
        if refusal.empty:
            return text, None
        document = {"data": None}
        if since(self.host.version, "8.4"):
            document["message"] = text if refusal.status == 501 else f"{text}\n"
            text = text.replace("\n", " ")
        if refusal.errors:
            document["errors"] = refusal.errors
        return text, document

    def _data(self, method, target, headers, body):
        path, _, query = target.partition("?")
        if not path.startswith("/api2/json"):
            raise Refusal(404, "no such file")
        path = path.removeprefix("/api2/json").rstrip("/")
        if len(body) > (_LARGE if since(self.host.version, "8.4") else _SMALL):
            raise Refusal(501, "for data too large")
        parameters = self._parameters(query, headers, body)
        if path == "/access/ticket":
            return self._ticket(method, parameters)
        caller = self.host.access.identify(method, headers)
        handler, schema, found = self._route(method, path)
        if "node" in found:
            self._check_node(found["node"])
        if schema is None:
            checked = {**_check(found, {}, {}), "body": parameters}
        else:
            checked = _check(found, parameters, schema, required=schema is _ALLOC)
        return handler(caller, checked)

    def _ticket(self, method, parameters):
        if method == "GET":
            return None
        if method != "POST":
            raise Refusal(501, f"Method '{method} /access/ticket' not implemented")
        schema = dict.fromkeys(("username", "password", "realm", "otp", "path", "privs"), str)
        schema["new-format"] = str
        checked = _check({}, parameters, schema)
        missing = {key: MISSING for key in ("username", "password") if key not in checked}
        if missing:
            raise bad_parameters(missing)
        return self.host.access.login(
            checked["username"], checked["password"], checked.get("realm")
        )

    def _route(self, method, path):
        for wanted, pattern, handler, schema in self._compiled:
            match = pattern.fullmatch(path)
            if match and wanted == method:
                return handler, schema, {k: unquote(v) for k, v in match.groupdict().items()}
        raise Refusal(501, f"Method '{method} {path}' not implemented")

    def _check_node(self, name):
        if name in ("localhost", self.host.node):
            return
        raise Failed(
            f"hostname lookup '{name}' failed - failed to get address info for: {name}:"
            " Name or service not known"
        )

    @staticmethod
    def _parameters(query, headers, body):
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        kind = headers.get("Content-Type", "").partition(";")[0]
        if body and kind == "application/json":
            try:
                document = json.loads(body)
            except ValueError:
                raise Refusal(400, "cannot parse JSON body") from None
            return parameters | {key: _plain(value) for key, value in document.items()}
        return parameters | dict(parse_qsl(body.decode(), keep_blank_values=True))


def _plain(value):
    """A value of a JSON body as the form has it."""
    return {True: "1", False: "0"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _compile(pattern):
    """A volume is the rest of its path, whether its slash is encoded or not."""
    expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
    return re.compile(expression.replace("(?P<volume>[^/]+)", "(?P<volume>.+)"))


def _check(found, parameters, schema, required=False):
    """Everything that a handler gets, or what is wrong with it."""
    checked, errors = {}, {}
    for key, value in {**parameters, **found}.items():
        rule = schema.get(key) or (check_vmid if key == "vmid" else str)
        if key not in found and key not in schema:
            errors[key] = UNKNOWN
            continue
        try:
            checked[key] = rule(value)
        except ValueError as error:
            errors[key] = str(error)
    if required:
        optional = ("format",)
        errors |= {k: MISSING for k in schema if k not in {**parameters} and k not in optional}
    if errors:
        raise bad_parameters(errors)
    return checked
