"""The page of `onnxlrp view` in a browser: the main path by keyboard, a dropped file, errors, windows of any width."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp
from support.browser import CHROMIUM, Browser
from support.paths import MODELS
from support.viewed import Served, served, session

DIGITS, SEVEN, FOUR = MODELS / "digits.onnx", *(MODELS / "samples" / f"digit_{n}.png" for n in (7, 4))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


@pytest.fixture
def page() -> Iterator[Served]:
    with served(session([DIGITS], [SEVEN, FOUR])) as found:
        yield found


class Viewed:
    """The page in a browser."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        browser.open(url)
        browser.until("['done', 'failed', 'ready'].includes(document.body?.dataset.state)")
        browser.evaluate("window.seen = []; document.addEventListener('explained', e => seen.push(e.detail)); 0")

    def explained(self, act: Any) -> Any:
        """Do something, and return what is explained then."""
        before = self.browser.evaluate("seen.length")
        act()
        self.browser.until(f"seen.length > {before} && document.body.dataset.state === 'done'")
        found = self.browser.evaluate("seen.at(-1).results.map(r => ({...r, values: [...r.values], pixels: null}))")
        return found[0]

    def text(self, selector: str) -> Any:
        return self.browser.evaluate(f"document.querySelector({selector!r})?.textContent")

    def drop(self, name: str, data: bytes) -> None:
        made = f"Uint8Array.from(atob('{base64.b64encode(data).decode()}'), c => c.charCodeAt(0))"
        file = f"const d = new DataTransfer(); d.items.add(new File([{made}], {name!r})); "
        self.browser.evaluate(f"{{ {file} document.dispatchEvent(new DragEvent('drop', {{dataTransfer: d}})); }}")


def test_the_main_path_by_keyboard(page: Served, tmp_path: Path) -> None:
    model = onnxlrp.load(DIGITS)
    with Browser(tmp_path / "profile", 1280, 900) as browser:
        viewed = Viewed(browser, page.server.url)
        pressed = ".classes [aria-pressed=true]"
        assert viewed.text(pressed) == "7"
        assert "of" not in viewed.text("#error strong")
        second = browser.evaluate("document.querySelectorAll('.classes button')[1].textContent")
        found = viewed.explained(lambda: browser.press("2"))
        assert viewed.text(pressed) == second
        wanted = model.explain(SEVEN, int(second)).relevance[0].sum(axis=0).ravel()
        np.testing.assert_allclose(found["values"], wanted, atol=1e-5 * np.abs(wanted).max())
        assert f"-t {second}" in viewed.text("#shell")

        viewed.explained(lambda: browser.press("ArrowRight"))
        assert browser.evaluate("document.querySelector('#samples [aria-pressed=true]').dataset.id") == "1"
        browser.press("ArrowRight")  # there is no further one
        assert browser.evaluate("document.querySelector('#samples [aria-pressed=true]').dataset.id") == "1"

        browser.press("l")
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
            browser.press(key)
        browser.until("document.querySelectorAll('#inner .values li, #inner .channels li').length > 0")
        layer = browser.evaluate("document.querySelector('#layers [aria-pressed=true] .name').firstChild.textContent")
        assert viewed.text("#inner h3").startswith(layer)
        assert f"record=['{layer}']" in viewed.text("#python")

        widths = "[...document.querySelectorAll('#layers .bar i')].map(i => i.style.width).join()"
        before = browser.evaluate(widths)
        change = (
            "document.getElementById('rule').value = 'gradient'; document.getElementById('scope').selectedIndex = 1; "
        )
        viewed.explained(lambda: browser.evaluate(change + "document.querySelector('.editor').requestSubmit()"))
        assert browser.evaluate(widths) != before  # the ledger moves
        assert "= gradient" in viewed.text("#own .chip")
        viewed.explained(lambda: browser.evaluate("document.querySelector('#own .chip').click()"))
        assert browser.evaluate(widths) == before

        shown = "document.querySelector('canvas.heat').getContext('2d').getImageData(0, 0, 28, 28).data.join()"
        colored = browser.evaluate(shown)
        browser.press("o")
        assert browser.evaluate("document.getElementById('opacity').value") == "0"
        assert browser.evaluate(shown) != colored
        browser.press("o")
        assert browser.evaluate(shown) == colored

        browser.press("?")
        assert browser.evaluate("document.getElementById('keys').open")
        browser.press("Escape")
        assert not browser.evaluate("document.getElementById('keys').open")
        browser.press("c")
        browser.until("/copied|Selected/.test(document.getElementById('status').textContent)")
        method = (
            "const m = document.getElementById('method'); m.value = 'gradient'; m.dispatchEvent(new Event('change'))"
        )
        viewed.explained(lambda: browser.evaluate(f"{{ {method} }}"))
        assert "no ledger" in viewed.text("#legend")
        assert not [line for line in browser.said if "Refused" in line or "xception" in line], browser.said


