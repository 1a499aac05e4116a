"""The pytest plugin: the fixture `onnxlrp`, and `--onnxlrp=onnxlrp.toml`, a test item for each check of each subject.

pytest loads this module in every run, so it imports pytest alone; the rest comes when a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .checks.pytest_assertions import PytestAssertions
    from .findings.finding import Finding

_MODELS = pytest.StashKey[dict[Any, Any]]()


class CheckWarning(pytest.PytestWarning):
    """A check of severity warning or note failed."""


class Failed(Exception):
    """A check of severity error failed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--onnxlrp` and `--onnxlrp-update`."""
    group = parser.getgroup("onnxlrp", "explanations of ONNX models")
    group.addoption(
        "--onnxlrp", metavar="FILE", help="settings such as onnxlrp.toml: an item for each check of each sample"
    )
    group.addoption("--onnxlrp-update", action="store_true", help="store baselines anew instead of comparing with them")


def pytest_configure(config: pytest.Config) -> None:
    """Add the settings file to what pytest collects."""
    asked = config.getoption("onnxlrp")
    if asked is None:
        return
    if not _settings(config, asked).is_file():
        raise pytest.UsageError(f"--onnxlrp={asked}: no such file; give settings such as onnxlrp.toml")
    config.args.append(str(_settings(config, asked)))  # beside the tests that there are


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the settings file of `--onnxlrp`."""
    asked = parent.config.getoption("onnxlrp")
    if asked is None or file_path != _settings(parent.config, asked):
        return None
    return CheckFile.from_parent(parent, path=file_path)


@pytest.fixture
def onnxlrp(request: pytest.FixtureRequest) -> PytestAssertions:
    """`load`, `assert_conserves`, `assert_inside` and `regression`; models are loaded once in a run."""
    from .checks.pytest_assertions import PytestAssertions

    models = request.config.stash.setdefault(_MODELS, {})
    return PytestAssertions(request.path, request.node.name, request.config.getoption("onnxlrp_update"), models)


class CheckFile(pytest.File):
    """The checks of one file of settings; they run when items are collected, for the findings are the items."""

    def collect(self) -> Iterable[pytest.Item]:
        """Run the checks, and yield an item for each finding."""
        from .checks.pytest_assertions import findings
        from .files import unique_names

        found = list(findings(self.path, self.config.getoption("onnxlrp_update")))
        names = [f"{finding.check}[{finding.subject}]" if finding.subject else finding.check for finding in found]
        for name, finding in zip(unique_names(names), found, strict=True):
            yield CheckItem.from_parent(self, name=name, finding=finding)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the message and the fix of an error of this package."""
        from .errors import OnnxLrpError

        error = excinfo.value
        if isinstance(error, OnnxLrpError):
            return f"{error.message}\nfix: {error.fix}"
        return super().repr_failure(excinfo)


class CheckItem(pytest.Item):
    """One finding: it fails where its check failed with severity error, and warns at the others."""

    def __init__(self, *, finding: Finding, **more: Any) -> None:
        super().__init__(**more)
        self.finding = finding

    def runtest(self) -> None:
        """Skip, fail or warn, by the status of the finding."""
        found = self.finding
        if found.status == "skipped":
            pytest.skip(found.message)
        if found.fails:
            raise Failed
        if found.status == "failed":
            self.warn(CheckWarning(f"{self.name}: {found.message}; {found.fix}"))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the finding: what was measured, what is allowed, and the fix."""
        if not isinstance(excinfo.value, Failed):
            return super().repr_failure(excinfo, style)
        found = self.finding
        measured = [] if found.value is None else [f"measured {found.value:.4g}, allowed {_number(found.limit)}"]
        fix = [f"fix: {found.fix}"] if found.fix else []
        return "\n".join([f"{found.check} {found.subject}: {found.message}", *measured, *fix])

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the settings file and the name of the item."""
        return self.path, 0, self.name


def _settings(config: pytest.Config, asked: str) -> Path:
    return Path(os.path.abspath(config.invocation_params.dir / asked))


def _number(limit: float | None) -> str:
    return "nothing" if limit is None else f"{limit:.4g}"
