"""Serving: the code of docs/howto/serving.md runs as it stands there."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format  # type: ignore[import-untyped]

import onnxlrp
from support.paths import MODELS, ROOT

SERVICE, TRITON = re.findall(r"```python\n(.*?)```", (ROOT / "docs/howto/serving.md").read_text("utf-8"), re.DOTALL)
DIGITS = MODELS / "digits.onnx"
FILES = [MODELS / "samples" / f"digit_{n}.png" for n in range(10)]


_Field = tuple[str, Any, Any, str]  # name, type, label, the message or enumeration that it is


class Service:
    """Requests to a service on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, body: Any, query: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", f"/explain{query}", body)
        reply = connection.getresponse()
        found = reply.status, json.loads(reply.read())
        connection.close()
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if not all(map(find_spec, ("fastapi", "uvicorn"))):
        pytest.skip("fastapi and uvicorn are not installed")
    folder = tmp_path_factory.mktemp("service")
    (folder / "service.py").write_text(SERVICE, encoding="utf-8")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "service:app", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"MODEL": str(DIGITS), "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield Service(port)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_four_clients_get_what_the_model_gives(service: Service) -> None:
    """Nothing is wrong, nothing is lost."""
    model = onnxlrp.load(DIGITS)
    asked = [(n, target, method) for n in range(10) for target in (n, 3) for method in ("auto", "gradient")]

    def ask(one: tuple[int, int, str]) -> tuple[int, Any]:
        n, target, method = one
        return service.post(FILES[n].read_bytes(), f"?target={target}&method={method}")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, asked))
    assert len(found) == 40
    for (n, target, method), (status, answer) in zip(asked, found, strict=True):
        assert status == 200, answer
        wanted = model.explain(FILES[n], target=target, method=method)
        relevance = np.frombuffer(base64.b64decode(answer["relevance"]), "<f4").reshape(answer["shape"])
        np.testing.assert_allclose(relevance, wanted.relevance[0], atol=1e-6)
        assert (answer["target"], answer["label"]) == (target, str(target))
        assert answer["logit"] == pytest.approx(float(wanted.logit[0]), rel=1e-5)


@pytest.mark.slow
def test_what_a_service_refuses(service: Service) -> None:
    seven = FILES[7].read_bytes()
    assert service.post(seven, "?method=rise")[0] == 422
    assert service.post(seven, "?target=11")[0] == 422
    assert service.post(b"no picture")[0] == 415
    assert service.post(seven[:60])[0] == 415
    assert service.post(b"")[0] == 415
    assert service.post(bytes((8 << 20) + 1))[0] == 413
    assert service.post(seven)[1]["target"] == 7  # and it goes on


def _config() -> Any:
    """The messages of Triton's configuration that the page writes, by their names and types."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="t", syntax="proto2")
    kinds = file.enum_type.add(name="DataType")
    for number, name in enumerate(("TYPE_INVALID", "TYPE_UINT8", "TYPE_INT64", "TYPE_FP32")):
        kinds.value.add(name=name, number=number)

    one, many, text, whole = field.LABEL_OPTIONAL, field.LABEL_REPEATED, field.TYPE_STRING, field.TYPE_INT64
    called: _Field = ("name", text, one, "")
    messages: dict[str, tuple[_Field, ...]] = {
        "Reshape": (("shape", whole, many, ""),),
        "Tensor": (
            called, ("data_type", field.TYPE_ENUM, one, "DataType"), ("dims", whole, many, ""),
            ("reshape", field.TYPE_MESSAGE, one, "Reshape"),
        ),
        "Batching": (("max_queue_delay_microseconds", whole, one, ""),),
        "ModelConfig": (
            called, ("platform", text, one, ""), ("max_batch_size", whole, one, ""),
            ("input", field.TYPE_MESSAGE, many, "Tensor"), ("output", field.TYPE_MESSAGE, many, "Tensor"),
            ("dynamic_batching", field.TYPE_MESSAGE, one, "Batching"),
        ),
    }  # fmt: skip
    for message, fields in messages.items():
        made = file.message_type.add(name=message)
        for number, (key, kind, label, of) in enumerate(fields, 1):
            made.field.add(name=key, number=number, type=kind, label=label, type_name=f".t.{of}" if of else None)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))()


@pytest.mark.parametrize("target", ["input", "top1"])
def test_the_repository_of_triton(target: str, tmp_path: Path) -> None:
    onnxlrp.load(DIGITS).export(tmp_path / "explainer.onnx", target=target)
    scope: dict[str, Any] = {"__name__": "triton"}
    exec(compile(TRITON, "triton.py", "exec"), scope)
    scope["write"](tmp_path / "explainer.onnx", tmp_path / "repository")
    folder = tmp_path / "repository" / "explainer"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), _config())
    assert config.name == folder.name  # Triton refuses another one
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size > 0
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
    kinds = {0: "", 1: "tensor(uint8)", 2: "tensor(int64)", 3: "tensor(float)"}
    for entries, values in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [entry.name for entry in entries] == [value.name for value in values]
        for entry, value in zip(entries, values, strict=True):
            assert kinds[entry.data_type] == value.type
            assert entry.dims  # Triton wants at least one
            own = list(entry.reshape.shape if entry.HasField("reshape") else entry.dims)
            assert own == value.shape[1:]
            assert isinstance(value.shape[0], str)  # the batch is free
            assert np.prod(own, dtype=int) == np.prod(entry.dims, dtype=int)
    assert (target == "input") == ("target" in {entry.name for entry in config.input})
