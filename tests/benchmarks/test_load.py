"""The load generators, the one in C and the one in Python: both believe only what they have checked."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import benchmarks

HERE = Path(benchmarks.__file__).parent
Answer = Callable[[bytes], bytes]


@pytest.fixture(scope="module", params=["C", "Python"])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if request.param == "Python":
        return [sys.executable, str(HERE / "load.py")]
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("platform: there is no C compiler")
    target = tmp_path_factory.mktemp("load") / "load"
    subprocess.run(
        [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(target), str(HERE / "load.c")], check=True
    )
    return [str(target)]


def run(
    command: list[str], arguments: list[str], answers: list[Answer], told: str = ""
) -> subprocess.CompletedProcess[str]:
    """The generator with a socket per answer; what comes on a socket is answered by a thread."""
    with ExitStack() as stack:
        fds = []
        for answer in answers:
            far, near = socket.socketpair()
            fds.append(stack.enter_context(far).fileno())
            thread = threading.Thread(target=_serve, args=(near, answer))
            thread.start()
            stack.callback(thread.join)
            stack.callback(near.shutdown, socket.SHUT_RDWR)
        return subprocess.run(
            [*command, *arguments, *map(str, fds)], pass_fds=fds, input=told, capture_output=True, text=True, timeout=30
        )


def _serve(near: socket.socket, answer: Answer) -> None:
    with near, contextlib.suppress(BrokenPipeError):  # the program may end before it has read all
        while data := near.recv(1 << 20):
            near.sendall(answer(data))


def messages(data: bytes) -> Iterator[bytes]:
    """The payloads of short frames whose mask is zero."""
    while data:
        size = data[1] & 0x7F
        yield data[6 : 6 + size]
        data = data[6 + size :]


def frames(payloads: Iterator[bytes]) -> bytes:
    return b"".join(b"\x81%c%b" % (len(payload), payload) for payload in payloads)


def echo(data: bytes) -> bytes:
    return frames(messages(data))


WS = ["ws", "5", "4", "1", "2", "20", '"', '"', "xxxx"]  # bursts of 4, groups of 1, two at a time, 20 turns


def test_what_comes_back_is_counted(command: list[str]) -> None:
    done = run(command, WS, [echo, echo, echo])
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["messages"] == 80
    assert 0 < seen["p50_us"] <= seen["p99_us"] <= seen["p999_us"]


def test_a_ping_is_no_message(command: list[str]) -> None:
    ping = b"\x89\x04a#\x00#"
    done = run(command, WS, [lambda data: ping + echo(data), echo, lambda data: echo(data) + ping])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 80


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda data: frames(reversed(list(messages(data)))), "lost, repeated or out of order"),
        (lambda data: echo(data) + echo(data)[-17:], "lost, repeated or out of order|more came than was sent"),
        (lambda data: echo(data).replace(b"xxxx", b"xxyx", 1), "damaged"),
        (lambda data: echo(data)[18:], "lost, repeated or out of order"),
    ],
    ids=["reversed", "twice", "damaged", "lost"],
)
def test_what_is_wrong_is_found(command: list[str], answer: Answer, complaint: str) -> None:
    done = run(command, WS, [answer, answer, answer])
    assert done.returncode == 1
    assert any(words in done.stderr for words in complaint.split("|")), done.stderr


def test_requests_are_numbered_and_their_answers_whole(command: list[str]) -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> bytes:
        asked.append(data)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    done = run(command, ["http", "0.2", ""], [answer], "POST /send/{NNNNNN}\0")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == len(asked)
    assert asked == [b"POST /send/%08d" % number for number in range(1, len(asked) + 1)]


def test_an_answer_that_is_not_200_is_no_answer(command: list[str]) -> None:
    done = run(
        command, ["http", "0.05", ""], [lambda data: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], "GET /\0"
    )
    assert done.returncode == 1
    assert "not 200" in done.stderr


def test_a_poll_is_asked_with_the_cursor_of_the_answer_before(command: list[str]) -> None:
    polls: list[bytes] = []
    sent = threading.Semaphore(0)

    def poll(data: bytes) -> bytes:
        polls.append(data)
        sent.acquire()
        body = b'{"C":"c%d","M":["#%08d#xxxx"]}' % (len(polls), len(polls))
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def send(data: bytes) -> bytes:
        sent.release()
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    done = run(command, ["poll", "0.2", "xxxx"], [poll, send], "GET /poll?{C}\n{C}=first\0POST /send/{NNNNNN}\0")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 2 * len(polls)
    assert polls == [b"GET /poll?first", *[b"GET /poll?c%d" % number for number in range(1, len(polls))]]
