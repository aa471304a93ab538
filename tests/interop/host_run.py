"""A run of the suites on an ASGI host: what is not meant for it is left out, and the end says how many and why."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .hosts import excuse

__all__ = ["HostRun"]


class HostRun:
    """A plugin of pytest, in its process and in those of xdist's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._host: str = config.getoption("host")
        self._mount: str = config.getoption("mount")
        self._left_out: Counter[str] = Counter()
        """How many tests are not meant for a host, by the reason."""
        self._begun = time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what is about our own server; what is excused must fail."""
        kept, left_out = [], []
        for item in items:
            mark = item.get_closest_marker("own_server")
            if mark is not None:
                self._left_out[mark.args[0]] += 1
                left_out.append(item)
                continue
            kept.append(item)
            excused = excuse(self._host, item.nodeid)
            if excused is not None:
                item.add_marker(pytest.mark.xfail(reason=excused.reason, strict=True))
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)
        output: dict[str, Any] | None = getattr(config, "workeroutput", None)
        if output is not None:
            output["left_out"] = dict(self._left_out)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker of xdist has ended: each has left out the same."""
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        self._left_out = Counter(output.get("left_out", self._left_out))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """How many, and why; and a line for the table of `nox -s hosts`."""
        if hasattr(self._config, "workeroutput"):
            return  # one part of the whole
        stats = terminalreporter.stats
        count = {name: len(stats.get(name, ())) for name in ("passed", "failed", "error", "xfailed", "skipped")}
        tally = {
            "host": self._host,
            "mount": self._mount,
            **count,
            "left_out": self._left_out.total(),
            "seconds": round(time.monotonic() - self._begun),
        }
        terminalreporter.section(f"{self._host} at {self._mount or '/'}")
        for reason, number in self._left_out.most_common():
            terminalreporter.line(f"{number} left out: {reason}")
        terminalreporter.line(", ".join(f"{value} {name}" for name, value in list(tally.items())[2:]))
        path: Path | None = self._config.getoption("tally")
        if path is not None:
            with path.open("a") as file:
                file.write(json.dumps(tally) + "\n")
