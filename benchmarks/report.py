"""Turns measurements into a table with ratios, JSON, and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from .contenders import FLOORS
from .measure import Result

__all__ = ["Table", "plot"]


class Table:
    """The results of one scenario: a list per contender, one entry per repeat."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.results: dict[str, list[Result]] = {}

    def add(self, contender: str, result: Result) -> None:
        """One more repeat."""
        self.results.setdefault(contender, []).append(result)

    def ratio(self, contender: str) -> float | None:
        """The median of the ratios to its floor, repeat by repeat; None when the floor was not measured."""
        floor = self.results.get(FLOORS.get(contender, "raw-uvloop"))
        if floor is None:
            return None
        pairs = zip(self.results[contender], floor, strict=False)
        return median(mine.cpu_us / theirs.cpu_us for mine, theirs in pairs)

    def rows(self) -> list[tuple[str, float, float | None, float, float, float]]:
        """Contender, CPU µs per message, ratio to floor, messages per second, p50 and p99 in µs; cheapest first."""
        made = []
        for name, results in self.results.items():
            cpu, rate, p50, p99 = (
                median(getattr(result, field) for result in results) for field in ("cpu_us", "rate", "p50_us", "p99_us")
            )
            made.append((name, cpu, self.ratio(name), rate, p50, p99))
        return sorted(made, key=lambda row: row[1])

    def text(self) -> str:
        """For people."""
        lines = [
            f"\n{self.scenario}",
            f"{'':26}{'CPU µs/msg':>12}{'× floor':>10}{'msg/s':>12}{'p50 µs':>10}{'p99 µs':>10}",
        ]
        for name, cpu, ratio, rate, p50, p99 in self.rows():
            shown = "" if ratio is None else f"{ratio:.2f}"
            lines.append(f"{name:26}{cpu:12.2f}{shown:>10}{rate:12,.0f}{p50:10,.0f}{p99:10,.0f}")
        return "\n".join(lines)


def save(tables: Sequence[Table], target: Path) -> None:
    """Every single measurement, as JSON."""
    found: Mapping[str, object] = {
        table.scenario: {
            name: {"ratio": table.ratio(name), "repeats": [vars(result) for result in results]}
            for name, results in table.results.items()
        }
        for table in tables
    }
    target.write_text(json.dumps(found, indent=1))


def plot(tables: Sequence[Table], target: Path) -> None:
    """A bar per contender and scenario: server CPU per message."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(tables), 1, figsize=(9, 0.6 + 2.6 * len(tables)), squeeze=False)
    for axis, table in zip(axes[:, 0], tables, strict=True):
        rows = table.rows()[::-1]
        colours = ["#1f7a68" if name.startswith("persistconn") else "#b9b4a6" for name, *_ in rows]
        axis.barh([row[0] for row in rows], [row[1] for row in rows], color=colours)
        axis.set_title(table.scenario, loc="left", fontsize=10)
        axis.set_xlabel("server CPU per message, µs", fontsize=8)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(target)
