"""Every driver keeps the contract; drivers made wrong on purpose are caught by it, and told what to do."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest

from persistconn.protocol import Http1Server
from persistconn.testing.driver_contract import CHECKS, Check, ContractBroken, Served, Trial
from tests.contracts import drivers
from tests.contracts.drivers import DRIVERS

BY_NAME = {check.name: check for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_keeps_the_contract(driver: str, check: Check) -> None:
    check(DRIVERS[driver])


class Mutant(NamedTuple):
    """An example in which something was replaced, the check that notices it, and what it says."""

    about: str
    source: str
    old: str
    new: str
    check: str
    sentence: str


ASYNCIO, THREADS = "asyncio_server", "threads_server"
START: dict[str, Callable[..., Any]] = {ASYNCIO: drivers.bare_asyncio, THREADS: drivers.threads}
SENT = "self.endpoint.sent([exchange], time.monotonic())"
TRANSMIT = "self.outgoing.put((self.http.send(pieces), exchange, self.http.closing))"
MUTANTS = (
    Mutant("no sent", ASYNCIO, SENT, "pass", "echo", "Call sent(exchanges, now) when a Transmit is written"),
    Mutant(
        "no sent, seen elsewhere", ASYNCIO, SENT, "pass", "keep-alive", "Call sent(exchanges, now) when a Transmit is"
    ),
    Mutant("sent twice", ASYNCIO, SENT, f"{SENT}; {SENT}", "echo", "sent() for <Exchange GET /contract"),
    Mutant(
        "sent too early",
        THREADS,
        TRANSMIT,
        f"{TRANSMIT.replace('exchange,', 'None,')}; {SENT}",
        "slow reader",
        "Call sent(exchanges, now) when a Transmit is written, not before",
    ),
    Mutant(
        "it waits for a peer",
        THREADS,
        TRANSMIT,
        f"self.sock.sendall(self.http.send(pieces)); {SENT}",
        "slow reader",
        "Never wait for a peer while you do what poll() says",
    ),
    Mutant(
        "no lost",
        THREADS,
        "self.endpoint.lost(self.exchange, now)\n",
        "pass\n",
        "lost",
        "Call lost(exchange, now) when a socket has gone",
    ),
    Mutant(
        "two callers",
        THREADS,
        "                with self.server.turn() as now:\n                    if is_last:",
        "                if exchange is not None: self.endpoint.sent([exchange], time.monotonic()); exchange = None\n"
        "                with self.server.turn() as now:\n                    if is_last:",
        "one caller",
        "was called while another thread is in a call: make all calls in one loop, or hold one lock",
    ),
    Mutant(
        "no pause",
        ASYNCIO,
        " and not (link.exchange is not None and link.exchange.paused)",
        "",
        "back-pressure",
        "Read nothing more from an exchange while it is `paused`",
    ),
    Mutant("no Resume", ASYNCIO, "exchange.context.steer()", "pass", "back-pressure", "Read on after Resume(exchange)"),
    Mutant("no tick", ASYNCIO, "if until is not None:", "if False:", "keep-alive", "Call tick(now) when a Wait"),
    Mutant(
        "two clocks",
        ASYNCIO,
        "self.endpoint.tick(time.monotonic())",
        "self.endpoint.tick(time.time())",
        "keep-alive",
        "use one steady clock for all calls",
    ),
    Mutant("no pong", ASYNCIO, "endpoint.pong(link.exchange, now)", "pass", "pongs", "Call pong(exchange, now) for"),
    Mutant("no Abandon", ASYNCIO, "exchange.context.cut()", "pass", "pongs", "Cut the socket on Abandon"),
    Mutant(
        "one of many", ASYNCIO, "in exchanges:", "in exchanges[:1]:", "broadcast", "Write a Transmit to each of its"
    ),
    Mutant(
        "no drain",
        ASYNCIO,
        "self.endpoint.drain(time.monotonic())",
        "pass",
        "drain",
        "Call drain(now) to shut down",
    ),
    Mutant(
        "it does not poll",
        ASYNCIO,
        "self.server.pump()\n        self.steer()",
        "pass",
        "echo",
        "Let each client connect",
    ),
    Mutant(
        "no pending", ASYNCIO, "if self.http.pending:", "if False:", "requests", "Give what comes behind an answered"
    ),
    Mutant("no refusals", ASYNCIO, "self.write(self.http.data_to_send())", "pass", "garbage", "Write data_to_send()"),
    Mutant("no closing", ASYNCIO, "if self.http.closing:", "if False:", "garbage", "Write data_to_send() after each"),
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.about)
def test_a_wrong_driver_is_told_what_to_do(mutant: Mutant) -> None:
    sources = [drivers.source_of(mutant.source), drivers.source_of("by_hand")]
    wrong = [source.replace(mutant.old, mutant.new) for source in sources]
    assert wrong != sources
    program = drivers.load(mutant.about, *wrong)
    with pytest.raises(ContractBroken) as caught:
        BY_NAME[mutant.check](partial(START[mutant.source], program=program), patience=0.4)
    assert mutant.sentence in str(caught.value)
    del program, caught
    gc.collect()  # sockets that it forgot are no affair of the next test


def test_a_driver_that_cannot_be_drained_is_asked_how() -> None:
    @contextmanager
    def undrainable(trial: Trial) -> Iterator[Any]:
        with drivers.threads(trial) as served:
            yield served.where

    with pytest.raises(ContractBroken, match="Say how to shut down"):
        BY_NAME["drain"](undrainable)


def test_a_driver_may_be_reached_without_a_port() -> None:
    """It gives one end of a pair of sockets, and has the other."""

    @contextmanager
    def in_process(trial: Trial) -> Iterator[Served]:
        program = drivers.example("threads_server")
        server = program.ThreadsServer(trial.endpoint, trial.application)
        threading.Thread(target=server.keep_time, daemon=True).start()

        def connect() -> socket.socket:
            near, far = socket.socketpair()
            link = program.Link(server, far, Http1Server(trial.settings))
            for work in (link.read, link.write):
                threading.Thread(target=work, daemon=True).start()
            return near

        yield Served(connect)

    for name in ("echo", "garbage", "lost"):
        BY_NAME[name](in_process)
