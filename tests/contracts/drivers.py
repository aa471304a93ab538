"""Every driver there is, as `driver_contract` wants it started: ours on both loops, and those of docs/examples."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from persistconn import serve
from persistconn.testing.driver_contract import Served, Trial

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@cache
def source_of(name: str) -> str:
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


def load(name: str, source: str, shared: str) -> ModuleType:
    """A program of docs/examples, with what it imports from `by_hand` beside it."""
    module, by_hand = ModuleType(name), ModuleType("by_hand")
    exec(compile(shared, "by_hand.py", "exec"), vars(by_hand))
    sys.modules["by_hand"] = by_hand
    try:
        exec(compile(source, f"{name}.py", "exec"), vars(module))
    finally:
        del sys.modules["by_hand"]
    return module


@cache
def example(name: str) -> ModuleType:
    return load(name, source_of(name), source_of("by_hand"))


@contextmanager
def threads(trial: Trial, program: ModuleType | None = None) -> Iterator[Served]:
    server = (program or example("threads_server")).ThreadsServer(trial.endpoint, trial.application)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield Served(listener.getsockname(), drain=server.shut_down)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def bare_asyncio(trial: Trial, program: ModuleType | None = None) -> Iterator[Served]:
    program = program or example("asyncio_server")

    links: list[Any] = []

    async def start() -> tuple[Any, asyncio.Server]:
        server = program.AsyncioServer(trial.endpoint, trial.application)

        def link() -> Any:
            links.append(program.Link(server))
            return links[-1]

        return server, await server.loop.create_server(link, "127.0.0.1", 0)

    async def stop() -> None:
        listening.close()
        for _ in range(3):  # sockets that have just been accepted are no links yet
            await asyncio.sleep(0)
            for link in links:
                if hasattr(link, "transport"):
                    link.transport.abort()

    with start_blocking_portal("asyncio") as portal:
        server, listening = portal.call(start)
        try:
            yield Served(listening.sockets[0].getsockname(), drain=partial(portal.call, server.shut_down))
        finally:
            portal.call(stop)


@contextmanager
def selectors(trial: Trial, program: ModuleType | None = None) -> Iterator[Served]:
    server = (program or example("selectors_server")).SelectorsServer(trial.endpoint, trial.application)
    asked, asking = socket.socketpair()  # how other threads get a word in

    def obey(_: int) -> None:
        if asked.recv(1) == b"d":
            server.endpoint.drain(time.monotonic())
        else:
            server.is_running = False

    server.selector.register(asked, 1, obey)
    with asked, asking, socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield Served(listener.getsockname(), drain=lambda: asking.send(b"d"))
        finally:
            asking.send(b"e")
            thread.join()
            for key in list(server.selector.get_map().values()):
                key.fileobj.close()
            server.selector.close()


@cache
def reactor() -> Any:
    """Twisted has one for the whole process, and it can be started once."""
    from twisted.internet import reactor

    threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True).start()
    return reactor


@contextmanager
def twisted(trial: Trial, program: ModuleType | None = None) -> Iterator[Served]:
    from twisted.internet.threads import blockingCallFromThread

    server = (program or example("twisted_server")).TwistedServer(trial.endpoint, trial.application)
    call = partial(blockingCallFromThread, reactor())
    port = call(lambda: reactor().listenTCP(0, server, interface="127.0.0.1"))
    try:
        address = port.getHost()
        yield Served((address.host, address.port), drain=partial(call, server.shut_down))
    finally:
        call(port.stopListening)


@contextmanager
def ours(trial: Trial, *, backend: str, stream_driver: Any = None) -> Iterator[Served]:
    with start_blocking_portal(backend) as portal:
        served = partial(serve, trial.app, port=0, stream_driver=stream_driver, access_log=False)
        future, server = portal.start_task(served)
        try:
            yield Served(("127.0.0.1", server.port), drain=partial(portal.call, server.shutdown))
        finally:
            portal.call(server.shutdown)
            portal.call(server.shutdown)  # at once
            future.result()


@contextmanager
def on_uvicorn(trial: Trial) -> Iterator[Served]:
    import uvicorn
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class Impatient(WebSocketsSansIOProtocol):
        """The genuine one waits ten seconds for the other half of a close, in its `__init__`: as long as a check."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.close_timeout = 0.5

    options: dict[str, Any] = {"http": "httptools", "ws": Impatient, "ws_ping_interval": None, "lifespan": "on"}
    server = uvicorn.Server(uvicorn.Config(trial.app, **options, log_config=None, access_log=False))

    def drain() -> None:  # threads get no signals
        trial.app.from_thread.run(trial.app.drain)
        server.should_exit = True

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.001)
        try:
            yield Served(address, drain=drain)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def on_hypercorn(trial: Trial, *, backend: str) -> Iterator[Served]:
    from hypercorn.config import Config

    serve = importlib.import_module(f"hypercorn.{backend}").serve
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "CRITICAL"
    config.keep_alive_timeout = 3.0  # a peer that says no more has to wait for that
    told = anyio.Event()
    with start_blocking_portal(backend) as portal:

        def drain() -> None:
            portal.call(trial.app.drain)
            portal.call(told.set)

        future = portal.start_task_soon(partial(serve, trial.app, config, shutdown_trigger=told.wait, mode="asgi"))
        while trial.app.health()["status"] != "running":
            time.sleep(0.001)
        try:
            yield Served(address, drain=drain)
        finally:
            portal.call(told.set)
            future.result()


DRIVERS = {
    "threads": threads,
    "asyncio": bare_asyncio,
    "selectors": selectors,
    "twisted": twisted,
    "ours-asyncio": partial(ours, backend="asyncio"),
    "ours-trio": partial(ours, backend="trio"),
    "ours-anyio": partial(ours, backend="trio", stream_driver="anyio"),
    "uvicorn": on_uvicorn,
    "hypercorn-asyncio": partial(on_hypercorn, backend="asyncio"),
    "hypercorn-trio": partial(on_hypercorn, backend="trio"),
}
