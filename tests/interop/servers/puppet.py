"""What each application under test does: it says on stdout what happens to it, and obeys stdin.

Every line of stdout is a JSON object, `{"event": ...}`; every line of stdin one too, `{"order": ...}`, answered by
`{"event": "obeyed", "number": ...}`. Orders come from a plain thread, as from any program with no event loop.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio

from persistconn import App, Settings, serve

__all__ = ["MODULES", "OnPurpose", "add_files", "make_app", "run", "serve_and_obey", "tell"]

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


def tell(event: str, **details: Any) -> None:
    """One line, whole, from whatever thread."""
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


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


def _obey_stdin(app: App, obey: Obey, from_thread: Mapping[str, Callable[..., None]]) -> None:
    for line in sys.stdin:
        about = json.loads(line)
        number, order = about.pop("number"), about.pop("order")
        try:
            if order in from_thread:
                from_thread[order](**about)
            else:
                app.from_thread.run(obey, order, about)
        except Exception as error:  # the test is told, and fails there
            tell("obeyed", number=number, error=repr(error))
        else:
            tell("obeyed", number=number, error=None)


async def serve_and_obey(
    app: App,
    port: int,
    obey: Obey,
    *,
    from_thread: Mapping[str, Callable[..., None]] | None = None,
    root_path: str = "",
) -> None:
    """Serve the app until the process ends. Orders in `from_thread` are obeyed in the plain thread itself."""
    threading.Thread(target=_obey_stdin, args=(app, obey, from_thread or {}), daemon=True).start()
    async with anyio.create_task_group() as tasks:
        server = await tasks.start(partial(serve, app, port=port, root_path=root_path))
        tell("listening", port=server.port)


def run(main: Callable[[dict[str, Any], int], Awaitable[None]]) -> None:
    """Run `await main(options, port)` as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--options", type=json.loads, default={})
    arguments = parser.parse_args()
    logging.getLogger().addHandler(TellErrors(logging.ERROR))
    backend, options = BACKENDS[arguments.backend]
    anyio.run(main, arguments.options, arguments.port, backend=backend, backend_options=options)
