"""`persistconn serve MODULE:APP`: an app on our own server, in one process or several."""

from __future__ import annotations

import importlib.util
import logging
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click

from persistconn import App, ConfigurationError
from persistconn import serve as serve_app

from ..drivers.listeners import Listener, bind, bind_unix
from ..drivers.server import tls_context
from .loading import Refused, load_app
from .processes import Supervisor, end_with_parent

__all__ = ["Options", "serve"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says."""

    target: str
    host: str
    port: int
    uds: str | None
    backend: str
    uvloop: bool
    workers: int
    tls_cert: str | None
    tls_key: str | None
    reload: bool
    root_path: str
    access_log: bool
    fd: tuple[int, ...]
    parent: int | None

    @property
    def loop(self) -> str:
        """What runs it, in a word."""
        return "uvloop" if self.uvloop else self.backend


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address or name to listen on; '' is all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: a free one.")
@click.option("--uds", metavar="PATH", help="Listen on this Unix socket instead.")
@click.option("--backend", default="asyncio", show_default=True, type=click.Choice(["asyncio", "trio"]))
@click.option("--uvloop", is_flag=True, help="Run asyncio on uvloop.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes to run.")
@click.option("--tls-cert", metavar="PEM", help="Certificate chain: serve https.")
@click.option("--tls-key", metavar="PEM", help="Its private key, unless it is in the same file.")
@click.option("--root-path", default="", metavar="PATH", help="What a proxy in front takes off every path.")
@click.option("--reload", is_flag=True, help="Start again when a Python file below this folder changes.")
@click.option("--access-log/--no-access-log", default=True, show_default=True, help="A line for each request.")
@click.option("--fd", multiple=True, type=int, hidden=True, help="A listening socket handed down by the parent.")
@click.option("--parent", type=int, hidden=True, help="A pipe that closes when the parent ends.")
def serve(**options: Any) -> None:
    """Serve the App named APP in MODULE, which may be in the current folder.

    \b
        persistconn serve echo:app --port 8000

    SIGTERM or Ctrl+C ends it in good order; a second one at once.
    """
    given = Options(**options)
    _set_up_logging()
    try:
        _check(given)
        if given.workers > 1 or given.reload:
            sys.exit(_run_many(given))
        _run_one(given)
    except (ConfigurationError, OSError) as error:
        raise Refused(str(error)) from error


def _check(given: Options) -> None:
    """Refuse what cannot work before anything is imported or bound."""
    if given.uvloop and given.backend != "asyncio":
        raise Refused(f"--uvloop is a way to run asyncio: it cannot go with --backend {given.backend}.")
    if given.uvloop and importlib.util.find_spec("uvloop") is None:
        raise Refused("--uvloop needs uvloop: `pip install persistconn[uvloop]`.")
    if given.backend == "trio" and importlib.util.find_spec("trio") is None:
        raise Refused("--backend trio needs trio: `pip install persistconn[trio]`.")
    if given.reload and given.workers > 1:
        raise Refused("--reload runs one process: it cannot go with --workers.")
    if given.tls_key is not None and given.tls_cert is None:
        raise Refused("--tls-key is there but --tls-cert is not: TLS needs both, or one file with both.")
    tls_context(given.tls_cert, given.tls_key)


def _check_workers(app: App, workers: int) -> None:
    """Processes know nothing of each other's connections without a bus, nor trust each other's tokens without keys."""
    missing = [name for name in ("bus", "secret_keys") if getattr(app, name, None) is None]
    if missing:
        lacking = " and no ".join(missing)
        raise Refused(f"--workers {workers} needs App(bus=…, secret_keys=[…]): this app has no {lacking}.")


def _set_up_logging() -> None:
    """Log to stderr, unless the app has its own idea when it is imported."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("persistconn").setLevel(logging.INFO)


# One process --------------------------------------------------------------------------------------


class _Announcement:
    """Told by `serve` when it listens: only then is there something to connect to."""

    def __init__(self, given: Options) -> None:
        self._given = given

    def started(self, value: Any = None) -> None:
        if not self._given.fd:
            _announce(self._given, value.addresses)


def _announce(given: Options, addresses: Sequence[tuple[str, int] | str]) -> None:
    scheme = "http" if given.tls_cert is None else "https"
    for address in addresses:
        if isinstance(address, str):
            place = f"the Unix socket {address}"
        else:
            host, port = address
            place = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        many = f", {given.workers} workers" if given.workers > 1 else ""
        click.echo(f"{given.target} is at {place} ({given.loop}{many}; Ctrl+C ends it)")


def _run_one(given: Options) -> None:
    if given.parent is not None:
        end_with_parent(given.parent)
    app = load_app(given.target)
    anyio.run(
        _serve,
        app,
        given,
        backend=given.backend,
        backend_options={"use_uvloop": given.uvloop} if given.backend == "asyncio" else {},
    )


async def _serve(app: App, given: Options) -> None:
    await serve_app(
        app,
        host=given.host,
        port=given.port,
        uds=given.uds,
        sockets=[socket.socket(fileno=fd) for fd in given.fd] or None,
        tls_cert=given.tls_cert,
        tls_key=given.tls_key,
        root_path=given.root_path,
        access_log=given.access_log,
        task_status=_Announcement(given),
    )


# Several ------------------------------------------------------------------------------------------


def _run_many(given: Options) -> int:
    if given.workers > 1:
        _check_workers(load_app(given.target), given.workers)
    listeners = [bind_unix(given.uds)] if given.uds is not None else bind(given.host, given.port)
    try:
        _announce(given, [listener.address for listener in listeners])
        return Supervisor(
            _command(given),
            _descriptors(listeners),
            workers=given.workers,
            reload=Path.cwd() if given.reload else None,
        ).run()
    finally:
        for listener in listeners:
            listener.close()


def _descriptors(listeners: Sequence[Listener]) -> list[int]:
    return [listener.socket.fileno() for listener in listeners]


def _command(given: Options) -> list[str]:
    """What each process runs: the same, as one."""
    command = [sys.executable, "-m", "persistconn", "serve", given.target, "--backend", given.backend]
    command += ["--uvloop"] * given.uvloop
    command += ["--access-log" if given.access_log else "--no-access-log"]
    command += ["--root-path", given.root_path] if given.root_path else []
    for option, value in (("--tls-cert", given.tls_cert), ("--tls-key", given.tls_key)):
        command += [option, value] if value is not None else []
    return command
