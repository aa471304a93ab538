"""What Autobahn's index.json says, in one line per complaint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["CASES", "EXPECTED", "complaints"]

CASES = [*(f"{section}.*" for section in range(1, 8)), "9.*", "10.*"]
"""Everything but performance and compression: permessage-deflate is off."""
EXPECTED = 301
"""So many cases these are; fewer means that some did not run."""

GOOD = frozenset({"OK", "INFORMATIONAL"})


def complaints(index: Mapping[str, Mapping[str, Mapping[str, Any]]], agents: list[str]) -> Iterator[str]:
    """Nothing for a clean report: every agent, every case, each OK both in what it did and in how it closed."""
    for agent in agents:
        cases = index.get(agent, {})
        if len(cases) != EXPECTED:
            yield f"{agent}: {len(cases)} cases ran, not {EXPECTED}"
        for case, result in cases.items():
            for part in ("behavior", "behaviorClose"):
                if result.get(part) not in GOOD:
                    yield f"{agent}: case {case}: {part} is {result.get(part)}"
