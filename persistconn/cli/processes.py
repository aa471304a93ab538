"""The processes behind `serve --workers` and `serve --reload`: started, watched, replaced and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import click

__all__ = ["Supervisor", "end_with_parent", "snapshot"]

TURN: Final = 0.1
"""Seconds between two looks at the processes."""
LOOK_AT_FILES: Final = 0.5
"""Seconds between two looks at the files."""
PATIENCE: Final = 15.0
"""A process that was told to end is killed after this; its own draining takes at most 10 s."""
HEALTHY: Final = 5.0
"""A process that lived this long was well; what ends earlier is started again ever more slowly."""
LONGEST_PAUSE: Final = 10.0
CANNOT_WORK: Final = 2
"""Exit code of a process that says itself why it cannot work: starting it again would not help."""

NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def snapshot(folder: Path) -> dict[str, int]:
    """The Python files below `folder`, hidden ones and virtual environments left out, and when each was changed."""
    found: dict[str, int] = {}
    for root, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in NOT_OURS]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(root, name)
                try:
                    found[path] = os.stat(path).st_mtime_ns
                except FileNotFoundError:
                    pass  # an editor was faster
    return found


def end_with_parent(pipe: int) -> None:
    """Terminate this process when the other end of `pipe` is closed, which happens however the parent ends."""

    def watch() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


class _Worker:
    """One process, and when it may be started again."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._pause = 0.0
        self.start()

    def start(self) -> None:
        self.process = self._start()
        self.began = time.monotonic()
        self.again_at: float | None = None

    def ended(self) -> int | None:
        """Its exit code, once."""
        code = self.process.poll() if self.again_at is None else None
        if code is not None:
            lived = time.monotonic() - self.began
            self._pause = 0.0 if lived >= HEALTHY else min(LONGEST_PAUSE, 2 * self._pause or 4 * TURN)
            self.again_at = time.monotonic() + self._pause
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()


class Supervisor:
    """Runs `workers` processes of `command`, each with the listening sockets `fds`, until told to end.

    With `reload`, a folder, there is one process; it is replaced whenever a Python file below changes.
    The listening sockets are ours: while a process is replaced, clients wait instead of being refused.
    """

    def __init__(
        self, command: Sequence[str], fds: Sequence[int], *, workers: int = 1, reload: Path | None = None
    ) -> None:
        self._command = command
        self._fds = tuple(fds)
        self._count = workers
        self._reload = reload
        self._workers: list[_Worker] = []
        self._told = 0
        self._passed_on = 0
        self._pipe = (-1, -1)

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or until a process cannot work. The exit code."""
        self._pipe = os.pipe()
        try:
            with self._signals():
                self._workers = [_Worker(self._start) for _ in range(self._count)]
                code = self._watch() if self._reload is None else self._watch_files(self._reload)
                self._end_all()
                return code
        finally:
            for worker in self._workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                worker.process.wait()
            for end in self._pipe:
                os.close(end)

    def _start(self) -> subprocess.Popen[bytes]:
        read_end = self._pipe[0]
        extra = [word for fd in self._fds for word in ("--fd", str(fd))]
        return subprocess.Popen(
            [*self._command, *extra, "--parent", str(read_end)],
            pass_fds=(*self._fds, read_end),
            process_group=0,  # Ctrl+C is for us; they are told by us
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def tell(_number: int, _frame: FrameType | None) -> None:
            self._told += 1

        before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self) -> int:
        while not self._told:
            for worker in self._workers:
                code = worker.ended()
                if code == CANNOT_WORK:
                    return code
                if code is not None:
                    click.echo(f"Worker {worker.process.pid} ended with {code}; starting another.", err=True)
                if worker.again_at is not None and worker.again_at <= time.monotonic():
                    worker.start()
            time.sleep(TURN)
        return 0

    def _watch_files(self, folder: Path) -> int:
        (worker,) = self._workers
        seen = snapshot(folder)
        while not self._told:
            time.sleep(LOOK_AT_FILES)
            now = snapshot(folder)
            changed = sorted(path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path))
            seen = now
            if changed and not self._told:
                click.echo(f"{os.path.relpath(changed[0], folder)} has changed; starting again.", err=True)
                self._end_all()
                worker.start()
            elif worker.ended() is not None:
                click.echo("The server has ended; it starts again when a file changes.", err=True)
        return 0

    def _end_all(self) -> None:
        """Tell all to end and wait; a second signal to us is a second one to them."""
        patience = time.monotonic() + PATIENCE
        for worker in self._workers:
            worker.end()
        self._passed_on = self._told
        while any(worker.process.poll() is None for worker in self._workers) and time.monotonic() < patience:
            if self._told > max(1, self._passed_on):
                self._passed_on = self._told
                for worker in self._workers:
                    worker.end()
            time.sleep(TURN)
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
