"""Real proxies with the configurations that the documentation shows, under traffic while they are reloaded."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

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
PATIENCE = 30
"""Seconds for what takes far less, but on a busy machine."""
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

    def __init__(
        self, command: Sequence[str], port: int, reload: signal.Signals, *, says_ready_at: Path | None = None
    ) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self._reload = reload
        self._said: socket.socket | None = None
        """Where it says READY=1 when it is, as it would to systemd."""
        environment = dict(os.environ)
        if says_ready_at is not None:
            self._said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._said.bind(str(says_ready_at))
            self._said.settimeout(PATIENCE)
            environment["NOTIFY_SOCKET"] = str(says_ready_at)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        self._old: list[Path] = []
        deadline = time.monotonic() + PATIENCE
        while not self._listens(port):
            assert self._process.poll() is None, f"{command[0]} ended"
            assert time.monotonic() < deadline, f"{command[0]} does not listen"
            time.sleep(0.02)
        self._until_ready()

    def _listens(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def _until_ready(self) -> None:
        while self._said is not None and b"READY=1" not in self._said.recv(4_096).splitlines():
            pass

    def _workers(self) -> list[Path]:
        id = self._process.pid
        return [Path("/proc", each) for each in Path(f"/proc/{id}/task/{id}/children").read_text().split()]

    def reload(self) -> None:
        """Read the configuration again; workers that are there end when they have let connections live for a bit."""
        self._old = self._workers()
        self._process.send_signal(self._reload)

    def until_reloaded(self) -> None:
        """Wait until those workers are gone, and it will hear the next signal.

        A HAProxy that is told to reload while it still does so may not hear it, or die of it.
        """
        self._until_ready()
        deadline = time.monotonic() + PATIENCE
        while any(each.exists() for each in self._old):
            assert time.monotonic() < deadline, "workers from before the reload are still there"
            time.sleep(0.005)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            if self._said is not None:
                self._said.close()


def survives_reloads(
    server: ServerProcess, proxy: ProxyProcess, visit: Callable[..., HubPage], node: NodeProcess
) -> None:
    """Both dialects on all transports, while what they hear through the proxy is cut by every reload."""
    origin = proxy.origin
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
    proxy.reload()
    proxy.until_reloaded()
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
        proxy.reload()
        server.order("say", to="all", texts=some[EACH // 2 :])
        texts += some
        proxy.until_reloaded()
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
    node.obey("stopAll", {})  # or they come back to whoever listens at that port next


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
