"""How the suite runs: hypothesis, the quick set, workers, and the lines that tests leave for the end of a run."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from support import idle_threads, kept_conversions, kernels_under_test, spread

settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True, database=None)
settings.register_profile("quick", parent=settings.get_profile("local"), max_examples=30)

idle_threads.let_them_sleep()
kept_conversions.keep_all()

_NOTES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: Any) -> None:
    words = ("emulator", "nvrtc", "fatbin")
    parser.addoption("--kernels", choices=words, default="emulator", help="where tests/engines/cuda runs kernels")
    each = "on a GPU: an allocation for each array, so that compute-sanitizer sees where it ends"
    parser.addoption("--exact-memory", action="store_true", help=each)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: Any) -> None:
    """Spread the whole suite over the processors where pytest-xdist is installed; `-n 0` keeps it in one process."""
    options = config.option
    watched = options.usepdb or options.capture == "no" or "PYTEST_XDIST_WORKER" in os.environ
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and not watched and getattr(options, "numprocesses", 0) is None:
        options.numprocesses, options.dist = "auto", "loadfile"


def pytest_configure(config: Any) -> None:
    quick = "quick" if config.option.markexpr == "not slow" else "local"
    settings.load_profile("ci" if os.environ.get("CI") else quick)
    kernels_under_test.which = config.getoption("--kernels")
    kernels_under_test.exact_memory = config.getoption("--exact-memory")
    config.stash[_NOTES] = []
    os.environ["ONNXLRP_CACHE"] = "off"  # tests read and compile; those of the cache name a folder of their own


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked `few(count)`, mark all cases slow but so many, spread over the values of each parameter."""
    cases: dict[str, list[Any]] = {}
    for item in items:
        if item.get_closest_marker("few") is not None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for all_of_one in cases.values():
        (count,) = all_of_one[0].get_closest_marker("few").args
        quick = spread.evenly([tuple(item.callspec.indices.items()) for item in all_of_one], count)
        for n, item in enumerate(all_of_one):
            if n not in quick:
                item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays for the whole run: modules, and an object for each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the commands that tests start share compiled modules where Python is told not to write any."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


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
