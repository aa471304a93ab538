"""Starts the application under test in a process of its own, tells it what to do and waits for what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["APPLICATION", "ASPNETCORE", "HUBS", "ROOT", "Event", "ServerProcess"]

ROOT = Path(__file__).parents[2]
APPLICATION = Path(__file__).parent / "servers" / "application.py"
HUBS = Path(__file__).parent / "servers" / "hubs.py"
ASPNETCORE = Path(__file__).parent / "servers" / "aspnetcore.py"

Event = dict[str, Any]


class ServerProcess:
    """A server and what it said. It can be killed and started again on the same port with the same keys."""

    def __init__(
        self,
        backend: str,
        *,
        application: Path = APPLICATION,
        settings: dict[str, Any] | None = None,
        allowed_origins: Sequence[str] = (),
        root_path: str = "",
    ):
        self.backend = backend
        self._application = application
        self.port = 0
        self._options = {
            "settings": settings or {},
            "allowed_origins": list(allowed_origins),
            "root_path": root_path,
            "secret_keys": ["a key that all starts of this server share"],
        }
        self._events: list[Event] = []
        self._news = threading.Condition()
        self._orders = 0
        self.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # Life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, on the port it had before if it had one, and wait until it listens."""
        command = [sys.executable, str(self._application), "--backend", self.backend, "--port", str(self.port)]
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        self._process = subprocess.Popen(
            [*command, "--options", json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        since = self.mark()
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            self.port = self.wait("listening", since=since, within=20)["port"]
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """As a power cut would end it."""
        self._process.kill()
        self._reap()

    def terminate(self) -> float:
        """Ask it to end (SIGTERM), wait until it did; how many seconds that took."""
        begin = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._reap()
        return time.monotonic() - begin

    def close(self) -> None:
        """End it whatever its state."""
        if self._process.poll() is None:
            self.kill()

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def _reap(self) -> None:
        try:
            self._process.wait(15)
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._reader.join()
            self._process.stdin.close()
            self._process.stdout.close()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._news:
                self._events.append(json.loads(line))
                self._news.notify_all()

    # What it says -------------------------------------------------------------------------------

    def mark(self) -> int:
        """The number of events so far: what `since` takes to look at later ones only."""
        return len(self._events)

    def events(self, event: str, *, since: int = 0, **details: Any) -> list[Event]:
        """All events of that kind with these details, as far as they have been read: see `catch_up`."""
        wanted = {"event": event, **details}.items()
        return [each for each in self._events[since:] if wanted <= each.items()]

    def wait(self, event: str, *, since: int = 0, within: float = 15, **details: Any) -> Event:
        """The first event of that kind with these details; waits for it."""
        deadline = time.monotonic() + within
        with self._news:
            while not (found := self.events(event, since=since, **details)):
                left = deadline - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    said = "\n".join(map(str, self._events[-20:]))
                    raise AssertionError(f"no {event!r} event with {details} within {within} s; the last ones:\n{said}")
            return found[0]

    def catch_up(self) -> None:
        """Read everything it has said so far: what a page has seen, the server may still be saying."""
        self.order("nothing")

    # What it is told ----------------------------------------------------------------------------

    def order(self, order: str, **about: Any) -> None:
        """Have it do something (`Chat.obey`), and wait until it has."""
        self._orders += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": order, "number": self._orders, **about}) + "\n")
        self._process.stdin.flush()
        answer = self.wait("obeyed", number=self._orders)
        assert answer["error"] is None, answer["error"]
