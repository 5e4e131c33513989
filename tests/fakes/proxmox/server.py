"""HTTPS in front of the node's API, and what can go wrong on the way."""

import errno
import io
import json
import socket
import ssl
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_FOREVER = 3600
_PATIENCE = 120
_HTML = b"<html><body>It works!</body></html>"


class _Records(io.RawIOBase):
    """Reads a TLS connection and counts the records that it took."""

    def __init__(self, connection):
        super().__init__()
        self._connection = connection
        self.count = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.count += 1
        return self._connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One connection; keeps it open until an error, as Proxmox does."""

    protocol_version = "HTTP/1.1"
    host = None  # set by the listener
    connections = None

    def setup(self):
        self.request.do_handshake()
        super().setup()
        self.connections.add(self.connection)
        self.records = _Records(self.connection)
        self.rfile = io.BufferedReader(self.records, 65536)

    def finish(self):
        self.connections.discard(self.connection)
        super().finish()

    def do_GET(self):
        self._serve("GET")

    def do_POST(self):
        self._serve("POST")

    def do_PUT(self):
        self._serve("PUT")

    def do_DELETE(self):
        self._serve("DELETE")

    def log_message(self, format, *args):
        """Requests are kept in memory; the control socket gives them out."""

    def _serve(self, method):
        records = self.records.count
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.host.settings["one_record"] and records != self.records.count:
            # A bug of some libraries under pveproxy 9: with a ticket the body
            # must come with the header.
            if "Cookie" in self.headers:
                self.cut()
                return
        path = self.path.removeprefix("/api2/json")
        self.asked = (method, self.path, self.headers, body)
        fault = self.host.faults.for_request(method, path)
        entry = {"method": method, "path": path, "body": body.decode(errors="replace")}
        entry["cookie"] = "Cookie" in self.headers
        self.host.requests.append(entry)
        answer = None
        if not fault or fault.get("done") or fault["action"] in _NEED_ANSWER:
            answer = self.host.api.answer(method, self.path, self.headers, body)
        if fault:
            entry["fault"] = fault["action"]
            _ACTIONS[fault["action"]](self, fault, answer)
        else:
            if answer[0] == 401:
                time.sleep(self.host.settings["delay_401"])
            entry["status"] = answer[0]
            self.send(*answer)

    def send(self, status, reason, document, raw=None, kind="application/json;charset=UTF-8"):
        """A whole answer; from 400 on the connection ends."""
        body = raw
        if body is None and document is not None:
            body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        self.wfile.write(self.head(status, reason, body, kind) + (body or b""))

    def head(self, status, reason, body, kind="application/json;charset=UTF-8"):
        """The status line and the headers."""
        self.close_connection = status >= 400
        now = formatdate(usegmt=True)
        lines = [
            f"HTTP/1.1 {status} {reason}",
            "Cache-Control: max-age=0",
            f"Connection: {'close' if self.close_connection else 'Keep-Alive'}",
            f"Date: {now}",
            "Pragma: no-cache",
            "Server: pve-api-daemon/3.0",
            *([] if body is None else [f"Content-Length: {len(body)}", f"Content-Type: {kind}"]),
            f"Expires: {now}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def cut(self):
        """Hang up."""
        self.close_connection = True


# What goes wrong with a request.


def _status(handler, fault, _):
    reason = fault.get("reason", "Service Unavailable")
    document = fault.get("document", {"data": None})
    handler.send(fault.get("status", 503), reason, document)


def _later(handler, fault, _):
    """pvedaemon stands still: pveproxy gives it up, and it does it all the same."""
    method, path, headers, body = handler.asked
    arguments = (method, path, dict(headers), body)
    threading.Timer(fault["seconds"], handler.host.api.answer, arguments).start()
    handler.send(596, "Connection timed out", None)


def _slow(handler, fault, answer):
    time.sleep(fault["seconds"])
    handler.send(*answer)


def _hang(handler, _, __):
    time.sleep(_FOREVER)
    handler.cut()


def _cut(handler, _, __):
    handler.cut()


def _bytes(answer):
    return json.dumps(answer[2]).encode()


def _cut_body(handler, _, answer):
    body = _bytes(answer)
    handler.wfile.write(handler.head(answer[0], answer[1], body) + body[: len(body) // 2])
    handler.cut()


def _half_json(handler, _, answer):
    body = _bytes(answer)
    handler.send(answer[0], answer[1], None, raw=body[: len(body) // 2])


def _drip(handler, fault, answer):
    body = _bytes(answer)
    handler.wfile.write(handler.head(answer[0], answer[1], body))
    for byte in body:
        handler.wfile.write(bytes([byte]))
        time.sleep(fault.get("seconds", 1))


def _garbage(handler, fault, _):
    handler.send(fault.get("status", 200), "OK", None, raw=_HTML, kind="text/html")


def _garbage_http(handler, _, __):
    handler.wfile.write(bytes(range(256)) * 4 + b"\r\n\r\n")
    handler.cut()


def _huge(handler, fault, _):
    handler.send(200, "OK", None, raw=b'{"data":"' + b"x" * fault["size"] + b'"}')


def _answer(handler, fault, _):
    handler.send(fault.get("status", 200), fault.get("reason", "OK"), fault["document"])


def _redirect(handler, fault, _):
    """Somewhere else, as no Proxmox does."""
    head = handler.head(fault.get("status", 302), "Found", b"")
    handler.wfile.write(head.replace(b"\r\n", f"\r\nLocation: {fault['to']}\r\n".encode(), 1))


_ACTIONS = {
    "status": _status,
    "later": _later,
    "slow": _slow,
    "hang": _hang,
    "cut": _cut,
    "cut-body": _cut_body,
    "half-json": _half_json,
    "drip": _drip,
    "garbage": _garbage,
    "garbage-http": _garbage_http,
    "huge": _huge,
    "answer": _answer,
    "redirect": _redirect,
}
_NEED_ANSWER = {"slow", "cut-body", "half-json", "drip"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that hangs up is no news; anything else is."""
        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, ssl.SSLError)):
            super().handle_error(request, client_address)

    def shutdown_request(self, request):
        try:
            request.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.close_request(request)


class Listener:
    """The port, which can be shut and opened again."""

    def __init__(self, host, address, certificate, key):
        self.address = address
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._connections = set()
        self._handler = type(
            "HostHandler", (Handler,), {"host": host, "connections": self._connections}
        )
        self._server = None

    def open(self):
        """Answer from now on; another test's host may still hold the port."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._server = _Server(self.address, self._handler)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        # The handshake is the connection's thread's: one that says nothing
        # must not keep the others out.
        self._server.socket = self._tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Refuse connections and end those that are open."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
