"""What every test runs under: each event loop we support, no silent errors, no silent skips in required mode."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

# A busy machine is no failure.
hypothesis.settings.register_profile(
    "persistconn", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("persistconn")

REQUIRED = os.environ.get("REQUIRE_REAL_PARTS", "") not in ("", "0")
"""Set where everything a test may need has to be there: a skip is then a failure."""

PLATFORM = "platform: "
"""A skip with a reason that begins so stays a skip in required mode: the system, not the set-up, lacks something."""

BACKENDS = [pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio")]
if importlib.util.find_spec("uvloop") is not None:
    BACKENDS.append(pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"))
if importlib.util.find_spec("trio") is not None:
    BACKENDS.append(pytest.param(("trio", {}), id="trio"))


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Every `async def test_…` runs once on each of these; a module that needs fewer overrides the fixture."""
    return request.param


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def no_silent_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """What persistconn logs as an error fails the test, unless the test looks at the log itself (`caplog`)."""
    if "caplog" in request.fixturenames:
        yield
        return
    errors = _Errors()
    logger = logging.getLogger("persistconn")
    logger.addHandler(errors)
    try:
        yield
    finally:
        logger.removeHandler(errors)
    if errors.records:
        formatter = logging.Formatter("%(name)s: %(message)s")
        pytest.fail("logged as errors:\n" + "\n".join(map(formatter.format, errors.records)))


def _forbid_skip(report: Any) -> None:
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(PLATFORM):
            report.outcome = "failed"
            report.longrepr = f"skipped, and REQUIRE_REAL_PARTS forbids that: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    _forbid_skip(report)
    return report
