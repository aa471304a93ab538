"""The judge of Autobahn's report can say no."""

from __future__ import annotations

from tests.autobahn.report import EXPECTED, complaints


def report(**worst: str) -> dict[str, dict[str, dict[str, str]]]:
    cases = {f"1.1.{number}": {"behavior": "OK", "behaviorClose": "OK"} for number in range(EXPECTED)}
    cases["1.1.7"].update(worst)
    return {"ours": cases}


def test_a_clean_report():
    assert list(complaints(report(), ["ours"])) == []
    assert list(complaints(report(behavior="INFORMATIONAL", behaviorClose="INFORMATIONAL"), ["ours"])) == []


def test_a_failed_and_a_non_strict_case():
    assert list(complaints(report(behavior="FAILED"), ["ours"])) == ["ours: case 1.1.7: behavior is FAILED"]
    assert list(complaints(report(behavior="NON-STRICT"), ["ours"])) == ["ours: case 1.1.7: behavior is NON-STRICT"]
    assert list(complaints(report(behaviorClose="UNCLEAN"), ["ours"])) == ["ours: case 1.1.7: behaviorClose is UNCLEAN"]


def test_cases_that_did_not_run():
    few = report()
    del few["ours"]["1.1.3"]
    assert list(complaints(few, ["ours"])) == ["ours: 300 cases ran, not 301"]
    assert list(complaints(report(), ["theirs"])) == ["theirs: 0 cases ran, not 301"]
