"""What single steps cost, in CPU ns: `python -m benchmarks.micro`. The figures behind design decisions."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import h11
import msgspec
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from persistconn import Settings
from persistconn.protocol import Http1Server
from persistconn.protocol.websocket import WebSocket
from persistconn.wire.http import Chunk, End, Head, Message

from .report import put

Step = Callable[[], object]
REPEATS = 9
SOCKETS = 100


said: list[str] = []


def say(text: str) -> None:
    """Print it, and keep it for the page."""
    print(text, flush=True)
    said.append(text)


def table(title: str, steps: Mapping[str, Step], *, each: int = 1, enough: float = 0.01) -> None:
    """Interleaved, medians; the first is what the others are compared with. `each`: things one step does."""
    seen: dict[str, list[float]] = {name: [] for name in steps}
    gc.disable()
    for _ in range(REPEATS):
        for name, step in steps.items():
            count, began = 0, time.process_time_ns()
            while (spent := time.process_time_ns() - began) < enough * 1e9:
                for _ in range(50):
                    step()
                count += 50
            seen[name].append(spent / count / each)
    gc.enable()
    first = median(next(iter(seen.values())))
    say(f"\n| {title} | ns | × |\n| --- | --: | --: |")
    for name, found in seen.items():
        say(f"| {name} | {median(found):,.0f} | {median(found) / first:.2f} |")


def _frame(payload: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return b"\x81%c%b%b" % (0x80 | len(masked), mask, masked)


def receiving() -> None:
    """Frames and requests: ours, and the libraries that ours hands everything odd to."""
    frame = _frame(b"x" * 64)
    ours = WebSocket(Settings())
    theirs = Connection(ConnectionType.SERVER)

    def wsproto() -> None:
        theirs.receive_data(frame)
        list(theirs.events())

    table("receive a text frame of 64 B", {"ours": lambda: ours.receive(frame), "wsproto": wsproto})

    request = (
        b"POST /echo/send?transport=longPolling&connectionToken=abcdefgh HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\ndata=%22hi%22"[:-1]
    )
    answer = (Head(200, ((b"Content-Type", b"application/json"),)), Chunk(b"{}"), End())
    server = Http1Server()

    def plain() -> None:
        server.receive(request)
        server.send(answer)

    def long_way() -> None:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(request)
        while type(connection.next_event()) is not h11.EndOfMessage:
            pass
        connection.send(h11.Response(status_code=200, headers=[("Content-Type", "application/json")]))
        connection.send(h11.Data(data=b"{}"))
        connection.send(h11.EndOfMessage())

    table("a POST and its answer, as bytes", {"ours": plain, "h11": long_way})


def making() -> None:
    """What a message is made of."""
    value = {"user": "ann", "text": "good morning", "number": 12}
    table(
        "encode a small message",
        {"msgspec": lambda: msgspec.json.encode(value), "json": lambda: json.dumps(value).encode()},
    )

    text = '{"C":"d-12,1","M":["' + "x" * 64 + '"]}'
    connection = Connection(ConnectionType.SERVER)
    shared = Message(text)
    shared.to_wire()
    table(
        "a frame for one more reader",
        {
            "shared": lambda: shared.wire or shared.to_wire(),
            "made anew": lambda: Message(text).to_wire(),
            "made anew by wsproto": lambda: connection.send(TextMessage(text)),
        },
    )

    class Struct(msgspec.Struct, gc=False):
        topic: str
        payload: bytes
        position: int

    @dataclass(slots=True)
    class Data:
        topic: str
        payload: bytes
        position: int

    table("make a record", {"msgspec.Struct": lambda: Struct("a", b"b", 3), "dataclass": lambda: Data("a", b"b", 3)})


@contextmanager
def readers(count: int) -> Iterator[list[socket.socket]]:
    """Sockets whose other ends are read by another process."""
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listening:
        far = [socket.create_connection(listening.getsockname()) for _ in range(count)]
        near = [listening.accept()[0] for _ in far]
    child = os.fork()
    if child == 0:
        for sock in near:
            sock.close()
        with selectors.DefaultSelector() as selector:
            for sock in far:
                selector.register(sock, selectors.EVENT_READ, sock)
            while selector.get_map():
                for key, _ in selector.select():
                    if not key.data.recv(1 << 20):
                        selector.unregister(key.data)
        os._exit(0)
    for sock in far:
        sock.close()
    for sock in near:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    yield near
    for sock in near:
        sock.close()
    os.waitpid(child, 0)


async def sending(loop_name: str) -> None:
    """One frame to each of a hundred sockets, and sixteen to one."""
    frame = _frame(b"x" * 128)
    loop = asyncio.get_running_loop()
    with readers(SOCKETS) as direct, readers(SOCKETS) as theirs:
        transports: list[Any] = [(await loop.create_connection(asyncio.Protocol, sock=sock))[0] for sock in theirs]

        def send() -> None:
            for sock in direct:
                sock.send(frame)

        def write() -> None:
            for transport in transports:
                transport.write(frame)

        def burst() -> None:
            for _ in range(16):
                direct[0].send(frame)

        few = {"socket.send": send, "transport.write": write}
        table(f"send 134 B to a socket ({loop_name})", few, each=SOCKETS, enough=0.001)
        joined = {"joined": lambda: direct[0].send(frame * 16), "one by one": burst}
        table(f"send 134 B, sixteen to one socket ({loop_name})", joined, each=16, enough=0.005)
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0.05)


async def waking(loop_name: str) -> None:
    """How a message gets from the one who read it to the one who handles it."""
    loop = asyncio.get_running_loop()
    rounds = 2_000
    future: asyncio.Future[None] = loop.create_future()
    future.set_result(None)

    async def woken() -> None:
        nonlocal future
        for _ in range(rounds):
            future = loop.create_future()
            await future

    async def handler() -> None:
        pass

    async def timed(what: str) -> float:
        nonlocal future
        began = time.process_time_ns()
        if what == "a direct await":
            for _ in range(rounds):
                await handler()
        elif what == "a task of its own":
            for _ in range(rounds):
                await loop.create_task(handler())
        else:
            task = loop.create_task(woken())
            while not task.done():
                await asyncio.sleep(0)
                if not future.done():
                    future.set_result(None)
        return (time.process_time_ns() - began) / rounds

    names = ("a direct await", "a waiting task is woken, the waker goes on after it", "a task of its own")
    seen: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(REPEATS):
        for name in names:
            seen[name].append(await timed(name))
    say(f"\n| hand a message on ({loop_name}) | ns |\n| --- | --: |")
    for name, found in seen.items():
        say(f"| {name} | {median(found):,.0f} |")


def main(arguments: Sequence[str] | None = None) -> int:
    """All of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--into", type=Path, help="a page in which the figures have their place")
    into = parser.parse_args(arguments).into
    receiving()
    making()
    for name in ("asyncio", "uvloop"):
        factory: Any = None
        if name == "uvloop":
            try:
                import uvloop
            except ImportError:
                print("uvloop is not installed: left out")
                continue
            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(waking(name))
            runner.run(sending(name))
    if into:
        put("\n".join(said).strip(), into, "steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
