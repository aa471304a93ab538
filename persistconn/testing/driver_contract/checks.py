"""What a driver has to do while nothing special happens: messages, requests, slow and fast clients."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from .callers import Classic, Modern
from .check import SENT, Check, ContractBroken, Stand
from .trial import PATH
from .wire import Ended, frame

__all__ = ["CHECKS"]

_PING: Final = f"GET {PATH}/ping?clientProtocol=2.1 HTTP/1.1\r\nHost: contract\r\n\r\n"
_PONG: Final = {"Response": "pong"}
_ROOM: Final[dict[str, Any]] = {
    "ring_bytes": 67_108_864,
    "send_high_water": 100_000,
    "send_high_water_bytes": 1_000_000_000,
}
"""A client may be far behind."""

LOST: Final = "Call lost(exchange, now) when a socket has gone, whoever notices it: else the application is not told"
STEADY: Final = "Let nothing that a peer sends end anything but its own socket"


def echo(stand: Stand) -> None:
    """Every message comes back, on every transport."""
    for caller in stand.everybody():
        with stand.duty("Give every message to receive() or open(), and drain afterwards", caller):
            caller.say("one;")
            caller.poll()
            caller.wait("one")
        for number in range(3):
            with stand.duty(SENT, caller):
                assert caller.hear() == ("one;" if not number else f"{number};"), "another message came"
                caller.say(f"{number + 1};")


def order(stand: Stand) -> None:
    """What a client says, and what it is told, keeps its order."""
    for caller in stand.everybody():
        messages = [f"{number};" for number in range(10 if caller.transport == "longPolling" else 50)]
        with stand.duty("Give messages to receive(), and write Transmits, in the order in which they come", caller):
            if caller.transport == "webSockets" and caller.stream is not None:
                caller.stream.send(b"".join(frame(message) for message in messages))
            else:
                for message in messages:
                    caller.say(message)
            heard = [caller.hear() for _ in messages]
            assert heard == messages, f"{heard[:5]} … came instead of {messages[:5]} …"


def broadcast(stand: Stand) -> None:
    """What is for many leaves on all their exchanges, also on those that are alike."""
    callers = [*stand.everybody(), *stand.everybody()]
    for number in range(3):
        for caller in callers:
            caller.poll()
        with stand.duty("Write a Transmit to each of its exchanges, and call sent() for all of them"):
            callers[-number].say(f"all {number};")
            for caller in callers:
                heard = caller.hear()
                assert heard == f"{number};", f"{caller.name} was told {heard[:20]!r}"


def one_caller(stand: Stand) -> None:
    """Many clients talk at once, and the endpoint has one caller."""
    callers = [stand.caller(kind, "webSockets") for kind in (Classic, Modern) * 3]
    with stand.duty(SENT):
        for number in range(5):
            for caller in callers:
                caller.say(f"{number};")
        for caller in callers:
            assert [caller.hear() for _ in range(5)] == [f"{number};" for number in range(5)]


def requests(stand: Stand) -> None:
    """Requests in one piece, in many, and several behind each other."""
    wire = stand.wire()
    with stand.duty("Give what comes behind an answered request to receive(b'') when Http1Server is `pending`"):
        wire.send(_PING * 3)
        for _ in range(3):
            assert json.loads(wire.answer()[1]) == _PONG
    with stand.duty("Give bytes to Http1Server as they come, cut anywhere; it knows when a request is whole"):
        for byte in _PING:
            wire.send(byte)
        assert json.loads(wire.answer()[1]) == _PONG


def garbage(stand: Stand) -> None:
    """Peers that do not speak HTTP, or half of it, are told so and sent away; the others notice nothing."""
    caller = stand.caller(Classic, "webSockets")
    for rubbish in (
        b"rubbish\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\r\n\r\n",
    ):
        wire = stand.wire()
        with stand.duty("Write data_to_send() after each receive(), and close the socket once `closing` is set"):
            wire.send(rubbish)
            answer = wire.rest()
            assert not answer or answer.startswith(b"HTTP/1.1 4"), f"{rubbish!r} was answered {answer[:60]!r}"
    for half in (b"", b"GET /contr", b"POST /contract?id=x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"):
        wire = stand.wire()
        wire.send(half)
        wire.cut()
    for bad in (b"\x81\x01a", b"\xff\x80" + bytes(4), frame(b"\xff\xfe"), frame("x" * 70_000)):
        peer = stand.caller(Modern, "webSockets")
        assert peer.stream is not None
        with stand.duty(
            "Write data_to_send() behind what is in flight, and close the socket once `closing` is set", peer
        ):
            peer.stream.send(bad)
            with suppress(Ended):  # a close frame first is good manners
                peer.stream.hear()
                raise AssertionError("a message came")
            peer.stream.rest()
        with stand.duty("Call lost(exchange, now) for Closed, which Http1Server says when a WebSocket has ended", peer):
            peer.wait("disconnected: closed")
    with stand.duty(STEADY):
        caller.say("still here;")
        assert caller.hear() == "still here;"


def half_closed(stand: Stand) -> None:
    """A peer that says no more still gets the answer it waits for; then it is gone."""
    wire = stand.wire()
    with stand.duty("Write what is answered already when the peer closes its half of the socket; then close yours"):
        wire.send(_PING)
        wire.close_half()
        assert json.loads(wire.answer()[1]) == _PONG
        assert wire.rest() == b""
    caller = stand.caller(Modern, "serverSentEvents")
    assert caller.stream is not None
    with stand.duty(LOST, caller):
        caller.stream.close_half()
        caller.wait("disconnected: closed")


def lost(stand: Stand) -> None:
    """A client that goes without a word has gone, on every transport."""
    for caller in stand.everybody():
        with stand.duty(LOST, caller):
            caller.poll()
            if caller.transport == "longPolling":
                caller.wait("connected")
            caller.cut()
            caller.wait(
                "disconnected: closed"
                if caller.dialect != "classic" and caller.transport != "longPolling"
                else "disconnected: timed_out"
            )


def goodbye(stand: Stand) -> None:
    """A client that says goodbye, and an application that closes."""
    for caller in stand.everybody():
        with stand.duty(
            "Tell the endpoint of what ends a connection: an abort or DELETE, a close frame (lost)", caller
        ):
            caller.leave()
            caller.wait("disconnected: closed")
    for caller in stand.everybody():
        with stand.duty("Write an End as Http1Server sends it, and close the socket once `closing` is set", caller):
            caller.say("close;")
            caller.wait("disconnected: aborted")
            assert caller.stream is not None
            if caller.transport == "longPolling":
                caller.poll()
                assert caller.stream.answer()[0] in (200, 204)
                continue
            try:
                while True:
                    caller.take()
            except ConnectionError:
                pass
            if caller.transport == "webSockets":
                caller.stream.rest()


def reconnect(stand: Stand) -> None:
    """A client that was cut comes back, and gets what was said to it meanwhile."""
    other = stand.caller(Modern, "webSockets")
    for transport in ("webSockets", "serverSentEvents", "longPolling", "foreverFrame"):
        caller = stand.caller(Classic, transport)
        assert isinstance(caller, Classic)
        with stand.duty(LOST, caller):
            caller.cut()
            for number in range(3):
                other.say(f"to {caller.id} {number};")
                other.wait("to", number + 1)
            caller.come_back()
            assert [caller.hear() for _ in range(3)] == ["0;", "1;", "2;"]
        other.trial.told.forget(other.id)


def slow_reader(stand: Stand) -> None:
    """A client that reads nothing gets fewer and larger batches, loses nothing, and is waited for by nobody."""
    other = stand.caller(Classic, "webSockets")
    many = 120
    for kind, transport in ((Classic, "webSockets"), (Modern, "serverSentEvents")):
        caller = stand.caller(kind, transport)
        with stand.duty(
            "Never wait for a peer while you do what poll() says: what cannot be written now is for later", caller
        ):
            for number in range(many):
                caller.say(f"big {number};")
                caller.wait("big", number + 1)
            other.say("quick;")
            assert other.hear() == "quick;"
        with stand.duty("Write each Transmit once, whole and in order, however slowly its peer reads", caller):
            for number in range(many):
                assert caller.hear().lstrip("x") == f"{number};", f"message {number} did not come next"
        if kind is Classic and caller.batches > many - 10:
            stand.judge()
            raise ContractBroken(
                "Call sent(exchanges, now) when a Transmit is written, not before: a client that read nothing got"
                f" {many} messages in {caller.batches} batches, so they waited in the driver. ({caller.name})"
            )


def back_pressure(stand: Stand) -> None:
    """While the application is busy its client has to wait; and then it goes on."""
    other = stand.caller(Modern, "webSockets")
    for kind in (Classic, Modern):
        caller = stand.caller(kind, "webSockets")
        assert caller.stream is not None
        caller.say("hold;")
        with stand.duty("Give every message to receive(), and drain afterwards", caller):
            caller.wait("hold")
        data = frame("quiet" + " " * 60_000) * 400
        taken = caller.stream.push(data, 0.1)
        caller.stream.sock.settimeout(stand.patience)
        if taken == len(data):
            raise ContractBroken(
                "Read nothing more from an exchange while it is `paused`: look after each receive(), and go on after"
                f" Resume. ({caller.name}: {taken:,} bytes were read while the application was busy)"
            )
        with stand.duty("Never wait for a peer while you do what poll() says", other):
            other.say("release;")
            assert other.hear() == "release;"
        size = len(data) // 400
        with stand.duty("Read on after Resume(exchange)", caller):
            caller.stream.send(data[taken : -(-taken // size) * size])
            caller.say("free;")
            assert caller.hear() == "free;"


CHECKS: Final = (
    Check("echo", "messages come back on every transport", echo),
    Check("order", "nothing overtakes anything", order),
    Check("broadcast", "one Transmit for many exchanges", broadcast),
    Check("one caller", "calls of the endpoint do not overlap", one_caller, dwell=0.0005),
    Check("requests", "requests cut anywhere, or behind each other", requests),
    Check("garbage", "peers that speak no HTTP, or bad frames", garbage),
    Check("half closed", "peers that say no more, and listen", half_closed),
    Check("lost", "sockets that go without a word", lost, {"disconnect_timeout": 0.2, "disconnect_threshold": 0.0}),
    Check("goodbye", "an orderly end, from either side", goodbye),
    Check("reconnect", "clients that come back", reconnect),
    Check("slow reader", "one Transmit in flight: batches, and no loss", slow_reader, _ROOM),
    Check("back-pressure", "paused and Resume", back_pressure, {"inbox_messages": 8}),
)
