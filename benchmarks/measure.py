"""Runs servers on one core and the load on another, and reads what the scheduler says the server used.

The figure is the server's time on the CPU per message, user and kernel: it repeats on a busy machine, where
rates do not.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .contenders import Contender

__all__ = ["Figures", "Generator", "Server", "prepare", "running"]

_HERE = Path(__file__).parent

Figures = dict[str, float]
"""One measurement: `cpu_us`, the server's CPU per message in microseconds, and what else was seen."""


class Server:
    """A contender's process, with its workers if it has any."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def _processes(self) -> Iterator[Path]:
        found = [self.process.pid]
        for pid in found:
            yield Path(f"/proc/{pid}")
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())

    def cpu_ns(self) -> int:
        """Time on the CPU so far, of all its threads."""
        stats = [stat for one in self._processes() for stat in one.glob("task/*/schedstat")]
        return sum(int(stat.read_text().split()[0]) for stat in stats)

    def rss(self) -> int:
        """Resident memory, in bytes."""
        pages = sum(int((one / "statm").read_text().split()[1]) for one in self._processes())
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
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {_cores()[0]}),
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
        os.killpg(process.pid, signal.SIGKILL)  # a group of its own, so its workers end with it
        process.wait()
        process.stdout.close()


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("a server printed its port but does not listen")


_all_cores: list[int] = []


def _cores() -> list[int]:
    """Of this process at its start: servers run on the first, everything else on the last."""
    if not _all_cores:
        _all_cores.extend(sorted(os.sched_getaffinity(0)))
    return _all_cores


def prepare() -> None:
    """Keep this process, and with it the load, off the servers' core; allow as many sockets as the system does.

    Raises SystemExit where there is no scheduler to ask.
    """
    if not Path("/proc/self/schedstat").exists():
        raise SystemExit("the benchmarks need Linux: they read the servers' CPU time from /proc/PID/task/*/schedstat")
    os.sched_setaffinity(0, {_cores()[-1]})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Generator:
    """Makes the load: the C program, or where there is no compiler (or `python` is wanted) the same in Python."""

    def __init__(self, *, python: bool = False) -> None:
        compiler = None if python else shutil.which("cc")
        self.is_c = compiler is not None
        self._command = [sys.executable, str(_HERE / "load.py")]
        if compiler is not None:
            self._command = [str(_compiled(compiler))]

    def websockets(
        self,
        server: Server,
        sockets: Sequence[socket.socket],
        *,
        seconds: float,
        burst: int = 1,
        size: int = 1,
        window: int,
        rounds: int = 0,
        around: tuple[str, str],
        filler: str,
    ) -> Figures:
        """Groups of `size` sockets; `window` groups busy at a time. See load.c."""
        numbers = map(str, (seconds, burst, size, window, rounds))
        return self._run(server, sockets, ["ws", *numbers, *around, filler], "", seconds)

    def http(
        self,
        server: Server,
        sockets: Sequence[socket.socket],
        *,
        seconds: float,
        mode: str,
        requests: Sequence[str],
        filler: str,
    ) -> Figures:
        """A request per socket, again and again. See load.c."""
        told = "".join(f"{request}\0" for request in requests)
        return self._run(server, sockets, [mode, str(seconds), filler], told, seconds)

    def _run(
        self, server: Server, sockets: Sequence[socket.socket], arguments: list[str], told: str, seconds: float
    ) -> Figures:
        fds = [sock.fileno() for sock in sockets]
        before = server.cpu_ns()
        done = subprocess.run(
            [*self._command, *arguments, *map(str, fds)],
            pass_fds=fds,
            input=told,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
        )
        used = server.cpu_ns() - before
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        seen = json.loads(done.stdout)
        return {
            "cpu_us": used / 1e3 / seen["messages"],
            "rate": seen["messages"] / seen["seconds"],
            **{name: seen[name] for name in ("p50_us", "p99_us", "p999_us")},
        }


def _compiled(compiler: str) -> Path:
    target = Path(tempfile.gettempdir()) / f"persistconn-load-{os.getuid()}"
    source = _HERE / "load.c"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        subprocess.run([compiler, "-O2", "-o", str(target), str(source)], check=True)
    return target
