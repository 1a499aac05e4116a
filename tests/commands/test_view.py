"""`onnxlrp view` as a command: its address, its end, and what is refused."""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onnxlrp.cli import main
from onnxlrp.commands import view
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.commands.parsers.parser import Parser
from support.paths import MODELS

DIGITS, SEVEN = str(MODELS / "digits.onnx"), str(MODELS / "samples" / "digit_7.png")


def parsed(*words: str) -> argparse.Namespace:
    parser = Parser(prog="view")
    COMMANDS["view"][1](parser)
    return parser.read(words)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent there")
def test_it_prints_its_address_serves_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from onnxlrp.cli import process; process()", "view", "--no-open", "--json"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it runs in the background
    with subprocess.Popen(
        [*command, DIGITS, SEVEN], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())
        assert (about["models"], about["samples"]) == ([DIGITS], 1)
        connection = http.client.HTTPConnection("127.0.0.1", about["port"], timeout=60)
        path = about["url"].partition(str(about["port"]))[2]
        kind = {"Content-Type": "application/json"}
        connection.request("POST", f"{path}api/explain", json.dumps({"sample": "0"}), kind)
        assert json.loads(connection.getresponse().read())["results"][0]["target"]["label"] == "7"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert not list(tmp_path.iterdir())  # nothing is written there


def test_a_port_in_use(refused: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        what, fix = refused(2, "view", DIGITS, "--port", port, "--no-open")
    assert what == f"port {port} of this machine is in use"
    assert "--port" in fix


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing.onnx"], 3, "missing.onnx"),
        ([DIGITS, DIGITS, DIGITS], 2, "3 models"),
        ([DIGITS, "nothing/"], 3, "nothing"),
        ([DIGITS, "--port", "x"], 2, "--port"),
        ([DIGITS, "--port", "70000"], 2, "70000"),
        ([DIGITS, "-m", "epsilon,gamma"], 2, "one at a time"),
        ([DIGITS, "--rule", "nothing=zplus"], 2, "matches no layer"),
    ],
)
def test_what_is_refused_before_anything_is_served(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxlrp.view.server.Server.serve_forever", lambda *_: None)
    assert main(["view", *words, "--no-open"]) == code
    assert said in capsys.readouterr().err


def test_models_and_inputs() -> None:
    assert view.split(["a.onnx"]) == (["a.onnx"], [])
    assert view.split(["a.onnx", "b.ONNX", "c.png"]) == (["a.onnx", "b.ONNX"], ["c.png"])
    assert view.split(["model", "c.png"]) == (["model"], ["c.png"])


def test_flags_are_repeated_in_the_code() -> None:
    args = parsed(
        "m.onnx", "a.png", "--size", "64", "--strict", "--given", "a=1", "--given", "b=2", "-t", "3", "-m", "gamma",
        "--gamma", "0.5", "--rule", "Conv=zplus", "--port", "9", "--no-open", "-v", "--engine", "reference",
    )  # fmt: skip
    words = view.repeated(args)
    assert words == ["--given", "a=1", "--given", "b=2", "--engine", "reference", "--size", "64", "--strict"]
    assert view.repeated(parsed("m.onnx")) == []


def test_browsers_of_a_terminal_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    from onnxlrp.commands.console import Console

    view._open("http://127.0.0.1:1/", Console(quiet=True))
    assert not opened
    monkeypatch.setenv("DISPLAY", ":0")
    view._open("http://127.0.0.1:1/", Console(quiet=True))
    assert opened == ["http://127.0.0.1:1/"]
