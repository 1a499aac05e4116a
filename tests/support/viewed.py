"""A page of `onnxlrp view` that is served in a thread, and requests to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxlrp.model import ExplainOptions, load
from onnxlrp.streaming.sources import files
from onnxlrp.view.code import Start
from onnxlrp.view.server import Server
from onnxlrp.view.session import Session
from onnxlrp.view.shelf import Shelf


def session(models: Sequence[Any], samples: Sequence[Path] = (), options: ExplainOptions | None = None) -> Session:
    opened = [load(str(model)) for model in models]
    items = files([str(path) for path in samples]).items if samples else []
    return Session(opened, Shelf(items), options or ExplainOptions(), Start([str(model) for model in models]))


@contextmanager
def served(made: Session) -> Iterator[Served]:
    with Server(made) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield Served(server)
        server.shutdown()
        thread.join()


class Served:
    """Requests to a server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def raw(self, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, dict[str, str], bytes]:
        """Send a request with these headers and no others; return its status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for key, value in (headers or {}).items():
            for one in value if isinstance(value, list) else [value]:
                connection.putheader(key, one)
        connection.endheaders(body)
        reply = connection.getresponse()
        found = reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read()
        connection.close()
        return found

    def headers(self, body: Any = None, **more: Any) -> dict[str, str]:
        own = {"Host": f"127.0.0.1:{self.server.port}"}
        if body is not None:
            own |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return {**own, **{key.replace("_", "-"): value for key, value in more.items()}}

    def path(self, name: str) -> str:
        return f"/{self.server.token}/{name}"

    def get(self, name: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
        return self.raw("GET", self.path(name), None, self.headers(**more))

    def post(self, name: str, data: Any, **more: Any) -> tuple[int, Any]:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        status, _, content = self.raw("POST", self.path(f"api/{name}"), body, self.headers(body, **more))
        return status, json.loads(content)

    def drop(self, name: str, data: bytes) -> tuple[int, Any]:
        return self.post(f"sample?name={name}", data, Content_Type="application/octet-stream")
