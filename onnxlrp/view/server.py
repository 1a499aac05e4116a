"""The server of the page: on the loopback address alone, for whoever knows its token.

A request is answered where its host is this machine by name, it comes from the page itself, and its address begins with
the token. So no other machine, no other site in the browser (by a link, a form, a script, or a name of its own that
leads here) and no other user without the token gets an answer. Nothing is written to a file.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files as resources
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from ..errors import OnnxLrpError, UsageError
from ..version import __version__
from ..web import site
from .asked import Asked, read
from .session import Session, Superseded

HOST = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost")
LARGEST_SAMPLE = 64 << 20
LARGEST_REQUEST = 1 << 20
_PATIENCE = 60.0  # seconds for a request to arrive
_DRAINED = 512 << 20  # bytes of a refused body that are read
_LISTED = 120  # samples of a list

_OWN = ("index.html", "app.js", "style.css", "stage.js", "layers.js")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: The status of HTTP.
        message: What is wrong.
        fix: What to do.
    """

    def __init__(self, status: int, message: str, fix: str) -> None:
        super().__init__(message)
        self.status, self.message, self.fix = status, message, fix


class Reply(NamedTuple):
    """What is sent back."""

    content: bytes
    type: str = "application/json"
    status: int = 200


class Server(ThreadingHTTPServer):
    """Serves the page and its requests.

    Args:
        session: What answers.
        port: The port; 0 for any that is free.
        loud: Print tracebacks of bugs.

    Raises:
        UsageError: The port cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = sys.platform != "win32"  # there it would let two servers share a port

    def __init__(self, session: Session, port: int = 0, loud: bool = False) -> None:
        self.session, self.loud, self.token = session, loud, secrets.token_urlsafe(24)
        self.page = _page()
        if not 0 <= port < 1 << 16:
            raise UsageError(f"--port {port}", "give a port from 1 to 65535, or 0 for any that is free")
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            why = "is in use" if not isinstance(error, PermissionError) else "is not for every user"
            raise UsageError(f"port {port} of this machine {why}", "leave out --port for one that is free") from None

    @property
    def port(self) -> int:
        """The port."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the browser has closed; print other errors where bugs are printed."""
        if self.loud and not isinstance(sys.exception(), ConnectionError | TimeoutError):
            traceback.print_exc()


