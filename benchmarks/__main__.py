"""`python -m benchmarks`: every scenario over every contender that is installed, alternating, with ratios."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .contenders import Contender, choose
from .measure import Generator, Server, prepare, running
from .report import Report, Table, about
from .scenarios import SCENARIOS, Idle, Run, Scenario

QUICK_CONNECTIONS = 1_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], help="scenarios whose names hold this; repeat it for more"
    )
    parser.add_argument("--contenders", default="", help="beginnings of names, comma-separated; all by default")
    parser.add_argument("--repeats", type=int, help="5 by default")
    parser.add_argument("--seconds", type=float, help="of load per measurement; 0.8 by default")
    parser.add_argument("--quick", action="store_true", help="a short look: 2 × 0.3 s, at most 1,000 connections")
    parser.add_argument("--python", action="store_true", help="make the load in Python though there is a C compiler")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--json", type=Path, help="where every single measurement goes")
    parser.add_argument("--plots", type=Path, help="a folder for SVG and PNG plots (needs matplotlib)")
    options = parser.parse_args(arguments)
    contenders = choose(options.contenders)
    scenarios = _chosen(options.only, options.quick)
    if options.list:
        print(*(one.name for one in scenarios), "", *(one.name for one in contenders), sep="\n")
        return 0
    repeats = options.repeats or (2 if options.quick else 5)
    seconds = options.seconds or (0.3 if options.quick else 0.8)
    prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # by way of `finally`: no server is left behind
    generator = Generator(python=options.python)
    report = Report(about(contenders, generator_is_c=generator.is_c, repeats=repeats, seconds=seconds))
    began = time.perf_counter()
    for scenario in scenarios:
        table = Table(scenario.name, scenario.unit, scenario.figure)
        taking_part = [one for one in contenders if scenario.can(one)]
        _measure(table, scenario, taking_part, generator, min(repeats, scenario.repeats), seconds)
        if table.results:
            report.tables.append(table)
            print(table.text(), flush=True)
        if options.json:
            report.save(options.json)
    print(report.judgement())
    print(f"\n{report.about['generator']} {time.perf_counter() - began:.0f} s.")
    if options.plots:
        report.plot(options.plots)
    return 0


def _chosen(only: Sequence[str], quick: bool) -> list[Scenario]:
    chosen = [one for one in SCENARIOS if not only or any(word in one.name for word in only)]
    if not quick:
        return chosen
    fewer = [
        dataclasses.replace(one, name="1,000 idle connections", connections=QUICK_CONNECTIONS, watched=3.0)
        if isinstance(one, Idle)
        else one
        for one in chosen
    ]
    return [one for one in fewer if one.connections <= QUICK_CONNECTIONS]


def _measure(
    table: Table, scenario: Scenario, contenders: list[Contender], generator: Generator, repeats: int, seconds: float
) -> None:
    """The contenders take turns, back and forth, so that a busy minute of the machine hits all of them."""
    servers: dict[str, Server] = {}
    with ExitStack() as kept:
        for repeat in range(repeats):
            for contender in contenders if repeat % 2 == 0 else reversed(contenders):
                if contender.name in table.failed:
                    continue
                with ExitStack() as stack:
                    keeper = stack if scenario.fresh else kept
                    try:
                        if scenario.fresh or contender.name not in servers:
                            servers[contender.name] = keeper.enter_context(running(contender))
                        run = Run(contender, servers[contender.name], generator, seconds)
                        table.add(contender.name, scenario.run(run))
                    except (RuntimeError, OSError) as error:  # it is said which, and the others go on
                        table.failed[contender.name] = str(error)
                        print(f"{scenario.name}: {contender.name} failed: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
