"""The demo: its page, what its connection does, and the command that serves both."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import persistconn

ROOT = Path(__file__).parents[2]
STATIC = Path(persistconn.__file__).parent / "static"
COMMAND = [sys.executable, "-m", "persistconn", "demo"]
PATIENCE = 15
"""Seconds that nothing here ever takes."""


class Demo:
    """`persistconn demo` in a process of its own."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", *options],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self.announced = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.announced)
        if found is None:
            raise AssertionError(self.announced + self.end())
        self.port = int(found[1])

    def get(self, path: str, method: str = "GET") -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def end(self, how: signal.Signals = signal.SIGINT) -> str:
        """Ask it to end; what else it printed."""
        self.process.send_signal(how)
        try:
            return self.process.communicate(timeout=PATIENCE)[0]
        finally:
            self.process.kill()


class Visitor:
    """Speaks the classic wire by long polling, one request at a time."""

    def __init__(self, demo: Demo, name: str = "") -> None:
        self._demo = demo
        self._fields = {"clientProtocol": "2.1", "transport": "longPolling", "name": name}
        self._cursor: str | None = None
        self._came: deque[dict[str, Any]] = deque()
        hello = self._ask("negotiate")
        self.id = hello["ConnectionId"]
        self._fields["connectionToken"] = hello["ConnectionToken"]
        assert self._receive("connect")["S"] == 1
        assert self._ask("start") == {"Response": "started"}

    def _ask(self, step: str, **form: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self._demo.port, timeout=PATIENCE)
        try:
            connection.request("POST", f"/chat/{step}?{urlencode(self._fields)}", urlencode(form))
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            return json.loads(body) if body else None
        finally:
            connection.close()

    def _receive(self, step: str) -> dict[str, Any]:
        envelope: dict[str, Any] = self._ask(step, **({"messageId": self._cursor} if self._cursor else {}))
        self._cursor = envelope["C"]
        self._came.extend(envelope["M"])
        return envelope

    def send(self, data: Any) -> None:
        self._ask("send", data=json.dumps(data))

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of that kind; skips others. Comes back where the server asks for it."""
        step = "poll"
        while True:
            while self._came:
                message = self._came.popleft()
                if message["kind"] == kind:
                    return message
            step = "reconnect" if "T" in self._receive(step) else "poll"

    def leave(self) -> None:
        self._ask("abort")


@pytest.fixture(scope="module", params=("asyncio", "trio"))
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    demo = Demo("--backend", request.param)
    yield demo
    assert demo.end() == "", "the demo has nothing to complain about"
    assert demo.process.returncode == 0


@pytest.fixture
def visit(demo: Demo) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def visit(name: str = "") -> Visitor:
        visitors.append(Visitor(demo, name))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.leave()


# The page ---------------------------------------------------------------------------------------


def test_the_page_and_all_it_refers_to_are_served(demo: Demo) -> None:
    response, body = demo.get("/")
    assert response.status == 200
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    page = body.decode()
    imported = re.findall(r'from "\./([\w.]+)"', (STATIC / "demo.js").read_text("utf-8"))
    referred = re.findall(r'(?:href|src)="([\w.]+)"', page) + imported
    assert sorted(referred) == sorted(each.name for each in STATIC.iterdir() if each.suffix in (".css", ".js"))
    for name in referred:
        response, body = demo.get(f"/{name}")
        assert response.status == 200
        assert body == (STATIC / name).read_bytes()
        assert (
            response.getheader("Content-Type")
            == f"text/{'css' if name.endswith('css') else 'javascript'}; charset=utf-8"
        )


def test_the_page_may_load_and_reach_nothing_but_its_server(demo: Demo) -> None:
    response, _ = demo.get("/")
    policy = response.getheader("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_a_head_request_and_an_unknown_path_are_answered(demo: Demo) -> None:
    response, body = demo.get("/", "HEAD")
    assert (response.status, body) == (200, b"")
    assert demo.get("/no-such-page")[0].status == 404


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_the_files_load_nothing_from_elsewhere_and_never_make_markup_of_text(file: Path) -> None:
    text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|@font-face|(?<![.#\w])url\(", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert not re.search(r"\son\w+=|<script>|<style|style=", text), "the policy forbids inline scripts and styles"


# The connection ---------------------------------------------------------------------------------


def test_a_visitor_is_greeted_and_everybody_sees_who_is_here(visit: Callable[..., Visitor]) -> None:
    ann = visit("Ann")
    assert ann.next("welcome") == {"kind": "welcome", "you": ann.id, "name": "Ann", "recent": []}
    assert [person["name"] for person in ann.next("roster")["people"]] == ["Ann"]
    ben = visit("Ben")
    assert ann.next("notice")["text"] == "Ben is here"
    roster = ann.next("roster")
    assert roster == ben.next("roster")
    assert roster["total"] == 2
    assert [(each["id"], each["name"], each["transport"]) for each in roster["people"]] == [
        (ann.id, "Ann", "longPolling"),
        (ben.id, "Ben", "longPolling"),
    ]
    assert len({each["hue"] for each in roster["people"]}) == 2
    ben.leave()
    assert ann.next("notice")["text"] == "Ben left"
    assert ann.next("roster")["total"] == 1


def test_what_one_says_all_hear_and_newcomers_can_read(visit: Callable[..., Visitor]) -> None:
    ann, ben = visit("Ann"), visit("Ben")
    ann.send({"do": "say", "text": "  <b>hi</b>\n  there "})
    said = ben.next("said")
    assert said == ann.next("said")
    assert (said["id"], said["name"], said["text"]) == (ann.id, "Ann", "<b>hi</b> there")
    assert visit().next("welcome")["recent"][-1] == said


def test_names_and_texts_are_limited_and_cleaned(visit: Callable[..., Visitor]) -> None:
    long = visit("n" * 1000)
    assert long.next("welcome")["name"] == "n" * 24
    nameless = visit(" \x00 ")
    assert nameless.next("welcome")["name"] not in ("", "n" * 24)
    nameless.send({"do": "rename", "name": "A\u202ednn\tB"})
    assert nameless.next("notice")["text"].endswith(" is now Adnn B")
    nameless.send({"do": "say", "text": "x" * 10_000})
    assert nameless.next("said")["text"] == "x" * 500


@pytest.mark.parametrize("data", ["hello", 7, None, [], {}, {"do": "dance"}, {"do": "count", "upto": "many"}])
def test_what_makes_no_sense_is_answered_with_a_notice(visit: Callable[..., Visitor], data: Any) -> None:
    ann = visit("Ann")
    ann.next("roster")
    ann.send(data)
    assert ann.next("notice")["text"] == "The server did not understand that."


def test_a_nameless_or_wordless_wish_changes_nothing(visit: Callable[..., Visitor]) -> None:
    ann = visit("Ann")
    ann.next("roster")
    ann.send({"do": "say", "text": "   "})
    ann.send({"do": "rename", "name": 12})
    ann.send({"do": "rename", "name": "Ann"})
    ann.send("?")
    assert ann.next("notice")["text"] == "The server did not understand that."


def test_the_count_survives_a_cut_in_the_middle_of_it(visit: Callable[..., Visitor]) -> None:
    ann = visit("Ann")
    ann.send({"do": "count", "upto": 9, "cut_after": 3})
    ann.send({"do": "count", "upto": 9})  # one count at a time
    assert [ann.next("tick") for _ in range(3)] == [{"kind": "tick", "n": n, "of": 9} for n in (1, 2, 3)]
    assert ann.next("back") == {"kind": "back", "recovered": True, "missed": 0}
    rest = [ann.next("tick")["n"]]
    while rest[-1] < 9:
        rest.append(ann.next("tick")["n"])
    assert rest == sorted(set(rest))
    ann.send({"do": "cut"})
    assert ann.next("back")["recovered"] is True


# The command ------------------------------------------------------------------------------------


def test_it_says_where_it_is_and_ends_in_order_when_told_to() -> None:
    demo = Demo()
    assert demo.announced.startswith(f"The demo is at http://127.0.0.1:{demo.port}/")
    assert demo.end(signal.SIGTERM) == ""
    assert demo.process.returncode == 0


def test_a_port_that_is_taken_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*COMMAND, "--port", str(port)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: ")
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr
