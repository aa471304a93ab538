"""Turns measurements into tables with ratios, JSON and plots: `python -m benchmarks.report results.json`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from .contenders import FLOORS, Contender
from .lines import LINES, Point, Verdict
from .measure import Figures

__all__ = ["Report", "Table", "about", "put"]

COLUMNS: Mapping[str, tuple[str, str]] = {
    "cpu_us": ("CPU µs", ",.2f"),
    "full": ("full", ",.0f"),
    "idle_kib": ("idle KiB", ",.1f"),
    "after_message_kib": ("message KiB", ",.1f"),
    "after_bursts_kib": ("bursts KiB", ",.1f"),
    "idle_cpu_percent": ("idle CPU %", ",.2f"),
    "rate": ("per second", ",.0f"),
    "p50_us": ("p50 µs", ",.0f"),
    "p99_us": ("p99 µs", ",.0f"),
    "p999_us": ("p99.9 µs", ",.0f"),
}
"""What a measurement may hold, with its heading and how it is printed."""


@dataclass
class Table:
    """The results of one scenario: a list per contender, one entry per repeat."""

    name: str
    unit: str
    figure: str
    results: dict[str, list[Figures]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """What went wrong, by contender."""

    def add(self, contender: str, figures: Figures) -> None:
        """One more repeat."""
        self.results.setdefault(contender, []).append(figures)

    def value(self, contender: str, figure: str = "") -> float | None:
        """The median; None when it was not measured."""
        found = self.results.get(contender)
        return median(one[figure or self.figure] for one in found) if found else None

    def ratio(self, contender: str) -> float | None:
        """The median of the ratios to its floor, repeat by repeat; None when the floor was not measured."""
        floor = self.results.get(FLOORS[contender])
        if floor is None or contender not in self.results or self.figure == "full":
            return None
        pairs = zip(self.results[contender], floor, strict=False)
        return median(mine[self.figure] / theirs[self.figure] for mine, theirs in pairs)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells for people; cheapest first."""
        seen = {name for found in self.results.values() for one in found for name in one}
        columns = [self.figure, *(name for name in COLUMNS if name in seen and name != self.figure)]
        headings = ["", COLUMNS[self.figure][0], "× floor", *(COLUMNS[name][0] for name in columns[1:])]
        rows = []
        for contender in sorted(self.results, key=lambda one: self.value(one) or 0):
            cells = [format(self.value(contender, name), COLUMNS[name][1]) for name in columns]
            ratio = self.ratio(contender)
            cells.insert(1, "" if ratio is None else f"{ratio:.2f}")
            rows.append([contender, *cells])
        return headings, rows

    def text(self) -> str:
        """For a terminal."""
        headings, rows = self.rows()
        return f"\n{self.name} ({self.unit})\n" + _aligned(headings, rows)

    def markdown(self) -> str:
        """For the documentation."""
        return f"**{self.name}** ({self.unit})\n\n" + _markdown(*self.rows())


