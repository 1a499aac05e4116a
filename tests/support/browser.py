"""A headless Chromium that evaluates expressions in a page, by its debugging pipe; None of the tests needs a driver."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """A browser with one page; messages go over file descriptors 3 and 4, each ended by a zero byte."""

    def __init__(self, profile: Path, width: int = 1000, height: int = 1000, seconds: float = 90) -> None:
        assert CHROMIUM is not None
        self.seconds, self.said = seconds, list[str]()
        out, self._write = os.pipe()
        self._read, back = os.pipe()

        def connected() -> None:
            kept = [os.dup(out), os.dup(back)]
            os.dup2(kept[0], 3)
            os.dup2(kept[1], 4)

        command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=connected, close_fds=False
        )
        os.close(out)
        os.close(back)
        self._data, self._number, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Runtime.enable")
        self.call("Log.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; what the page logs meanwhile is kept in `said`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        stop = time.monotonic() + self.seconds
        while True:
            found = self._message(stop)
            if found.get("id") == self._number:
                assert "error" not in found, found
                return dict(found["result"])
            if found.get("method") in ("Runtime.consoleAPICalled", "Log.entryAdded", "Runtime.exceptionThrown"):
                self.said.append(json.dumps(found["params"])[:2000])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, of a promise what it gives."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        stop = time.monotonic() + self.seconds
        while not self.evaluate(expression):
            assert time.monotonic() < stop, (expression, self.said)
            time.sleep(0.1)

    def press(self, key: str, text: str = "") -> None:
        """Press a key, such as "a", "Enter" or "ArrowDown"."""
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}
        about = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        text = text or (key if len(key) == 1 else "\r" if key == "Enter" else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def screenshot(self, path: Path, width: int, height: int, scheme: str = "light") -> None:
        """Write what a window of this size shows, as PNG."""
        self.look(width, height, scheme)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def look(self, width: int, height: int, scheme: str = "light") -> None:
        """Give the window a size, and the colours that the user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def _message(self, stop: float) -> dict[str, Any]:
        while b"\0" not in self._data:
            left = stop - time.monotonic()
            assert left > 0, "the browser does not answer"
            assert select.select([self._read], [], [], left)[0], "the browser does not answer"
            self._data += os.read(self._read, 1 << 20)
        first, _, self._data = self._data.partition(b"\0")
        return dict(json.loads(first))
