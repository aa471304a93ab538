"""What each application under test does: it tells the test what happens to it, and obeys it.

The test listens on a port. Every line to it is a JSON object, `{"event": ...}`; every line from it one too,
`{"order": ...}`, answered by `{"event": "obeyed", "number": ...}`. Orders come from a plain thread, as from any program
with no event loop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio

from persistconn import App, PersistconnError, Settings, serve

__all__ = ["MODULES", "OnPurpose", "Puppet", "add_files", "connect_to_test", "make_app", "run", "tell"]

HERE = Path(__file__).parent
MODULES = HERE.parent / "node_modules"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}

Obey: TypeAlias = Callable[[str, dict[str, Any]], "Awaitable[None]"]
"""`await obey(order, about)` does what a test orders."""


_tests: list[socket.socket] = []
_telling = threading.Lock()


def connect_to_test(port: int) -> Iterable[str]:
    """Have `tell` talk to the test, errors that are logged as well; gives what the test says, line by line."""
    _tests.append(socket.create_connection(("127.0.0.1", port)))
    tell_errors = TellErrors(logging.ERROR)
    logging.getLogger().addHandler(tell_errors)
    logging.getLogger("persistconn").addHandler(tell_errors)
    logging.getLogger("persistconn").propagate = False  # some servers print what reaches the root
    return _tests[-1].makefile("r", encoding="utf-8")


def tell(event: str, **details: Any) -> None:
    """One line, whole, from whatever thread."""
    line = json.dumps({"event": event, **details}).encode() + b"\n"
    with _telling:
        for test in _tests:
            test.sendall(line)


class OnPurpose(Exception):
    """What a test makes an application raise."""


class TellErrors(logging.Handler):
    """What the server logs as an error is an event like any other: a test sees it and fails."""

    def emit(self, record: logging.LogRecord) -> None:
        provoked = record.exc_info is not None and isinstance(record.exc_info[1], OnPurpose)
        tell("provoked" if provoked else "error", text=self.format(record))


def make_app(options: dict[str, Any], **more: Any) -> App:
    """As a test wants it."""
    return App(
        settings=Settings(**options.get("settings", {})),
        secret_keys=[key.encode() for key in options["secret_keys"]],
        allowed_origins=options.get("allowed_origins", ()),
        **more,
    )


def add_files(app: App, files: Mapping[str, Path]) -> None:
    """Pages and scripts, by path; the two scripts of the client are there anyway."""
    scripts = {
        "/jquery.js": MODULES / "jquery" / "dist" / "jquery.js",
        "/jquery.signalR.js": MODULES / "signalr" / "jquery.signalR.js",
    }
    for path, file in {**scripts, **files}.items():
        app.add_page(path, file.read_bytes(), TYPES[file.suffix])


@dataclass
class Puppet:
    """An application under test, whoever serves it."""

    app: App
    obey: Obey
    from_thread: Mapping[str, Callable[..., None]] = field(default_factory=dict)
    """Orders that are obeyed in the plain thread itself."""
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    """What the program does beside serving."""

    def listen(self, orders: Iterable[str], *, start_tasks: bool = False) -> None:
        """Obey from now on. With `start_tasks` begin with the first order what the program does beside serving."""
        threading.Thread(target=self._obey_all, args=(orders, start_tasks), daemon=True).start()

    def _obey_all(self, orders: Iterable[str], start_tasks: bool) -> None:
        with contextlib.suppress(ConnectionError):
            for number, line in enumerate(orders):
                if number == 0 and start_tasks:
                    for task in self.tasks:
                        threading.Thread(target=self._run, args=(task,), daemon=True).start()
                self._obey_one(json.loads(line))
        os.kill(os.getpid(), signal.SIGKILL)  # the test has gone

    def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(PersistconnError, RuntimeError):  # the loop has ended, and with it the task
            self.app.from_thread.run(task)

    def _obey_one(self, about: dict[str, Any]) -> None:
        number, order = about.pop("number"), about.pop("order")
        try:
            if order in self.from_thread:
                self.from_thread[order](**about)
            else:
                self.app.from_thread.run(self.obey, order, about)
        except Exception as error:  # the test is told, and fails there
            tell("obeyed", number=number, error=repr(error))
        else:
            tell("obeyed", number=number, error=None)

    async def serve(self, port: int, root_path: str) -> None:
        """On our own server, until the process ends."""
        async with anyio.create_task_group() as tasks:
            for task in self.tasks:
                tasks.start_soon(task)
            server = await tasks.start(partial(serve, self.app, port=port, root_path=root_path))
            tell("listening", port=server.port)


def run(make: Callable[[dict[str, Any]], Puppet]) -> None:
    """Serve `make(options)` on our own server, as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--options", type=json.loads, default={})
    arguments = parser.parse_args()
    orders = connect_to_test(arguments.control)
    puppet = make(arguments.options)
    puppet.listen(orders)
    backend, options = BACKENDS[arguments.backend]
    root_path = arguments.options.get("root_path", "")
    anyio.run(puppet.serve, arguments.port, root_path, backend=backend, backend_options=options)