@dataclass
class Report:
    """One run."""

    about: dict[str, str]
    tables: list[Table] = field(default_factory=list)

    def save(self, target: Path) -> None:
        """Every single measurement, as JSON."""
        found = {"about": self.about, "tables": [vars(table) for table in self.tables]}
        target.write_text(json.dumps(found, indent=1))

    @classmethod
    def load(cls, sources: Iterable[Path]) -> Report:
        """Read what `save` wrote; later files replace the tables of earlier ones."""
        tables: dict[str, Table] = {}
        told: dict[str, str] = {}
        for source in sources:
            found = json.loads(source.read_text())
            for name, text in found["about"].items():  # of several runs: what any of them says, once
                told[name] = ", ".join(dict.fromkeys([*told.get(name, text).split(", "), *text.split(", ")]))
            tables.update({table["name"]: Table(**table) for table in found["tables"]})
        return cls(told, list(tables.values()))

    def measured(self, point: Point) -> list[float]:
        """What was measured there, repeat by repeat."""
        table = next((one for one in self.tables if one.name == point.scenario), None)
        found = table.results.get(point.contender, []) if table is not None else []
        return [one[point.figure] for one in found]

    def verdicts(self) -> list[Verdict]:
        """All lines whose points were measured."""
        judged = (line.judge(self.measured) for line in LINES)
        return [verdict for verdict in judged if verdict is not None]

    def judgement(self) -> str:
        """The lines, for a terminal."""
        headings, rows = self._lines()
        return f"\nThe lines: {sum(one.met for one in self.verdicts())} of {len(rows)} met\n" + _aligned(headings, rows)

    def markdown(self) -> str:
        """All of it, for the documentation."""
        parts = [f"- {name}: {text}" for name, text in self.about.items()]
        return "\n\n".join(["\n".join(parts), _markdown(*self._lines()), *(table.markdown() for table in self.tables)])

    def _lines(self) -> tuple[list[str], list[list[str]]]:
        rows = [[one.text, one.wanted, one.seen, "met" if one.met else "NOT met"] for one in self.verdicts()]
        return ["line", "wanted", "seen", ""], rows

    def plot(self, folder: Path) -> None:
        """The cost per message by contender, and the growth with the number of readers, as SVG and PNG."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        folder.mkdir(parents=True, exist_ok=True)
        tables = [table for table in self.tables if table.figure == "cpu_us" and len(table.results) > 1]
        if tables:
            heights = [0.8 + 0.2 * len(table.results) for table in tables]
            figure, axes = pyplot.subplots(
                len(tables), 1, figsize=(9, sum(heights)), squeeze=False, height_ratios=heights
            )
            for axis, table in zip(axes[:, 0], tables, strict=True):
                _bars(axis, table)
            _store(figure, folder / "cost")
        figure, axis = pyplot.subplots(figsize=(8, 4.5))
        _growth(axis, self.tables)
        _store(figure, folder / "growth")
        pyplot.close("all")


def about(contenders: Sequence[Contender], *, generator_is_c: bool, repeats: int, seconds: float) -> dict[str, str]:
    """On what, with what, how."""
    packages = {name: None for one in contenders for name in one.needs}
    packages = dict.fromkeys(["persistconn", *packages])
    versions = []
    for name in packages:
        try:
            versions.append(f"{name} {version(_DISTRIBUTIONS.get(name, name))}")
        except PackageNotFoundError:
            continue
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "machine": f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} CPUs, {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(versions),
        "measured": f"{repeats} repeats of {seconds:g} s",
        "generator": "The load came from the C program."
        if generator_is_c
        else "The load came from the Python program: rates and percentiles show its limits, not the servers'.",
    }


_DISTRIBUTIONS = {"socketio": "python-socketio", "engineio": "python-engineio"}


def put(text: str, into: Path, name: str) -> None:
    """Replace what stands in a page between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""
    page = into.read_text()
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{into} has no place for the {name}: {begin.strip()} … {end}")
    into.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")


def _bars(axis: Any, table: Table) -> None:
    names = sorted(table.results, key=lambda one: -(table.value(one) or 0))
    colours = [
        "#1f7a68" if n.startswith("persistconn") else "#55524a" if n.startswith("raw") else "#b9b4a6" for n in names
    ]
    axis.barh(names, [table.value(name) for name in names], color=colours)
    axis.set_title(f"{table.name}: {table.unit}", loc="left", fontsize=10)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _growth(axis: Any, tables: Sequence[Table]) -> None:
    found: dict[str, list[tuple[int, float]]] = {}
    for table in tables:
        if table.name.startswith("broadcast to "):
            readers = int(table.name.removeprefix("broadcast to ").replace(",", ""))
            for name in table.results:
                found.setdefault(name, []).append((readers, table.value(name) or 0))
    shown = {name: sorted(points) for name, points in found.items() if len(points) > 2}
    for name, points in shown.items():
        style = "o-" if name.startswith("persistconn") else "s--" if name.startswith("raw") else "."
        axis.plot(*zip(*points, strict=True), style, label=name, markersize=4)
    axis.set_xlabel("readers of a broadcast")
    axis.set_ylabel("server CPU µs per delivered message")
    axis.set_yscale("log")
    ticks = (5, 10, 20, 50, 100, 200)
    axis.set_yticks(ticks, labels=ticks)
    axis.minorticks_off()
    if shown:
        axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _store(figure: Any, target: Path) -> None:
    figure.tight_layout()
    for kind in ("svg", "png"):
        figure.savefig(target.with_suffix(f".{kind}"))


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in [headings, *rows]) for at in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [headings, *rows]
    )


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("--:" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, rule, *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of one or more files as Markdown; with `--plots`, draw it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=main.__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="what `python -m benchmarks --json` wrote")
    parser.add_argument("--text", action="store_true", help="for a terminal")
    parser.add_argument("--plots", type=Path, help="a folder for SVG and PNG plots (needs matplotlib)")
    parser.add_argument("--into", type=Path, help="a page in which the report has its place")
    options = parser.parse_args(arguments)
    report = Report.load(options.results)
    text = report.markdown()
    if options.plots:
        report.plot(options.plots)
    if options.into:
        put(text, options.into, "results")
    elif options.text:
        print(*(table.text() for table in report.tables), report.judgement(), sep="\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
