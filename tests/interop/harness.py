"""Starts the application under test in a process of its own, tells it what to do and waits for what it says."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .hosts import HOSTS, TELLS, free_port, host_command

__all__ = ["APPLICATION", "ASPNETCORE", "HUBS", "ROOT", "Event", "ServerProcess"]

ROOT = Path(__file__).parents[2]
APPLICATION = Path(__file__).parent / "servers" / "application.py"
HUBS = Path(__file__).parent / "servers" / "hubs.py"
ASPNETCORE = Path(__file__).parent / "servers" / "aspnetcore.py"

PATIENCE = 30.0
"""How long a start may take, in seconds."""

Event = dict[str, Any]


class ServerProcess:
    """A server and what it said. It can be killed and started again on the same port with the same keys.

    `backend` is an event loop of our own server, or an ASGI host and the mount point of the app: `granian/prefix`.
    """

    def __init__(
        self,
        backend: str,
        *,
        application: Path = APPLICATION,
        settings: dict[str, Any] | None = None,
        allowed_origins: Sequence[str] = (),
        root_path: str = "",
    ):
        self.backend, slash, mount = backend.partition("/")
        self.mount = slash + mount
        self.is_ours = self.backend not in HOSTS
        self.tells = self.is_ours or backend.startswith(TELLS)
        """When it ends in order, `on_disconnected(shutdown)` runs for those who are there."""
        self._application = application
        self.port = 0 if self.is_ours else free_port()
        self._options = {
            "settings": settings or {},
            "allowed_origins": list(allowed_origins),
            "root_path": root_path,
            "secret_keys": ["a key that all starts of this server share"],
        }
        self._events: list[Event] = []
        self._news = threading.Condition()
        self._orders = 0
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # closed in `close`
        self._log_read = 0
        self.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where the app is."""
        return f"{self.origin}{self.mount}"

    # Life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, on the port it had before if it had one, and wait until it listens."""
        since = self.mark()
        with socket.create_server(("127.0.0.1", 0)) as control:
            path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
            command, env = self._command(control.getsockname()[1])
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, "PYTHONPATH": path, **env},
                start_new_session=True,  # with its workers, so that they are killed together
            )
            try:
                self._line = self._accept(control)
            except BaseException:
                self._kill_all()
                raise
        self._reader = threading.Thread(target=self._read, args=(self._line,), daemon=True)
        self._reader.start()
        try:
            if self.is_ours:
                self.port = self.wait("listening", since=since, within=PATIENCE)["port"]
            else:
                self._until_it_answers()
        except BaseException:
            self.kill()
            raise

    def _command(self, control: int) -> tuple[list[str], dict[str, str]]:
        """The command line, and what it needs in the environment."""
        if self.is_ours:
            command = [sys.executable, str(self._application), "--backend", self.backend, "--port", str(self.port)]
            return [*command, "--control", str(control), "--options", json.dumps(self._options)], {}
        about = {"application": self._application.stem, "mount": self.mount, "control": control}
        env = {"PERSISTCONN_UNDER_TEST": json.dumps({**about, "options": self._options})}
        return host_command(self.backend, self.port, "tests.interop.servers.hosted:app"), env

    def _accept(self, control: socket.socket) -> socket.socket:
        control.settimeout(0.2)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line, _ = control.accept()
            except TimeoutError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.log
            else:
                line.settimeout(None)
                return line

    def _until_it_answers(self) -> None:
        """A request is served. Where there is no lifespan, this one has the app begin."""
        deadline = time.monotonic() + PATIENCE
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.request("GET", f"{self.mount}/jquery.js")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, self.log
                break
            except OSError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.log
                time.sleep(0.05)
            finally:
                connection.close()

    def kill(self) -> None:
        """As a power cut would end it."""
        self._kill_all()
        self._reap()

    def _kill_all(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM): it does, in time and, where this is our server, without a complaint."""
        begin = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._reap()
        assert time.monotonic() - begin < 10
        if self.is_ours:
            assert self._process.returncode == 0
        else:  # some hosts call it an error that clients were there
            self._log_read = len(self.log)

    def revive(self) -> None:
        """Start it again if a test that failed has left it dead."""
        if self._process.poll() is not None:
            self.start()

    def close(self) -> None:
        """End it whatever its state."""
        if self._process.poll() is None:
            self.kill()
        self._log.close()

    def _reap(self) -> None:
        try:
            self._process.wait(15)
        finally:
            self._kill_all()
            self._reader.join()
            self._line.close()

    def _read(self, line: socket.socket) -> None:
        with contextlib.suppress(ConnectionError), line.makefile("r", encoding="utf-8") as lines:
            for each in lines:
                with self._news:
                    self._events.append(json.loads(each))
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
                    said = "\n".join([*map(str, self._events[-20:]), self.log[-2000:]])
                    raise AssertionError(f"no {event!r} event with {details} within {within} s; the last ones:\n{said}")
            return found[0]

    def catch_up(self) -> None:
        """Read everything it has said so far: what a page has seen, the server may still be saying."""
        self.order("nothing")

    @property
    def log(self) -> str:
        """All it has printed."""
        end = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), end, 0).decode("utf-8", "replace")

    def complaints(self, since: int) -> list[str]:
        """What it has logged as an error, and what has been printed of exceptions since this was asked for last."""
        printed = self.log[self._log_read :]
        self._log_read += len(printed)
        traces = [printed] if "Traceback" in printed and not self.is_ours else []
        return [event["text"] for event in self.events("error", since=since)] + traces

    # What it is told ----------------------------------------------------------------------------

    def order(self, order: str, **about: Any) -> None:
        """Have it do something (`Chat.obey`), and wait until it has."""
        self._orders += 1
        self._line.sendall(json.dumps({"order": order, "number": self._orders, **about}).encode() + b"\n")
        answer = self.wait("obeyed", number=self._orders)
        assert answer["error"] is None, answer["error"]
