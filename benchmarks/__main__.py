"""`python -m benchmarks`: every scenario over every contender that is installed, alternating, with ratios."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .contenders import CONTENDERS, Contender, installed
from .measure import Load, Server, build_load, running
from .report import Table, plot, save

SCENARIOS = {
    # name: (mode, connections, burst or rounds, bytes)
    "echo, 10 connections, 64 B": ("echo", 10, 1, 64),
    "echo, 100 connections, 64 B": ("echo", 100, 1, 64),
    "echo, 10 connections, bursts of 16, 64 B": ("echo", 10, 16, 64),
    "broadcast to 1,000, 128 B": ("broadcast", 1000, 30, 128),
    "broadcast to 5,000, 128 B": ("broadcast", 5000, 10, 128),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose names hold this")
    parser.add_argument("--contenders", default="", help="names, comma-separated; all that are installed by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="of load per measurement")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="an SVG or PNG file (needs matplotlib)")
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = [name for name in options.contenders.split(",") if name]
    contenders = [one for one in CONTENDERS if installed(one) and (not wanted or one.name in wanted)]
    load = build_load()
    tables = []
    for scenario, (mode, count, burst, size) in SCENARIOS.items():
        if options.only in scenario:
            taking_part = [one for one in contenders if mode in one.wires]
            table = _run(scenario, mode, count, burst, size, taking_part, load, options)
            print(table.text(), flush=True)
            tables.append(table)
    if options.json:
        save(tables, options.json)
    if options.plot:
        plot(tables, options.plot)
    return 0


def _run(
    scenario: str,
    mode: str,
    count: int,
    burst: int,
    size: int,
    contenders: list[Contender],
    load: list[str],
    options: argparse.Namespace,
) -> Table:
    """All servers run at once and are visited in turn, back and forth, so that a busy minute hits all of them."""
    table = Table(scenario)
    with ExitStack() as stack:
        servers: list[tuple[Contender, Server]] = [(one, stack.enter_context(running(one))) for one in contenders]
        for repeat in range(options.repeats):
            for contender, server in servers if repeat % 2 == 0 else reversed(servers):
                wire = contender.wires[mode]
                with ExitStack() as connections:
                    dialled = [connections.enter_context(wire.dial(server.port, f"/{mode}")) for _ in range(count)]
                    if wire.trigger is not None:
                        dialled.insert(0, connections.enter_context(wire.trigger(server.port, f"/{mode}")))
                    job = Load(load, server, dialled)
                    table.add(contender.name, job.run(mode, options.seconds, burst, wire.prefix, wire.suffix, size))
    return table


if __name__ == "__main__":
    sys.exit(main())