def test_dropped_files_and_errors(page: Served, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile", 1280, 900) as browser:
        viewed = Viewed(browser, page.server.url)
        found = viewed.explained(lambda: viewed.drop("mine.png", FOUR.read_bytes()))
        assert found["target"]["label"] == "4"
        assert viewed.text("#samples [aria-pressed=true]") == "mine.png"
        assert "was dropped" in viewed.text("#hint")
        viewed.drop("none.png", b"no picture")
        browser.until("!document.getElementById('error').hidden")
        assert "none.png" in viewed.text("#error strong")
        assert "picture" in viewed.text("#error p")
        browser.evaluate(
            "{const t = document.getElementById('target'); t.value = 'cat'; t.dispatchEvent(new Event('change'))}"
        )
        browser.until("document.querySelector('#error strong').textContent.includes('cat')")
        assert "known" in viewed.text("#error p")
        stale = "document.getElementById('content').dataset.stale !== undefined"
        assert browser.evaluate(stale)  # what is shown is not what is asked for
        viewed.explained(lambda: browser.press("1"))
        assert browser.evaluate("document.getElementById('error').hidden")
        assert not browser.evaluate(stale)
        browser.evaluate("document.querySelector('#layers button').click(); 0")
        browser.until("document.querySelector('.editor') !== null")
        browser.evaluate("document.querySelector('.editor input').value = 'much'; 0")
        browser.evaluate("document.querySelector('.editor').requestSubmit()")
        browser.until("!document.getElementById('error').hidden")
        assert "much" in viewed.text("#error strong")
        viewed.explained(lambda: browser.evaluate("document.querySelector('#own .chip').click()"))  # can be taken away
        assert not browser.evaluate(stale)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (820, "dark"), (1500, "light")])
def test_no_window_is_too_narrow(page: Served, tmp_path: Path, width: int, scheme: str) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.look(width, 800, scheme)
        Viewed(browser, page.server.url)
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        browser.evaluate("document.getElementById('how').open = true; 0")
        assert not browser.evaluate(wide)
        browser.evaluate("document.querySelector('#layers button').click(); 0")
        browser.until("document.querySelector('#inner h3') !== null")
        assert not browser.evaluate(wide)
        dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(22, 25, 28)") == (scheme == "dark")
        unnamed = "[...document.querySelectorAll('button, input, select, textarea')].filter(e => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel).map(e => e.id || e.className)"  # noqa: E501
        assert browser.evaluate(unnamed) == []


def test_a_page_without_samples_shows_the_layers(tmp_path: Path) -> None:
    with served(session([DIGITS])) as page, Browser(tmp_path / "profile") as browser:
        viewed = Viewed(browser, page.server.url)
        assert browser.evaluate("document.body.dataset.state") == "ready"
        assert viewed.text("#layers .rule") == "epsilon"
        assert "Drop a picture" in viewed.text("#empty")
