"""What the documentation shows is what runs: its programs are started and talked to, its tables are compared."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import anyio
import anyio.to_thread
import pytest
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from persistconn import App, serve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PATIENCE = 10.0


class Guest:
    """A classic client, as small as one can be: it blocks, and it does what the tutorial's page does."""

    def __init__(self, port: int, path: str, **query: str) -> None:
        self.port = port
        self.path = path
        self.query = {"clientProtocol": "2.1", **query}
        self.told: list[Any] = []
        self.cursor: str | None = None
        self.socket: socket.socket | None = None

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    # HTTP ---------------------------------------------------------------------------------------

    def request(self, verb: str, body: str | None = None) -> bytes:
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as http:
            http.request("GET" if body is None else "POST", self.url(verb), body)
            answer = http.getresponse()
            assert answer.status == 200, answer.read()
            return answer.read()

    def url(self, verb: str) -> str:
        return f"{self.path}/{verb}?{urlencode(self.query)}"

    def negotiate(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.request("negotiate"))
        self.query["connectionToken"] = answer["ConnectionToken"]
        return answer

    def finish_start(self) -> None:
        assert json.loads(self.request("start")) == {"Response": "started"}

    def stop(self) -> None:
        self.cut()
        self.request("abort", "")

    # A WebSocket --------------------------------------------------------------------------------

    def start(self) -> Guest:
        self.negotiate()
        self.query["transport"] = "webSockets"
        self.open("connect")
        while not self.read():
            pass
        self.finish_start()
        return self

    def open(self, verb: str) -> None:
        if self.cursor is not None:
            self.query["messageId"] = self.cursor
        self.socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.frames = WSConnection(ConnectionType.CLIENT)
        self.events: list[Any] = []
        self.socket.sendall(self.frames.send(Request(host="127.0.0.1", target=self.url(verb))))
        answer = self.next_event()
        if not isinstance(answer, AcceptConnection):
            raise ConnectionRefusedError(answer.status_code)

    def next_event(self) -> Any:
        assert self.socket is not None
        while not self.events:
            self.frames.receive_data(self.socket.recv(65_536) or None)
            self.events += self.frames.events()
        return self.events.pop(0)

    def read(self) -> bool:
        """Take one envelope in, and tell whether it said that the transport works."""
        event = self.next_event()
        assert isinstance(event, TextMessage), event
        envelope = json.loads(event.data)
        self.cursor = envelope.get("C", self.cursor)
        self.told += envelope.get("M", ())
        return "S" in envelope

    def hear(self) -> Any:
        """The next message."""
        while not self.told:
            self.read()
        return self.told.pop(0)

    def say(self, data: Any) -> None:
        assert self.socket is not None
        self.socket.sendall(self.frames.send(TextMessage(data if isinstance(data, str) else json.dumps(data))))

    def cut(self) -> None:
        """As when a cable is pulled and the system notices: a reset, no goodbye."""
        if self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()
            self.socket = None


# The programs -----------------------------------------------------------------------------------


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a program of docs/examples afresh, as `persistconn serve` run in that folder would."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@contextlib.asynccontextmanager
async def serving(app: App) -> AsyncIterator[int]:
    async with anyio.create_task_group() as tasks:
        server = await tasks.start(partial(serve, app, port=0, handle_signals=False))
        yield server.port
        tasks.cancel_scope.cancel()


async def test_echo(example: Any) -> None:
    def converse(port: int) -> None:
        with Guest(port, "/echo").start() as guest:
            guest.say({"fish": ["cod", 7]})
            assert guest.hear() == {"fish": ["cod", 7]}
            guest.say("plain words")
            assert guest.hear() == "plain words"
            guest.stop()

    async with serving(example("echo").app) as port:
        await anyio.to_thread.run_sync(converse, port)


async def test_what_negotiate_says_is_what_the_tutorial_shows(example: Any) -> None:
    shown = json.loads((EXAMPLES / "negotiate.json").read_text())
    async with serving(example("echo").app) as port:
        answer = await anyio.to_thread.run_sync(Guest(port, "/echo").negotiate)
    changing = ("ConnectionToken", "ConnectionId")
    assert {**answer, **{name: shown[name] for name in changing}} == shown


async def test_chat_with_rooms(example: Any) -> None:
    def converse(port: int) -> None:
        with Guest(port, "/chat", name="Ann").start() as ann, Guest(port, "/chat", name="Bob").start() as bob:
            assert ann.hear() == "Welcome, Ann."
            assert bob.hear() == "Welcome, Bob."
            assert ann.hear() == "Bob is here."
            ann.say({"join": "kitchen"})
            assert ann.hear() == "Ann came into the kitchen."
            ann.say({"say": "soup?", "in": "kitchen"})
            assert ann.hear() == "Ann in the kitchen: soup?"
            bob.say({"say": "hello all"})
            assert bob.hear() == ann.hear() == "Bob: hello all"
            ann.say({"leave": "kitchen"})
            ann.say("mumble")
            assert ann.hear() == "I did not understand that."
            bob.stop()
            assert ann.hear() == "Bob has gone (closed)."

    async with serving(example("chat").app) as port:
        await anyio.to_thread.run_sync(converse, port)


