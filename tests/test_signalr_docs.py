"""The programs for clients of ASP.NET Core do what their pages say. `tests/interop` has those that need a library."""

from __future__ import annotations

import json
import socket
from typing import Any

import anyio
import anyio.to_thread
import pytest
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

from tests.test_docs import PATIENCE, example, serving

__all__ = ["example"]


class Bare:
    """A WebSocket and nothing more: no negotiation, no library."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._events: list[Any] = []
        self._socket.sendall(self._frames.send(Request(host="127.0.0.1", target=path)))
        assert isinstance(self._next(), AcceptConnection)

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _next(self) -> Any:
        while not self._events:
            self._frames.receive_data(self._socket.recv(65_536) or None)
            self._events += self._frames.events()
        return self._events.pop(0)

    def say(self, data: str | bytes) -> None:
        message = TextMessage(data) if isinstance(data, str) else BytesMessage(data)
        self._socket.sendall(self._frames.send(message))

    def hear(self) -> str | bytes:
        """All of the next message."""
        heard = self._next()
        if isinstance(heard, CloseConnection):
            return f"closed: {heard.code}"
        while not heard.message_finished:
            heard.data += self._next().data
        data: str | bytes = heard.data if isinstance(heard, TextMessage) else bytes(heard.data)
        return data

    def hear_all(self, size: int) -> str | bytes:
        """So much, in however many messages it comes."""
        heard = self.hear()
        while len(heard) < size:
            heard += self.hear()  # type: ignore[operator]  # a connection has one format
        return heard


async def test_sums_over_a_bare_websocket(example: Any) -> None:
    def converse(port: int) -> None:
        with Bare(port, "/sums") as ann, Bare(port, "/sums") as bob:
            ann.say("1\n2")
            assert ann.hear() == "sum 1\n"
            ann.say("0\n30\n")
            assert [ann.hear() for _ in "ab"] == ["sum 21\n", "sum 51\n"]
            assert [bob.hear() for _ in "ab"] == ["record 1\n", "record 51\n"]
            bob.say(b"5\n")
            assert bob.hear() == "sum 5\n"

    async with serving(example("raw_sums").app) as port:
        await anyio.to_thread.run_sync(converse, port)


async def test_a_protocol_of_ones_own(example: Any) -> None:
    program = example("own_protocol")

    def begin(port: int) -> list[Bare]:
        guests = [Bare(port, "/prices") for _ in "abc"]
        for guest, words in zip(guests, ("speak lines\n", "speak packed\n", "sing\n"), strict=True):
            guest.say(words[:3])
            guest.say(words[3:].encode())
        assert [guests[2].hear() for _ in "ab"] == ["what?\n", "closed: 1000"]
        guests[0].say("ask oak\nask")
        assert guests[0].hear() == "oak 6.0\n"
        guests[0].say(" birch\n")
        guests[1].say("ask elm\n")
        assert guests[0].hear() == "birch 10.0\n"
        assert guests[1].hear() == program.FORMS["packed"](program.Price("elm", 6.0))
        return guests

    def listen(guests: list[Bare]) -> None:
        prices = [program.Price("ash", 1.5), program.Price("fir", 2.5)]
        for guest, form in zip(guests, program.FORMS.values(), strict=False):
            whole = b"".join(map(form, prices))
            heard = guest.hear_all(len(whole))
            assert (heard.encode() if isinstance(heard, str) else heard) == whole
        for guest in guests:
            guest.__exit__()

    async with serving(program.app) as port:
        guests = await anyio.to_thread.run_sync(begin, port)
        for share, value in (("ash", 1.5), ("fir", 2.5)):
            await program.prices.tell(program.Price(share, value))
        await anyio.to_thread.run_sync(listen, guests)


class Caller(Bare):
    """A client of a hub, in JSON."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(port, path)
        self._told: list[Any] = []
        self.send({"protocol": "json", "version": 1})
        assert self.told() == {}

    def send(self, message: Any) -> None:
        self.say(json.dumps(message) + "\x1e")

    def told(self) -> Any:
        """The next message that is no ping."""
        while not self._told:
            texts = str(self.hear()).split("\x1e")
            self._told += [message for message in map(json.loads, texts[:-1]) if message.get("type") != 6]
        return self._told.pop(0)


async def test_an_answer_of_a_client_from_outside_a_hub(example: Any) -> None:
    program = example("hub_ask")

    def answer(caller: Caller) -> None:
        asked = caller.told()
        assert (asked["target"], asked["arguments"]) == ("names", [])
        caller.send({"type": 3, "invocationId": asked["invocationId"], "result": ["Ann", "Anna"]})

    def come(port: int) -> tuple[Caller, str]:
        caller = Caller(port, "/doors")
        caller.send({"type": 1, "invocationId": "1", "target": "whoAmI", "arguments": []})
        return caller, caller.told()["result"]

    async with serving(program.app) as port:
        caller, me = await anyio.to_thread.run_sync(come, port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, answer, caller)
            assert await program.names_of(me) == ["Ann", "Anna"]
        await anyio.to_thread.run_sync(caller.__exit__)


async def test_a_text_is_the_same_for_the_same_topic(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: b"")  # there is no script from npm here
    program = example("tokens")
    monkeypatch.undo()
    texts = ["".join(program.write_about("the harbour", 4)) for _ in "ab"]
    assert texts[0] == texts[1] != "".join(program.write_about("the weather", 4))
    assert texts[0].count("harbour") >= 1
