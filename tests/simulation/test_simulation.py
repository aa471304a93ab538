"""The promise, against a bad world: a few seeds always, many in `nox -s simulate`."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from persistconn.testing import Simulation, SimulationReport
from persistconn.testing.aspnetcore_peers import TRANSPORTS as TRANSPORTS_OF_ASPNETCORE
from persistconn.testing.peers import TRANSPORTS

SEEDS = 960
STEPS = 1_650
LEAST_STEPS = 1_000_000
"""That clients of ASP.NET Core take part in."""
PROCESSES = 2


@pytest.mark.parametrize("seed", range(20))
def test_the_promise_holds(seed: int) -> None:
    report = Simulation(seed).run(1_000)
    assert report.steps >= 1_000


def test_a_seed_is_a_world() -> None:
    """The same in another process with other hashes; another seed is another world."""
    code = "from persistconn.testing import Simulation; print(Simulation(5).run(600).trace_hash)"
    here = Simulation(5).run(600).trace_hash
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here
    assert Simulation(6).run(600).trace_hash != here


def run(seed: int) -> SimulationReport:
    """One seed, in a process of the pool."""
    return Simulation(seed).run(STEPS)


def has_aspnetcore(report: SimulationReport) -> bool:
    """Somebody spoke that dialect in this world."""
    return any(name.startswith("aspnetcore") for name in report.transports)


@pytest.mark.simulation
@pytest.mark.timeout(900)
def test_a_million_steps(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        reports = list(pool.map(run, range(SEEDS), chunksize=4))
    seconds = time.monotonic() - began
    transports: Counter[str] = Counter()
    for report in reports:
        transports.update(report.transports)
    steps = sum(report.steps for report in reports)
    with capsys.disabled():
        print(
            f"\n{len(reports)} seeds, {steps:,} steps, {sum(r.seconds for r in reports) / 3600:.1f} virtual hours "
            f"in {seconds:.0f} s: {sum(r.deliveries for r in reports):,} deliveries, "
            f"{sum(r.reconnects for r in reports):,} reconnects, {sum(r.gaps for r in reports):,} gaps told, "
            f"{sum(r.lost for r in reports):,} messages in them, {sum(r.restarts for r in reports):,} restarts; "
            f"transports {dict(transports)}"
        )
    assert len(reports) >= 500
    assert sum(report.steps for report in reports if has_aspnetcore(report)) >= LEAST_STEPS
    assert all(transports[name] > 1_000 for name in TRANSPORTS)
    assert all(transports[f"aspnetcore {name}"] > 1_000 for name in TRANSPORTS_OF_ASPNETCORE)
