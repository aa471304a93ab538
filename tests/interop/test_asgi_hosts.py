"""The same application under every ASGI server, at the root and below a prefix, on every transport of both dialects."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from .asgi_hosts import HostProcess, Socket
from .hosts import EXCUSES, HOSTS, MOUNTS, TELLS, Excuse

pytestmark = pytest.mark.own_server("starts every host itself")

RS = "\x1e"


@pytest.mark.parametrize("name", HOSTS)
def test_a_host(name: str) -> None:
    """One process, one conversation after the other, and the end of them all."""
    for package in ("starlette", name.partition("-")[0]):
        pytest.importorskip(package, reason=f"{package} is not installed")
    with contextlib.closing(HostProcess(name)) as host:
        for mount in MOUNTS:
            for transport in ("webSockets", "serverSentEvents", "foreverFrame", "longPolling"):
                classic(host, transport, mount)
            for transport in ("webSockets", "serverSentEvents", "longPolling"):
                aspnetcore(host, transport, mount)
        refusals(host)
        assert "Traceback" not in host.log
        shutdown(host)


@pytest.mark.parametrize("excused", EXCUSES, ids=lambda excused: excused.hosts)
def test_excuses_are_for_tests_that_there_are(excused: Excuse) -> None:
    """Whether they are needed is found out by running them: who passes in spite of one has failed."""
    tests = [
        f"{file.name}::{name}"
        for file in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    ]
    name, _, _ = excused.tests.partition(r"\[")
    assert any(re.search(name, each) for each in tests)
    assert any(re.fullmatch(excused.hosts, host) for host in HOSTS)


def classic(host: HostProcess, transport: str, mount: str) -> None:
    """Messages to and fro, and to all."""
    query, line = host.classic(f"{mount}/echo", transport)
    if transport == "webSockets":
        line.say('"Grüße"')
        line.until(json.dumps("Grüße"))
        line.say("x" * 20_000)
        line.until("x" * 20_000)
        line.say('"all"')
        line.until('"to all"')
        line.leave()
    else:
        cursor = ""
        for said, heard in (("%22Gr%C3%BC%C3%9Fe%22", "Grüße"), ("x" * 20_000, "x" * 20_000), ("all", "to all")):
            status, text = host.post(f"{mount}/echo/send?{query}", f"data={said}".encode())
            assert status == 200, text
            if transport == "longPolling":
                status, text = host.post(f"{mount}/echo/poll?{query}", f"messageId={cursor}".encode())
                assert (status, json.loads(text)["M"]) == (200, [heard])
                cursor = json.loads(text)["C"].replace("+", "%2B").replace("|", "%7C")
            else:
                line.until(json.dumps(heard))
    assert host.post(f"{mount}/echo/abort?{query}")[0] == 200
    if transport == "longPolling":
        line.leave()
    elif transport != "webSockets":
        line.goodbye()


def aspnetcore(host: HostProcess, transport: str, mount: str) -> None:
    """A hub: the handshake, a call, a call of the client."""
    target, line = host.aspnetcore(f"{mount}/hub", transport)

    def say(message: Any) -> None:
        text = json.dumps(message) + RS
        if transport == "webSockets":
            line.say(text)
        else:
            status, answer = host.post(target, text.encode())
            assert status == 200, answer

    def hear(mark: str) -> str:
        nonlocal line
        if transport != "longPolling":
            return str(line.until(mark))
        said = ""
        while mark not in said:
            status, text = host.get(target)
            assert status == 200
            said += text
        return said

    say({"protocol": "json", "version": 1})
    if transport == "longPolling":
        line.until("{}" + RS)
    else:
        hear("{}" + RS)
    say({"type": 1, "invocationId": "1", "target": "add", "arguments": [40, 2]})
    said = hear('"result":42')
    assert '"target":"said"' in said and '"somebody adds"' in said
    if transport == "longPolling":
        assert host.get(target, method="DELETE")[0] == 202
    line.leave()


def refusals(host: HostProcess) -> None:
    """Who asks for nothing gets that, and reads why."""
    assert host.get("/nothing")[0] == 404
    assert host.post("/echo/send?transport=longPolling&connectionToken=x", b"data=1")[0] == 400
    assert Socket(host.port, "/hub?id=unknown").status in (403, 404)
    assert host.get("/ready", method="HEAD") == (200, "")


def shutdown(host: HostProcess) -> None:
    """Every client is told when the server goes."""
    lines: list[Any] = []
    for mount in MOUNTS:
        lines += [host.classic(f"{mount}/echo", transport)[1] for transport in ("webSockets", "serverSentEvents")]
        lines += [
            host.aspnetcore(f"{mount}/echo", transport)[1]
            for transport in ("webSockets", "serverSentEvents", "longPolling")
        ]
    begun = time.monotonic()
    host.ask_to_end()
    codes = {line.goodbye() for line in lines}
    host.wait()
    assert time.monotonic() - begun < 10
    assert "disconnected shutdown" in host.log
    if host.name.startswith(TELLS):
        assert codes == {None, 1000}
        assert host.log.count("disconnected shutdown") == len(lines)
