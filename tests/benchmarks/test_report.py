"""The report: medians of the ratios of each repeat, lines that are met or not, and what is stored comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.lines import Line, Point
from benchmarks.report import Report, Table

OURS, FLOOR, SOCKETIO = (
    Point("broadcast to 1,000", name) for name in ("persistconn-uvloop", "raw-uvloop", "socketio-uvicorn")
)


def report() -> Report:
    table = Table("broadcast to 1,000", "CPU µs per message", "cpu_us")
    for floor, ours, socketio in ((10.0, 11.0, 60.0), (20.0, 24.0, 80.0), (10.0, 11.5, 70.0)):
        table.add("raw-uvloop", {"cpu_us": floor, "rate": 1e6 / floor})
        table.add("persistconn-uvloop", {"cpu_us": ours, "rate": 1e6 / ours})
        table.add("socketio-uvicorn", {"cpu_us": socketio, "rate": 1e6 / socketio})
    return Report({"python": "CPython"}, [table])


def test_a_ratio_is_the_median_of_the_ratios_of_each_repeat() -> None:
    table = report().tables[0]
    assert table.ratio("persistconn-uvloop") == pytest.approx(1.15)
    assert table.value("persistconn-uvloop") == 11.5
    assert table.ratio("picows-uvloop") is None


def test_a_table_names_the_cheapest_first() -> None:
    assert report().tables[0].text().splitlines() == [
        "",
        "broadcast to 1,000 (CPU µs per message)",
        "                    CPU µs  × floor  per second",
        "raw-uvloop           10.00     1.00     100,000",
        "persistconn-uvloop   11.50     1.15      86,957",
        "socketio-uvicorn     70.00     6.00      14,286",
    ]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    report().save(file)
    assert Report.load([file]).markdown() == report().markdown()
    assert "| persistconn-uvloop | 11.50 | 1.15 | 86,957 |" in report().markdown()


@pytest.mark.parametrize(
    ("line", "seen", "met"),
    [
        (Line("", OURS, 1.2, to=FLOOR), "1.15 ×", True),
        (Line("", OURS, 1.1, to=FLOOR), "1.15 ×", False),
        (Line("", OURS, 1, over=FLOOR), "1.50 ×", False),
        (Line("", OURS, 12), "11.50 ×", True),
        (Line("", OURS, to=SOCKETIO, cheaper=5), "5.45 ×", True),
        (Line("", OURS, to=SOCKETIO, cheaper=6), "5.45 ×", False),
    ],
)
def test_a_line_is_met_or_not(line: Line, seen: str, met: bool) -> None:
    verdict = line.judge(report().measured)
    assert verdict is not None
    assert (verdict.seen, verdict.met) == (seen, met)


def test_what_was_not_measured_is_not_judged() -> None:
    assert Line("", Point("echo", "persistconn-uvloop"), 1).judge(report().measured) is None
    assert len(report().verdicts()) == 2  # to the floor, and cheaper than socketio: there is no `websockets` in it
