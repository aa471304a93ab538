"""A hundred thousand payloads of strangers: each is answered or refused, and only public methods ever run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import quote

from persistconn import App, RemoteProtocolError, Settings
from persistconn.hubs.classic import read_call

from .hostile import ALLOWED, RAN, Attacker, Other, Target
from .page import House, Page, frame, frames, house, settle

PAYLOADS = 34_000
"""On each of three event loops."""
BURST = 200
BY_REQUEST = 300
SEEDS = {"asyncio": 2026, "uvloop": 2027, "trio": 2028}


class Log(logging.Handler):
    """Counts what is refused, and keeps what is worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages = self.calls = 0
        self.longest = 0
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.longest = max(self.longest, len(text))
        if record.levelno > logging.WARNING or "\n" in text:
            self.errors.append(f"{text} {record.exc_info}")
        elif text.startswith("a message of connection"):
            self.messages += 1
        elif text.startswith("a call of"):
            self.calls += 1
        else:
            self.errors.append(text)


@contextmanager
def watched() -> Iterator[Log]:
    log, logger = Log(), logging.getLogger("persistconn")
    logger.addHandler(log)
    logger.propagate = False
    try:
        yield log
    finally:
        logger.propagate = True
        logger.removeHandler(log)


def wants_an_answer(payload: str | bytes) -> bool | None:
    """None: it is no call."""
    try:
        return read_call(payload).id is not None
    except RemoteProtocolError:
        return None


async def attack(page: Page, log: Log, payloads: list[str | bytes]) -> None:
    wanted = [wants_an_answer(payload) for payload in payloads]
    refused = log.messages
    page.line.take()
    page.line.data_received(b"".join(map(frame, payloads)))
    answers: list[Any] = []
    for _ in range(1_000):
        await settle(4)
        answers += [said for said in frames(page.line.take()) if "I" in said]
        if len(answers) >= wanted.count(True) and log.messages - refused >= wanted.count(None):
            break
    await settle(4)
    answers += [said for said in frames(page.line.take()) if "I" in said]
    assert len(answers) == wanted.count(True), "an answer for each that wants one"
    assert log.messages - refused == wanted.count(None), "a refusal for each that is no call"
    assert not page.line.written.startswith(b"\x88") and page.line._stage == 0, "the line holds"


async def attack_by_request(page: Page, payload: str | bytes) -> None:
    status, body = await page.ask(
        f"{page.path}/send?{page.query}", method="POST", body=b"data=" + quote(payload).encode()
    )
    wanted = wants_an_answer(payload)
    if status == 200:
        assert wanted is not None and (b'"I":' in body) is wanted
    else:
        assert status in (400, 500), status


async def attack_names(home: House, attacker: Attacker) -> None:
    for payload in islice(attacker.payloads(100), 100):
        text = payload if isinstance(payload, str) else payload.decode("latin-1")
        for said in (text, f'[{{"name":"target"}},{text}]', f'[{{"name":{text[:40]}}}]'):
            page = home.visitor()
            page.names = quote(said[:2_000], errors="replace")
            assert (await page.negotiate())[0] in (200, 500)


async def test_nobody_gets_further_than_public_methods(anyio_backend: Any) -> None:
    loop = "uvloop" if anyio_backend[1].get("use_uvloop") else anyio_backend[0]
    seed = SEEDS[loop]
    # Calls take turns, or run side by side; texts of errors stay here, or leave.
    settings = Settings(
        max_parallel_calls=4 if loop == "uvloop" else 1,
        detailed_errors=loop == "trio",
        keep_alive=None,  # however long it takes, nobody is lost
        disconnect_timeout=100_000,
        connection_timeout=100_000,
    )
    app = App(secret_keys=["a key for the tests"], settings=settings)
    app.add_hubs("/signalr", Target, Other)
    attacker = Attacker(seed)
    RAN.clear()
    payload: Any = None
    try:
        with watched() as log:
            async with house(app) as home:
                page = await home.page("target")
                polling = await home.page("target", transport="longPolling")
                payloads = attacker.payloads(PAYLOADS)
                for payload in islice(payloads, BY_REQUEST):
                    await attack_by_request(polling, payload)
                while payload := list(islice(payloads, BURST)):
                    await attack(page, log, payload)
                await attack_names(home, attacker)
                assert (await page.call("target", "add", 1, 2))["R"] == 3, "and it still works"
                statistics = app.statistics()
                assert (statistics.connections, statistics.ended) == (2, {})
        assert log.errors == []
        assert log.longest < 1_000
    except Exception as error:
        error.add_note(f"seed {seed} on {loop}, payloads: {payload!r:.2000}")
        raise
    ran = set(RAN)
    assert ran - {"on_connected", "on_disconnected"} == ALLOWED, f"seed {seed}"
    assert RAN.count("on_connected") == 2
    assert len(RAN) > PAYLOADS // 3  # these were no idle threats