async def test_chat_survives_a_cut_without_loss(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    chat = example("chat").chat

    def begin(port: int) -> Guest:
        guest = Guest(port, "/chat", name="Ann").start()
        assert guest.hear() == "Welcome, Ann."
        guest.say({"join": "kitchen"})
        assert guest.hear() == "Ann came into the kitchen."
        guest.cut()
        return guest

    def come_back(guest: Guest) -> list[Any]:
        with guest:
            guest.open("reconnect")
            return [guest.hear() for _ in range(200)]

    async with serving(example("chat").app) as port:
        guest = await anyio.to_thread.run_sync(begin, port)
        for number in range(100):
            await chat.broadcast(number)
            await chat.groups["kitchen"].send(number)
        heard = await anyio.to_thread.run_sync(come_back, guest)
    assert heard == [number for number in range(100) for _ in "ab"]
    assert capsys.readouterr().out == "Ann came back and missed nothing\n"


async def test_a_restart_with_and_without_keys(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    app = example("chat").app

    def begin(port: int) -> Guest:
        with Guest(port, "/chat", name="Ann").start() as guest:
            assert guest.hear() == "Welcome, Ann."
            return guest

    def come_back(guest: Guest, port: int) -> None:
        with guest:
            guest.port = port
            guest.open("reconnect")
            guest.say({"say": "here I am"})
            assert guest.hear() == "Ann: here I am"

    async with serving(app) as port:
        guest = await anyio.to_thread.run_sync(begin, port)
    async with serving(app) as port:
        with pytest.raises(ConnectionRefusedError, match="400"):
            await anyio.to_thread.run_sync(come_back, guest, port)

    app.secret_keys = [b"a secret of 16 or more"]
    async with serving(app) as port:
        guest = await anyio.to_thread.run_sync(begin, port)
    async with serving(app) as port:
        await anyio.to_thread.run_sync(come_back, guest, port)
    assert capsys.readouterr().out == "Ann came back; nobody knows what was missed\n"


async def test_the_page_of_the_chat(example: Any) -> None:
    def fetch(port: int) -> tuple[str | None, bytes]:
        with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as http:
            http.request("GET", "/")
            answer = http.getresponse()
            return answer.getheader("Content-Type"), answer.read()

    async with serving(example("chat").app) as port:
        kind, page = await anyio.to_thread.run_sync(fetch, port)
    assert kind == "text/html; charset=utf-8"
    assert page == (EXAMPLES / "chat.html").read_bytes()


async def test_ticker(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticker = example("ticker")
    servers: list[Any] = []

    class Watch:
        def __init__(self, task_status: Any) -> None:
            self.task_status = task_status

        def started(self, server: Any) -> None:
            servers.append(server)
            self.task_status.started(server)

    async def serve_somewhere(app: App, *, port: int, task_status: Any) -> None:
        await serve(app, port=0 * port, handle_signals=False, task_status=Watch(task_status))

    def listen(port: int) -> list[str]:
        with Guest(port, "/chat").start() as guest:
            return [guest.hear() for _ in "ab"]

    monkeypatch.setattr(ticker, "serve", serve_somewhere)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ticker.main)
        while not servers:
            await anyio.lowlevel.checkpoint()
        welcome, tick = await anyio.to_thread.run_sync(listen, servers[0].port)
        servers[0].shutdown()  # and main comes to its end
    assert welcome == "Welcome, somebody."
    assert re.fullmatch(r"It is \d\d:\d\d:\d\d\.", tick)


async def test_from_thread(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    program = example("from_thread")
    monkeypatch.setattr("sys.stdin", iter(["dinner is ready\n"]))

    def converse(port: int) -> str:
        with Guest(port, "/chat").start() as guest:
            guest.hear()
            thread = threading.Thread(target=program.read_lines)
            thread.start()
            thread.join(PATIENCE)
            return str(guest.hear())

    async with serving(program.app) as port:
        assert await anyio.to_thread.run_sync(converse, port) == "The console says: dinner is ready"
    monkeypatch.setattr("sys.stdin", iter(["too late\n"]))
    await anyio.to_thread.run_sync(program.read_lines)  # returns: the server has stopped


def test_simulate() -> None:
    command = [sys.executable, str(EXAMPLES / "simulate.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [f"seed {seed}" for seed in range(5)]


# The server on threads --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def threads_server() -> Iterator[int]:
    command = [sys.executable, str(EXAMPLES / "threads_server.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2].partition("/")[0])
        finally:
            process.terminate()
        assert process.stderr.read() == ""


def test_threads_over_a_websocket(threads_server: int) -> None:
    with Guest(threads_server, "/echo").start() as guest:
        for number in range(100):
            guest.say(number)
        assert [guest.hear() for _ in range(100)] == [str(number) for number in range(100)]
        guest.say("x" * 60_000)
        assert guest.hear() == "x" * 60_000
        guest.cut()
        guest.open("reconnect")
        guest.say("back")
        assert guest.hear() == "back"
        assert guest.socket is not None
        guest.socket.sendall(guest.frames.send(CloseConnection(1000)))
        assert isinstance(guest.next_event(), CloseConnection)
        guest.stop()


def test_threads_over_long_polls(threads_server: int) -> None:
    with Guest(threads_server, "/echo", transport="longPolling") as guest:
        guest.negotiate()
        first = json.loads(guest.request("connect", ""))
        assert (first["S"], first["M"]) == (1, [])
        guest.finish_start()
        cursor = first["C"]
        for number in range(5):
            guest.request("send", urlencode({"data": f"number {number}"}))
            answer = json.loads(guest.request("poll", urlencode({"messageId": cursor})))
            cursor = answer["C"]
            assert answer["M"] == [f"number {number}"]
        guest.stop()


def test_threads_speak_to_many_at_once(threads_server: int) -> None:
    with contextlib.ExitStack() as stack:
        guests = [stack.enter_context(Guest(threads_server, "/echo").start()) for _ in range(20)]
        for number, guest in enumerate(guests):
            guest.say(number)
        assert [guest.hear() for guest in guests] == [str(number) for number in range(20)]


def test_threads_answer_requests_sent_in_one_go(threads_server: int) -> None:
    ping = b"GET /echo/ping HTTP/1.1\r\nHost: here\r\n\r\n"
    with socket.create_connection(("127.0.0.1", threads_server), PATIENCE) as sock:
        sock.sendall(ping * 3 + b"nonsense\r\n\r\n")
        with sock.makefile("rb") as answers:
            text = answers.read()
    assert text.count(b'{ "Response": "pong" }') == 3
    assert text.count(b"HTTP/1.1 400") == 1


# The pages --------------------------------------------------------------------------------------

PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_programs_on_pages_are_included_from_files(page: Path) -> None:
    for language in ("python", "html", "js", "javascript", "ts", "typescript"):
        assert blocks(page.read_text(encoding="utf-8"), language) == []


def test_every_program_of_the_examples_is_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    made = {"__pycache__", "node_modules", "main.js", "package-lock.json"}
    files = {path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*") if path.is_file()}
    programs = {path.as_posix() for path in files if not (made.intersection(path.parts) or path.parts[0][0] == ".")}
    assert {name for name in programs if f"examples/{name}" not in text} == set()


def test_the_program_in_the_readme_is_the_echo() -> None:
    (program,) = blocks(readme(), "python")
    assert (EXAMPLES / "echo.py").read_text().endswith(program)


def test_the_commands_in_the_readme() -> None:
    demo, check = blocks(readme(), "sh")
    assert "persistconn demo" in demo
    assert check in (ROOT / ".ci" / "run").read_text()  # word for word


def test_the_readme_names_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", readme())
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


# What is generated ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables() -> Iterator[ModuleType]:
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        yield importlib.import_module("tables")
    finally:
        sys.path.remove(str(DOCS / "_ext"))


def test_every_setting_has_a_row_with_a_unit_and_a_reason(tables: ModuleType) -> None:
    from dataclasses import fields

    from persistconn import Settings

    rows = [row for _, rows in tables.settings() for row in rows]
    assert [row.name for row in rows] == [field.name for field in fields(Settings)]
    assert [row.name for row in rows if not row.reason] == []
    assert {row.unit for row in rows} <= {"s", "bytes", "", "count", "yes/no", "word"}


def test_settings_said_to_have_no_effect_yet_are_used_nowhere(tables: ModuleType) -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "persistconn").rglob("*.py"))
    unused = {row.name for _, rows in tables.settings() for row in rows if f".{row.name}" not in source}
    assert unused == set(tables.WITHOUT_EFFECT_YET)


def test_the_diagrams_have_every_state_and_every_move(tables: ModuleType) -> None:
    from persistconn.protocol.session import APP, LINK, App, Link

    for title, states, table in (("link", Link, LINK), ("app", App, APP)):
        drawing = tables.diagram(title)
        assert all(f">{state.name}<" in drawing for state in states)
        assert drawing.count('<path class="move"') == len({(before, after) for (before, _), after in table.items()})
        assert all(f"{what.name}" in drawing for _, what in table)


def test_every_timer_is_explained(tables: ModuleType) -> None:
    from persistconn.protocol.session import TIMERS

    assert {name for names in TIMERS.values() for name in names} | {"groups"} == set(tables.TIMER_MEANINGS)
