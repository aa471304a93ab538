"""Real proxies with the configurations that the documentation shows, under traffic while they are reloaded."""

from __future__ import annotations

import itertools
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from .aspnetcore_clients import Client, NodeProcess
from .browser import TRANSPORTS, HubPage
from .harness import ROOT, ServerProcess
from .hosts import free_port

__all__ = ["RELOADS", "ProxyProcess", "documented", "free_port", "program", "survives_reloads"]

DEPLOY = ROOT / "docs" / "examples" / "deploy"
RELOADS = 20
EACH = 20
"""Messages to each client between two reloads."""
AT_ONCE = [0.02] * 1_000
"""Delays of clients that come back as somebody new."""
STATEFUL = (("webSockets", "json"), ("webSockets", "messagepack"))
WITHOUT = (("webSockets", "json"), ("serverSentEvents", "json"), ("longPolling", "messagepack"))


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"platform: {name} is not installed")
    return found


def documented(name: str, **instead: str) -> str:
    """A configuration from the documentation, in which some lines (by their beginnings) are others."""
    lines = (DEPLOY / name).read_text().splitlines()
    for beginning, line in instead.items():
        (number,) = [number for number, each in enumerate(lines) if each.strip().startswith(beginning)]
        lines[number] = line
    return "\n".join([*lines, ""])


class ProxyProcess:
    """A proxy with a master process, which starts new workers when it is told to reload."""

    def __init__(self, command: Sequence[str], port: int, reload: signal.Signals) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self._reload = reload
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert self._process.poll() is None, f"{command[0]} ended"
                assert time.monotonic() < deadline, f"{command[0]} does not listen"
                time.sleep(0.02)

    def reload(self) -> None:
        """Read the configuration again; workers that are there end when they have let connections live for a bit."""
        self._process.send_signal(self._reload)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()


def survives_reloads(
    server: ServerProcess,
    origin: str,
    reload: Callable[[], None],
    visit: Callable[..., HubPage],
    node: NodeProcess,
) -> None:
    """Both dialects on all transports, while what they hear through the proxy at `origin` is cut by every reload."""
    url = f"{origin}/prefix/signalr"
    pages: list[HubPage] = []
    for transport in TRANSPORTS:
        page = visit(f"{origin}/prefix/hubs.html", transport=transport)
        page.run("() => { $.connection.hub.reconnectDelay = 20; }")
        pages.append(page.start({"hall": ["hear"]}))
    stateful = [Client(node, url, way).start(stateful=True, reconnect=AT_ONCE) for way in STATEFUL]
    others = [Client(node, url, way).start(reconnect=AT_ONCE) for way in WITHOUT]
    # @microsoft/signalr does not count what comes in one turn of Node's loop with the answer to its handshake: the last
    # message before its first reconnect comes twice, whoever the server is. After it both sides count alike.
    since = server.mark()
    server.order("say", to="all", texts=["the first"])
    reload()
    for client in stateful:
        server.wait("reconnected", id=client.id, since=since)
    server.order("say", to="all", texts=["and the second"])
    for client in stateful:
        client.until_heard("and the second")
        client.forget()
    for page in pages:
        page.until_called("hall", "hear", "and the second")
        page.forget()
    numbers = itertools.count()
    texts: list[str] = []
    for _ in range(RELOADS):
        since = server.mark()
        some = [f"message {next(numbers)}" for _ in range(EACH)]
        server.order("say", to="all", texts=some[: EACH // 2])
        for client in stateful:
            client.send_each("note", some)
        reload()
        server.order("say", to="all", texts=some[EACH // 2 :])
        texts += some
        for client in stateful:
            assert server.wait("reconnected", id=client.id, since=since)["recovered"] is True
    server.order("say", to="all", texts=["the last"])
    for page in pages:
        page.until_called("hall", "hear", "the last", within=30)
        _are_the_same([text for (_, _, text) in page.calls], [*texts, "the last"], page.transport)
        assert server.events("disconnected", id=page.id) == [], page.transport
        if page.transport in ("webSockets", "serverSentEvents"):  # others may not have noticed each cut
            assert page.states.count("reconnecting") >= RELOADS / 2, page.transport
    for client in stateful:
        client.until_heard("the last")
        _are_the_same(client.texts(), [*texts, "the last"], client.way)
        _are_the_same(client.call("notes")["value"], texts, f"notes of {client.way}")
        assert client.moments() == [], client.way
    for client in others:
        _lost_only_what_was_reported(client, texts)
    for page in pages:
        page.stop()


def _are_the_same(heard: list[str], said: list[str], who: object) -> None:
    """Nothing is lost, nothing comes twice, and the order is kept."""
    lost, twice = Counter(said) - Counter(heard), Counter(heard) - Counter(said)
    assert not lost and not twice, f"{who}: {sorted(lost)} lost, {sorted(twice)} too often"
    assert heard == said, f"{who}: in another order"


def _lost_only_what_was_reported(client: Client, texts: list[str]) -> None:
    """It came as somebody new each time: what it heard between two such times is without a hole, and nothing twice."""
    heard: list[int] = []
    is_new = True
    for what, *details in client.seen:
        if what == "reconnecting":  # news may come before "reconnected" does
            is_new = True
        elif what == "heard" and details[1] in texts:
            number = texts.index(details[1])
            assert not heard or number == heard[-1] + 1 or (is_new and number > heard[-1]), (client.way, heard, number)
            heard.append(number)
            is_new = False
    assert heard, client.way
