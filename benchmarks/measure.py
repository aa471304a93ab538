"""Runs servers on one core and the load on another, and reads what the scheduler says the server used.

The figure is the server's time on the CPU per message, user and kernel: it repeats on a busy machine, where
rates do not.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .contenders import Contender

__all__ = ["Load", "Result", "Server", "build_load", "running"]

_HERE = Path(__file__).parent
SERVER_CORE, LOAD_CORE = 0, 1


@dataclass(frozen=True)
class Result:
    """One measurement."""

    cpu_us: float
    """Server CPU per message, in microseconds."""
    rate: float
    """Messages per second, for what it is worth."""
    p50_us: float
    p99_us: float
    p999_us: float


class Server:
    """A contender's process."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def cpu_ns(self) -> int:
        """Time on the CPU so far, of all its threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def rss(self) -> int:
        """Resident memory, in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


@contextmanager
def running(contender: Contender) -> Iterator[Server]:
    """Start it on its core; kill it afterwards."""
    command = [sys.executable, "-m", f"benchmarks.servers.{contender.command[0]}", *contender.command[1:]]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=_HERE.parent,
        preexec_fn=lambda: _pin(SERVER_CORE),
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{contender.name} did not start; run {' '.join(command)} to see why")
        server = Server(process, int(line))
        _wait_for(server.port)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("a server printed its port but does not listen")


def _pin(core: int) -> None:
    os.sched_setaffinity(0, {core})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build_load() -> list[str]:
    """Compile the load generator, unless that was done already, and give its command."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("benchmarks need a C compiler (cc) for the load generator")
    target = Path(tempfile.gettempdir()) / f"persistconn-load-{os.getuid()}"
    source = _HERE / "load.c"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        subprocess.run([compiler, "-O2", "-o", str(target), str(source)], check=True)
    return [str(target)]


class Load:
    """Connections to one server, and the messages over them."""

    def __init__(self, command: list[str], server: Server, sockets: Sequence[socket.socket]) -> None:
        self._command = command
        self._server = server
        self._sockets = sockets

    def run(self, mode: str, seconds: float, count: int, prefix: str, suffix: str, size: int) -> Result:
        """One measurement. A message of `size` bytes holds a marker of ten."""
        fds = [sock.fileno() for sock in self._sockets]
        filler = "x" * max(0, size - 10)
        before = self._server.cpu_ns()
        done = subprocess.run(
            [*self._command, mode, str(seconds), str(count), prefix, suffix, filler, *map(str, fds)],
            pass_fds=fds,
            capture_output=True,
            text=True,
            preexec_fn=lambda: _pin(LOAD_CORE),
            timeout=seconds + 60,
        )
        used = self._server.cpu_ns() - before
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        told = json.loads(done.stdout)
        return Result(
            cpu_us=used / 1e3 / told["messages"],
            rate=told["messages"] / told["seconds"],
            p50_us=told["p50_us"],
            p99_us=told["p99_us"],
            p999_us=told["p999_us"],
        )
