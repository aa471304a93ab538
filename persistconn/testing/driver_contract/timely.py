"""What a driver has to do because time passes, and when the server goes away."""

from __future__ import annotations

from typing import Final

from .callers import CALLERS, Classic, Modern
from .check import Check, ContractBroken, Stand
from .wire import Ended

__all__ = ["CHECKS"]

TICK: Final = "Call tick(now) when a Wait is over, and drain; each Wait that poll() says replaces the one before"


def keep_alive(stand: Stand) -> None:
    """Signs of life come on streams, while nothing else happens."""
    streams = [(kind, name) for kind, name in CALLERS if kind is Classic and name != "longPolling"]
    for caller in [stand.caller(kind, name) for kind, name in streams]:
        with stand.duty(TICK, caller):
            for _ in range(3):
                caller.take()


def polls(stand: Stand) -> None:
    """A poll for which there is nothing is answered in time."""
    callers = [stand.caller(kind, "longPolling") for kind in (Classic, Modern)]
    for caller in callers:
        caller.poll()
    for caller in callers:
        with stand.duty(TICK, caller):
            caller.take()


def time_out(stand: Stand) -> None:
    """Who does not come back in time is gone; the clock runs although nobody calls."""
    caller = stand.caller(Classic, "webSockets")
    caller.cut()
    with stand.duty(f"{TICK}; before that, call lost() when the socket has gone", caller):
        caller.wait("disconnected: timed_out")


def pongs(stand: Stand) -> None:
    """Who answers pings lives, who does not is cut. A driver that cannot ping says `pings=False`."""
    caller = stand.caller(Classic, "webSockets")
    silent = stand.caller(Classic, "webSockets")
    assert caller.stream is not None and silent.stream is not None
    silent.stream.answers_pings = False
    with stand.duty("Call pong(exchange, now) for each Pong, or open exchanges with pings=False", caller):
        for _ in range(6):
            caller.take()
        caller.say("alive;")
        assert caller.hear() == "alive;"
    pinged = False
    with stand.duty("Cut the socket on Abandon(exchange), at once", silent):
        try:
            for _ in range(8):
                opcode, _data = silent.stream.frame()
                pinged = pinged or opcode == 9
            if pinged:
                silent.stream.rest()
        except ConnectionError:
            pass


def abandoned(stand: Stand) -> None:
    """A client that takes nothing for too long is cut."""
    caller = stand.caller(Classic, "webSockets")
    assert caller.stream is not None
    with stand.duty(TICK, caller):
        for number in range(120):
            caller.say(f"big {number};")
        caller.wait("disconnected: slow")
    with stand.duty("Cut the socket on Abandon(exchange), at once and with what is not written yet", caller):
        caller.stream.rest()


def drain(stand: Stand) -> None:
    """The server goes away: everybody is told, nobody new is let in."""
    if stand.served.drain is None:
        raise ContractBroken(
            "Say how to shut down: give Served(where, drain=…), which has to call drain(now) and drain"
        )
    callers = stand.everybody()
    for caller in callers:
        caller.poll()
    with stand.duty("Answer a poll that came before the shutdown"):
        for caller in callers:
            caller.say("before;")
            assert caller.hear() == "before;"
            caller.poll()
    newcomer = stand.wire()
    stand.served.drain()
    for caller in callers:
        with stand.duty("Call drain(now) to shut down, and do what poll() says until everything is written", caller):
            assert caller.stream is not None
            if caller.transport == "longPolling":
                caller.stream.answer()
            else:
                try:
                    while True:
                        caller.take()
                except Ended:
                    pass
            caller.wait("disconnected: shutdown")
    with stand.duty("Answer newcomers, or close their sockets, while the server shuts down"):
        try:
            status, _ = newcomer.ask("GET", "/contract/negotiate?clientProtocol=2.1")
        except ConnectionError:
            status = 503
        assert status == 503, f"a newcomer was answered {status}"


CHECKS: Final = (
    Check("keep-alive", "signs of life", keep_alive, {"keep_alive": 0.05}),
    Check("polls", "polls without an answer", polls, {"connection_timeout": 0.1, "poll_timeout": 0.1}),
    Check("time-out", "disconnect_timeout", time_out, {"disconnect_timeout": 0.1, "disconnect_threshold": 0.0}),
    Check("pongs", "pings, pongs and who is silent", pongs, {"keep_alive": 0.08}),
    Check(
        "abandoned",
        "clients that take nothing",
        abandoned,
        {"write_deadline": 0.1, "ring_bytes": 67_108_864, "send_high_water": 100_000, "send_high_water_bytes": 10**9},
    ),
    Check("drain", "the end of the server", drain),
)
