"""The simulation finds bugs: each planted one, within a few seeds, by the rule it breaks."""

from __future__ import annotations

import pytest

from persistconn.testing import PromiseBroken, Simulation

from .planted import PLANTED, Planted
from .planted_aspnetcore import PLANTED_IN_ASPNETCORE

SEEDS = range(150)
STEPS = 1_800


@pytest.mark.parametrize("bug", PLANTED + PLANTED_IN_ASPNETCORE, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant(monkeypatch)
    for seed in SEEDS:
        try:
            Simulation(seed, dialects=bug.dialects).run(STEPS)
        except PromiseBroken as broken:
            print(f"{bug.name}: seed {seed}, step {broken.step}: {broken.cause}")
            found = broken.rule
            break
    else:
        pytest.fail(f"{bug.name} was not found in {len(SEEDS)} seeds")
    assert found in bug.shows


def test_a_violation_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    next(bug for bug in PLANTED if bug.name == "connected_twice").plant(monkeypatch)
    with pytest.raises(PromiseBroken) as first:
        Simulation(3, dialects=["classic"]).run(STEPS)
    with pytest.raises(PromiseBroken) as second:
        Simulation(3, dialects=["classic"]).run(STEPS)
    assert (first.value.seed, first.value.step) == (3, second.value.step)
    assert 0 < len(first.value.trace) <= 30
    assert str(first.value) == str(second.value)
    assert "Connected" in first.value.trace[-1]