def _page() -> dict[str, Reply]:
    """The files of the page by name."""
    package = __package__ or ""
    own = resources(package).joinpath("page")
    shared = resources(site.__package__ or "")
    found = {name: own.joinpath(name).read_bytes() for name in _OWN}
    found |= {name: shared.joinpath(name).read_bytes() for name in site.SHARED}
    return {name: Reply(data, _TYPES[name[name.rindex(".") :]]) for name, data in found.items()}


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = f"onnxlrp/{__version__}"
    sys_version = ""
    timeout = _PATIENCE

    def do_GET(self) -> None:
        """Answer with a file of the page, or what there is."""
        self._answer({"samples": self._samples, "thumbnail": self._thumbnail, "about": self._about,
                      "progress": self._progress})  # fmt: skip

    def do_POST(self) -> None:
        """Take a sample, or explain one."""
        self._answer({"explain": self._explain, "inner": self._inner, "layers": self._layers, "sample": self._sample,
                      "text": self._text, "stop": self._stop})  # fmt: skip

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing of requests: their addresses hold the token."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request that is understood."""
        self.close_connection = True
        self._send(_refusal(code, message or "the request is not understood", "reload the page"))

    # -- checks

    def _answer(self, routes: Mapping[str, Callable[[dict[str, str]], Reply]]) -> None:
        unread = self.command == "POST"  # a body that is not read would be taken for the next request
        try:
            self._check_host()
            self._check_origin()
            address = urlsplit(self.path)
            name = self._within_token(address.path)
            if self.command == "GET" and (name or "index.html") in self.server.page:
                reply = self.server.page[name or "index.html"]
            elif name.removeprefix("api/") in routes and name.startswith("api/"):
                query = {key: values[-1] for key, values in parse_qs(address.query, max_num_fields=20).items()}
                reply = routes[name.removeprefix("api/")](query)
                unread = False
            else:
                raise Refused(404, "there is nothing at this address", "open the address that onnxlrp view printed")
        except Refused as refused:
            reply = _refusal(refused.status, refused.message, refused.fix)
            self.close_connection = self.close_connection or unread
        except Superseded:
            reply = _refusal(409, "a later request has taken the place of this one", "wait for that")
        except OnnxLrpError as error:
            reply = _refusal(400, error.message, error.command)
        except MemoryError:
            reply = _refusal(400, "out of memory", "choose a smaller sample, or a method of fewer passes")
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        except Exception as error:
            if self.server.loud:
                traceback.print_exc()
            said = f"a bug in onnxlrp {__version__}: {type(error).__name__}: {error}"
            reply = _refusal(500, said[:500], "please report it with what onnxlrp view -vv prints")
        self._send(reply)

    def _check_host(self) -> None:
        """Refuse names that lead here without being this machine's: a site could point its own name at it."""
        hosts = self.headers.get_all("Host") or []
        name = hosts[0].rpartition(":")[0] or hosts[0] if len(hosts) == 1 else ""
        if name not in NAMES:
            raise Refused(403, "the request names another host", f"open http://{HOST}:{self.server.port}/…")

    def _check_origin(self) -> None:
        """Refuse what other sites make the browser send."""
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        own = f"http://{self.headers.get('Host')}"
        direct = ("same-origin", "none") if self.command == "GET" else ("same-origin",)
        if (origin is not None and origin != own) or (site is not None and site not in direct):
            raise Refused(403, "the request comes from another site", "open the address that onnxlrp view printed")

    def _within_token(self, path: str) -> str:
        """Return the address behind the token. Raises Refused for another token."""
        token, slash, rest = path.removeprefix("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(403, "the address lacks the token of this run", "open the address that onnxlrp view printed")
        return rest

    def _body(self, largest: int, type: str) -> bytes:
        """Return the body of a request. Raises Refused for one of another type, or that is too large."""
        self.close_connection, keep = True, self.close_connection  # until it is read
        if self.headers.get_content_type() != type:
            raise Refused(415, f"the request is {self.headers.get_content_type()}", f"send {type}")
        text = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") is not None or not (text.isascii() and text.isdecimal()):
            raise Refused(411, "the request does not say how long it is", "send Content-Length")
        if len(text) > 15 or int(text) > largest:
            fix = f"give {largest >> 20} MiB at most, or name the file behind the model: onnxlrp view MODEL FILE"
            raise Refused(413, f"{int(text[:15]) / (1 << 20):.0f} MiB are too large for this page", fix)
        data = self.rfile.read(int(text))
        if len(data) < int(text):
            raise ConnectionResetError
        self.close_connection = keep
        return data

    def _json(self) -> Any:
        try:
            return json.loads(self._body(LARGEST_REQUEST, "application/json"))
        except (ValueError, RecursionError):
            raise Refused(400, "the request is no JSON", "reload the page") from None

    # -- answers

    def _about(self, query: dict[str, str]) -> Reply:
        return _reply(self.server.session.about())

    def _samples(self, query: dict[str, str]) -> Reply:
        return _reply(self.server.session.shelf.listed(_number(query, "start"), _LISTED))

    def _thumbnail(self, query: dict[str, str]) -> Reply:
        data = self.server.session.shelf.thumbnail(query.get("id", ""))
        if data is None:
            raise Refused(404, "the sample is no picture", "choose it to see what it is")
        return Reply(data, "image/jpeg")

    def _progress(self, query: dict[str, str]) -> Reply:
        return _reply(self.server.session.progress(query.get("lane", "")))

    def _sample(self, query: dict[str, str]) -> Reply:
        data = self._body(LARGEST_SAMPLE, "application/octet-stream")
        return _reply({"id": self.server.session.shelf.drop(query.get("name", ""), data)})

    def _text(self, query: dict[str, str]) -> Reply:
        data = self._json()
        if not isinstance(data, dict) or not isinstance(data.get("text"), str):
            raise Refused(400, "the request has no text", "reload the page")
        return _reply({"id": self.server.session.shelf.type(data["text"])})

    def _explain(self, query: dict[str, str]) -> Reply:
        return _reply(self.server.session.explain(self._asked()))

    def _inner(self, query: dict[str, str]) -> Reply:
        return _reply(self.server.session.inner(self._asked()))

    def _layers(self, query: dict[str, str]) -> Reply:
        return _reply(self.server.session.layers(self._asked()))

    def _stop(self, query: dict[str, str]) -> Reply:
        asked = self._asked()
        self.server.session.stop(asked.lane, asked.turn)
        return _reply({})

    def _asked(self) -> Asked:
        return read(self._json())

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        charset = "" if reply.type.startswith("image/") else "; charset=utf-8"
        about = {"Content-Type": reply.type + charset, "Content-Length": str(len(reply.content)), **_HEADERS}
        for name, value in about.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.content)
        if self.close_connection:
            self._drain()

    def _drain(self) -> None:
        """Read what is left of a body that was refused: a browser that is still sending would not see the answer."""
        with contextlib.suppress(OSError, ValueError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(2)
            left = _DRAINED
            while left > 0 and (piece := self.rfile.read1(1 << 16)):
                left -= len(piece)


def _reply(data: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"), status=status)


def _refusal(status: int, message: str, fix: str) -> Reply:
    return _reply({"error": {"message": message, "fix": fix}}, status)


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise Refused(400, f"{name} is no number", "reload the page")
    return int(text)
