"""Every driver there is, as `driver_contract` wants it started: ours on both loops, and those of docs/examples."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

from persistconn.testing.driver_contract import Served, Trial

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def source_of(name: str) -> str:
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


def load(source: str, name: str = "example") -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, name, "exec"), vars(module))
    return module


@cache
def example(name: str) -> ModuleType:
    return load(source_of(name), name)


@contextmanager
def threads(trial: Trial, program: ModuleType | None = None) -> Iterator[Served]:
    program = program or example("threads_server")
    server = program.ThreadsServer(trial.endpoint, trial.application)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield Served(listener.getsockname(), drain=server.drain)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
