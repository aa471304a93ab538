"""`persistconn serve`: what it refuses, and real processes from their first line to their last."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from persistconn.cli import main

APP = """
import os
from persistconn import App, PersistentConnection

class Echo(PersistentConnection):
    async def on_received(self, connection, data):
        await connection.send(data)

app = App(secret_keys=["a key for the tests alone"])
app.add_connection("/echo", Echo())
app.add_page("/", str(os.getpid()).encode(), "text/plain")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with an app in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "served.py").write_text(APP)
    (tmp_path / "shared.py").write_text("from served import app\napp.bus = 'stands for one'\n")
    return tmp_path


# What is refused ----------------------------------------------------------------------------------


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def test_uvloop_is_not_for_trio(folder):
    assert refusal("served:app", "--uvloop", "--backend", "trio").startswith("--uvloop is a way to run asyncio")


@pytest.mark.parametrize(("arguments", "missing"), [(["--uvloop"], "uvloop"), (["--backend", "trio"], "trio")])
def test_an_event_loop_that_is_not_installed(folder, monkeypatch, arguments, missing):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refusal("served:app", *arguments).endswith(f"needs {missing}: `pip install persistconn[{missing}]`.")


def test_reload_is_for_one_process(folder):
    assert (
        refusal("served:app", "--reload", "--workers", "2") == "--reload runs one process: it cannot go with --workers."
    )


def test_workers_need_a_bus_and_keys(folder):
    (folder / "keyless.py").write_text("from persistconn import App\napp = App()\n")
    why = "--workers 3 needs App(bus=…, secret_keys=[…]): this app has no "
    assert run_to_the_end("serve", "served:app", "--workers", "3") == f"Error: {why}bus.\n"
    assert run_to_the_end("serve", "keyless:app", "--workers", "3") == f"Error: {why}bus and no secret_keys.\n"


def run_to_the_end(*arguments: str) -> str:
    result = subprocess.run([sys.executable, "-m", "persistconn", *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    return result.stderr


def test_a_certificate_that_is_none(folder):
    (folder / "empty.pem").write_text("")
    assert refusal("served:app", "--tls-cert", "empty.pem").startswith("tls_cert empty.pem cannot be used: ")
    assert refusal("served:app", "--tls-key", "empty.pem").startswith("--tls-key is there but --tls-cert is not")


def test_a_port_that_is_taken(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}" in refusal("served:app", "--port", str(port))


# Real processes -----------------------------------------------------------------------------------


class Process:
    """A `persistconn serve` in a process of its own, from its announcement on."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "persistconn", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.announcement = self._process.stdout.readline()

    @property
    def port(self) -> int:
        found = re.search(r"http://127\.0\.0\.1:(\d+) ", self.announcement)
        assert found is not None, self.announcement
        return int(found.group(1))

    def tell(self, number: int) -> None:
        self._process.send_signal(number)

    def line(self, beginning: str) -> str:
        """Read on in stderr until a line that contains `beginning`."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if beginning in line:
                return line
        raise AssertionError(f"it ended without saying {beginning!r}")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; its exit code and the rest of what it wrote to stderr."""
        self.tell(number)
        _, errors = self._process.communicate(timeout=30)
        return self._process.returncode, errors

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@pytest.fixture
def start(folder) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def get(address: object, family: int = socket.AF_INET) -> str:
    """The body of `/`: the number of the process that answers."""
    with socket.socket(family) as client:
        client.settimeout(30)
        client.connect(address)
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    return answer.rpartition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("arguments", "loop"), [([], "asyncio"), (["--uvloop"], "uvloop"), (["--backend", "trio"], "trio")]
)
def test_it_serves_until_it_is_told_to_end(start, arguments, loop, number):
    process = start("served:app", "--port", "0", *arguments)
    assert process.announcement == f"served:app is at http://127.0.0.1:{process.port} ({loop}; Ctrl+C ends it)\n"
    assert get(("127.0.0.1", process.port)).isdecimal()
    code, errors = process.end(number)
    assert code == 0
    assert '"GET /" 200' in errors
    assert "Traceback" not in errors


def test_without_an_access_log(start):
    process = start("served:app", "--port", "0", "--no-access-log")
    get(("127.0.0.1", process.port))
    code, errors = process.end()
    assert code == 0
    assert "GET" not in errors


def test_a_unix_socket(start, folder):
    process = start("served:app", "--uds", "here.sock")
    assert process.announcement == "served:app is at the Unix socket here.sock (asyncio; Ctrl+C ends it)\n"
    assert get("here.sock", socket.AF_UNIX).isdecimal()
    assert process.end()[0] == 0
    assert not (folder / "here.sock").exists()


@pytest.mark.parametrize("options", [[], ["--backend", "trio", "--no-access-log"]])
def test_workers_share_a_port_and_are_replaced(start, options):
    process = start("shared:app", "--port", "0", "--workers", "2", *options)
    assert ", 2 workers; " in process.announcement
    for _ in range(2):
        process.line("listening on")
    first = int(get(("127.0.0.1", process.port)))
    os.kill(first, signal.SIGKILL)
    process.line(f"Worker {first} ended with -9; starting another.")
    process.line("listening on")
    assert int(get(("127.0.0.1", process.port))) != first
    assert process.end()[0] == 0


def test_workers_that_cannot_work_end_it_all(start, folder):
    (folder / "shared.py").write_text(
        "import sys\nfrom served import app\napp.bus = 'stands for one'\nassert '--fd' not in sys.argv\n"
    )
    process = start("shared:app", "--port", "0", "--workers", "2")
    assert "AssertionError" in process.line("Importing shared failed")
    assert process.end(0)[0] == 2


def test_workers_end_when_their_parent_is_killed(start):
    process = start("shared:app", "--port", "0", "--workers", "2")
    for _ in range(2):
        process.line("listening on")
    process.tell(signal.SIGKILL)
    for _ in range(2):
        process.line("shutting down")


def change(path: Path, text: str) -> None:
    """Change a file so that its time differs, however coarse the file system's clock is."""
    before = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_reload(start, folder):
    process = start("served:app", "--port", "0", "--reload")
    address = ("127.0.0.1", process.port)
    process.line("listening on")
    first = get(address)
    change(folder / "served.py", APP + "# changed\n")
    process.line("served.py has changed; starting again.")
    process.line("listening on")
    second = get(address)
    assert first != second
    change(folder / "shared.py", "not Python")
    process.line("shared.py has changed; starting again.")
    process.line("listening on")
    assert process.end()[0] == 0


def test_reload_survives_a_file_that_does_not_import(start, folder):
    process = start("served:app", "--port", "0", "--reload")
    process.line("listening on")
    change(folder / "served.py", "nothing that runs")
    process.line("Importing served failed")
    process.line("The server has ended; it starts again when a file changes.")
    change(folder / "served.py", APP + "# mended\n")
    process.line("listening on")
    assert get(("127.0.0.1", process.port)).isdecimal()
    assert process.end()[0] == 0
