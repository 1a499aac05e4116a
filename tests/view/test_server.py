"""The server of the page: who gets an answer, and what is refused."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxlrp.errors import UsageError
from onnxlrp.view import server as rooms
from onnxlrp.view.server import LARGEST_REQUEST, LARGEST_SAMPLE, Server
from support.paths import MODELS
from support.viewed import Served, served, session

DIGITS, SEVEN = MODELS / "digits.onnx", MODELS / "samples" / "digit_7.png"


@pytest.fixture(scope="module")
def page() -> Iterator[Served]:
    with served(session([DIGITS], [SEVEN])) as found:
        yield found


def test_the_page_and_its_files(page: Served) -> None:
    status, headers, content = page.get("")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["referrer-policy"] == "no-referrer"  # its address holds the token
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    text = content.decode()
    for name in re.findall(r'(?:src|href)="([\w./]+)"', text):
        assert page.get(name)[0] == 200, name
    assert page.server.server_address[0] == "127.0.0.1"


def test_all_that_modules_import_is_served_and_nothing_from_elsewhere(page: Served) -> None:
    for name, reply in page.server.page.items():
        text = reply.content.decode()
        assert not re.findall(r"https?://", text), name
        assert not re.findall(r"\bon\w+=\"|<style|style=\"|innerHTML|eval\(", text), name
        for wanted in re.findall(r'from "\./([\w./]+)"', text):
            folder = name.rpartition("/")[0]
            assert f"{folder}/{wanted}".lstrip("/") in page.server.page, (name, wanted)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:PORT", "127.0.0.1.evil.example:PORT", "", "[::1]:PORT", "0.0.0.0:PORT", None,
     ["127.0.0.1:PORT", "evil.example"]],
)  # fmt: skip
def test_other_hosts_are_refused(page: Served, host: Any) -> None:
    port = str(page.server.port)
    named = (
        [one.replace("PORT", port) for one in host] if isinstance(host, list) else host and host.replace("PORT", port)
    )
    headers = {} if named is None else {"Host": named}
    for path in ("", "api/about"):
        status, _, content = page.raw("GET", page.path(path), None, headers)
        assert status == 403
        assert "another host" in json.loads(content)["error"]["message"]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_names_of_this_machine_are_taken_at_any_port(page: Served, name: str) -> None:
    for port in (page.server.port, 8123):  # a tunnel may have another one
        assert page.raw("GET", page.path(""), None, {"Host": f"{name}:{port}"})[0] == 200


@pytest.mark.parametrize(
    "more",
    [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:PORT"}, {"Origin": "http://localhost:PORT"},
        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "odd"},
    ],
)  # fmt: skip
def test_requests_of_other_sites_are_refused(page: Served, more: dict[str, str]) -> None:
    own = {key: value.replace("PORT", str(page.server.port)) for key, value in more.items()}
    assert page.get("", **own)[0] == 403
    status, data = page.post("explain", {"sample": "0"}, **own)
    assert status == 403
    assert "another site" in data["error"]["message"]


def test_requests_of_the_page_itself_are_taken(page: Served) -> None:
    origin = f"http://127.0.0.1:{page.server.port}"
    assert page.post("layers", {}, Origin=origin, Sec_Fetch_Site="same-origin")[0] == 200
    assert page.get("", Sec_Fetch_Site="none")[0] == 200
    assert page.post("layers", {}, Sec_Fetch_Site="none")[0] == 403  # no form of a bookmark posts


@pytest.mark.parametrize("path", ["/", "/x/", "/TOKENx/", "/TOKE/", "/token/", "/../TOKEN/", "/TOKEN", "/TOKEN%2F"])
def test_other_tokens_are_refused(page: Served, path: str) -> None:
    token = page.server.token
    assert len(token) >= 32
    status, _, content = page.raw(
        "GET", path.replace("TOKEN", token).replace("TOKE/", token[:-1] + "/"), None, page.headers()
    )
    assert status == 403
    assert token not in content.decode()


def test_every_run_has_its_own_token(page: Served) -> None:
    with Server(page.server.session) as other:
        assert other.token != page.server.token


@pytest.mark.parametrize(
    "name", ["nothing", "api/nothing", "../pyproject.toml", "%2e%2e/app.js", "api/explain", "app.js/", "shared"]
)
def test_what_is_not_there_is_not_found(page: Served, name: str) -> None:
    assert page.get(name)[0] == 404


def test_other_methods_are_refused(page: Served) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "HEAD"):
        assert page.raw(method, page.path(""), None, page.headers())[0] == 501


def test_bodies_of_another_type_or_length(page: Served) -> None:
    body = b"{}"
    path = page.path("api/layers")
    own = page.headers(body)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):  # what forms can send
        status, _, content = page.raw("POST", path, body, {**own, "Content-Type": kind})
        assert status == 415
        assert "application/json" in json.loads(content)["error"]["fix"]
    for length in (None, "-1", "x", "1e3", "²"):
        headers: dict[str, Any] = {key: value for key, value in own.items() if key != "Content-Length"}
        if length is not None:
            headers["Content-Length"] = length.encode()
        assert page.raw("POST", path, None, headers)[0] == 411, length
    chunked = {**own, "Transfer-Encoding": "chunked"}
    assert page.raw("POST", path, b"", chunked)[0] == 411


@pytest.mark.parametrize(("name", "largest", "kind"), [
    ("layers", LARGEST_REQUEST, "application/json"), ("sample?name=a.png", LARGEST_SAMPLE, "application/octet-stream"),
])  # fmt: skip
def test_large_bodies_are_refused_with_the_limit(page: Served, name: str, largest: int, kind: str) -> None:
    for length in (largest + 1, 10**30):
        headers = {**page.headers(), "Content-Type": kind, "Content-Length": str(length)}
        status, found, content = page.raw("POST", page.path(f"api/{name}"), b"", headers)
        assert status == 413
        assert f"{largest >> 20} MiB at most" in json.loads(content)["error"]["fix"]
        assert found["connection"] == "close"


def test_a_browser_that_is_still_sending_sees_the_refusal(page: Served) -> None:
    body = bytes(LARGEST_REQUEST + (4 << 20))
    status, data = page.post("layers", body)
    assert status == 413
    assert "too large" in data["error"]["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"1", b'"x"', b"[" * 100_000, b"\xff", {"unknown": 1}, {"row": -1}, {"row": True},
        {"row": 1.5},
        {"row": 1 << 60}, {"target": 3}, {"target": None}, {"options": []}, {"options": {"a": 1}}, {"rules": "x"},
        {"rules": [["a"]]}, {"rules": [["a", 1]]}, {"method": "x" * 20_000}, {"rules": [["a", "zero"]] * 300},
    ],
)  # fmt: skip
def test_odd_requests_are_errors_in_words(page: Served, data: Any) -> None:
    for name in ("explain", "inner", "layers", "stop", "text"):
        status, found = page.post(name, data)
        assert status == 400
        assert found["error"]["message"]
        assert found["error"]["fix"]
        assert "bug" not in found["error"]["message"]


@pytest.mark.parametrize("query", ["start=x", "start=-1", "start=1e9", "start=" + "9" * 40])
def test_odd_queries(page: Served, query: str) -> None:
    assert page.get(f"api/samples?{query}")[0] == 400


def test_a_connection_answers_again_after_a_refusal(page: Served) -> None:
    """A body that was not read is not taken for the next request."""
    inside = f"GET {page.path('api/about')} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    head = f"POST /wrong/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(inside)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", page.server.port), timeout=20) as connection:
        connection.sendall(head + inside)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 403")


def test_a_port_in_use_is_an_error_with_its_fix(page: Served) -> None:
    with pytest.raises(UsageError, match="in use") as caught:
        Server(page.server.session, page.server.port)
    assert "--port" in caught.value.fix
    for port in (-1, 1 << 16):
        with pytest.raises(UsageError, match="--port"):
            Server(page.server.session, port)


def test_requests_at_once_are_answered_one_after_the_other(page: Served) -> None:
    alone = page.post("explain", {"sample": "0", "lane": "alone"})[1]["results"][0]["heat"]
    found: dict[int, Any] = {}

    def ask(n: int) -> None:
        method = ("epsilon_plus_flat", "gradient")[n % 2]
        found[n] = page.post("explain", {"sample": "0", "method": method, "lane": f"page{n}"})

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in found.values()} == {200}
    assert all((found[n][1]["results"][0]["heat"] == alone) == (n % 2 == 0) for n in found)


def test_a_bug_is_an_answer(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(page.server.session, "layers", broken)
    status, data = page.post("layers", {})
    assert status == 500
    assert "ZeroDivisionError" in data["error"]["message"]


def test_pictures_that_are_none_are_errors_with_their_fix(page: Served) -> None:
    for name, data in (("a.png", b"no picture"), ("a.npy", b"no array"), ("", b""), ("a.parquet", b"PAR1")):
        status, found = page.drop(name, data)
        assert status == 400
        assert found["error"]["fix"]
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    assert page.drop("objects.npy", buffer.getvalue())[0] == 400


def test_names_of_dropped_files_are_no_paths(page: Served) -> None:
    buffer = io.BytesIO()
    Image.open(SEVEN).save(buffer, "PNG")
    key = page.drop("..%2F..%2Fetc%2Fa.png", buffer.getvalue())[1]["id"]
    listed = json.loads(page.get("api/samples")[2])["dropped"]
    assert {one["id"]: one["name"] for one in listed}[key] == "a.png"
    status, headers, content = page.get(f"api/thumbnail?id={key}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(content)).size == (28, 28)
    assert page.get("api/thumbnail?id=..%2F..%2Fpyproject.toml")[0] == 400
    assert page.get("api/thumbnail?id=9")[0] == 400


def test_what_was_dropped_long_ago_is_let_go(page: Served) -> None:
    from onnxlrp.view.shelf import KEPT

    buffer = io.BytesIO()
    np.save(buffer, np.zeros((1, 28, 28), np.float32))
    keys = [page.drop("a.npy", buffer.getvalue())[1]["id"] for _ in range(KEPT + 1)]
    assert page.post("explain", {"sample": keys[-1]})[0] == 200
    status, data = page.post("explain", {"sample": keys[0]})
    assert status == 400
    assert "drop it again" in data["error"]["fix"]


def test_the_page_has_one_policy() -> None:
    assert "frame-ancestors 'none'" in rooms._POLICY


def test_what_is_no_request_is_refused(page: Served) -> None:
    for sent in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / x y\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", page.server.port), timeout=20) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert page.server.token.encode() not in answer
        assert b"200" not in answer.partition(b"\r\n")[0]


def test_large_files_that_were_dropped_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxlrp.view import shelf

    monkeypatch.setattr(shelf, "KEPT_BYTES", 3 * len(SEVEN.read_bytes()))
    made = shelf.Shelf()
    for _ in range(5):
        made.drop("a.png", SEVEN.read_bytes())
    assert len(made.listed(0, 9)["dropped"]) == 3
