"""What every test shares: how hypothesis runs, and the lines that tests leave for the end of a run."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from support import kernels_under_test

settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")

_NOTES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: Any) -> None:
    words = ("emulator", "nvrtc", "fatbin")
    parser.addoption("--kernels", choices=words, default="emulator", help="where tests/engines/cuda runs kernels")
    each = "on a GPU: an allocation for each array, so that compute-sanitizer sees where it ends"
    parser.addoption("--exact-memory", action="store_true", help=each)


def pytest_configure(config: Any) -> None:
    kernels_under_test.which = config.getoption("--kernels")
    kernels_under_test.exact_memory = config.getoption("--exact-memory")
    config.stash[_NOTES] = []


@pytest.fixture(scope="session")
def notes(request: pytest.FixtureRequest) -> Any:
    """Lines to print when all tests have run."""
    return request.config.stash[_NOTES]


def pytest_sessionfinish(session: Any) -> None:
    # A worker of pytest-xdist hands its lines to the one who prints.
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["notes"] = session.config.stash[_NOTES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    node.config.stash[_NOTES] += getattr(node, "workeroutput", {}).get("notes", [])


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    for line in config.stash.get(_NOTES, []):
        terminalreporter.write_line(line)
