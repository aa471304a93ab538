"""The load generator in Python, for machines without a C compiler: the modes, checks and JSON of load.c, which see.

It costs more than a good server does, so rates and percentiles are its own. A server that is waited for less often has
less to do at once, so its CPU per message is higher, too: compare within a run only.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence

__all__ = ["main"]

_CURSOR = re.compile(rb'"C":"([^"]*)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
PATIENCE = 5.0


class Peer:
    """One socket."""

    def __init__(self, fd: int, at: int) -> None:
        self.socket = socket.socket(fileno=fd)
        self.socket.setblocking(False)
        self.at = at
        self.next = 1
        self.rest = b""
        self.request = b""
        self.cursor = b""
        self.began = 0.0

    def receive(self) -> bytes:
        """What was kept, and what has come."""
        data = self.socket.recv(1 << 20)
        if not data:
            fail("the server closed a connection", self.next)
        data, self.rest = self.rest + data, b""
        return data

    def send(self, data: bytes) -> None:
        """All of it, however long it takes."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                continue

    def scan(self, data: bytes, filler: bytes) -> int:
        """Count complete messages, and check them; keep an unfinished one."""
        found, at, size = 0, data.find(b"#"), 10 + len(filler)
        while at >= 0:
            message = data[at : at + size]
            if len(message) < size:
                self.rest = data[at:]
                break
            if not message[1:9].isdigit() or message[9:10] != b"#":  # chance, in the payload of a ping
                at = data.find(b"#", at + 1)
                continue
            if message[:10] != b"#%08d#" % self.next:
                fail("a message is lost, repeated or out of order", self.next)
            if message[10:] != filler:
                fail("a message is damaged", self.next)
            self.next += 1
            found += 1
            at = data.find(b"#", at + size)
        return found


class Load:
    """Sockets, and what was counted."""

    def __init__(self, fds: Sequence[int], seconds: float, filler: str) -> None:
        self.peers = [Peer(fd, at) for at, fd in enumerate(fds)]
        self.filler = filler.encode()
        self.messages = 0
        self.samples: list[float] = []
        self.last = self.start = time.perf_counter()
        self.end = self.start + seconds
        self._selector = selectors.DefaultSelector()
        for peer in self.peers:
            self._selector.register(peer.socket, selectors.EVENT_READ, peer)

    @property
    def over(self) -> bool:
        """Nothing new is begun."""
        return self.last >= self.end

    def ready(self) -> Iterator[Peer]:
        """Those from whom something has come."""
        events = self._selector.select(PATIENCE)
        if not events:
            fail("nothing came for 5 s", self.peers[0].next)
        self.last = time.perf_counter()
        return (key.data for key, _ in events)

    # WebSockets ---------------------------------------------------------------------------------

    def websockets(self, burst: int, size: int, window: int, rounds: int, prefix: str, suffix: str) -> None:
        """Groups of `size`, `window` of them busy."""
        count = len(self.peers) // size
        window = min(window, count)
        sent, owed, began = [0] * count, [0] * count, [0.0] * count

        def begin(group: int) -> None:
            numbers = range(sent[group] + 1, sent[group] + burst + 1)
            parts = (_frame(prefix.encode(), b"#%08d#" % number, self.filler, suffix.encode()) for number in numbers)
            sent[group] += burst
            owed[group] = burst * size
            began[group] = time.perf_counter()
            self.peers[group * size].send(b"".join(parts))

        chance = random.Random(1)
        idle = list(range(window, count))
        turns = active = window
        for group in range(window):
            begin(group)
        while active:
            for peer in self.ready():
                group = peer.at // size
                found = peer.scan(peer.receive(), self.filler)
                if not found:
                    continue
                if peer.next > sent[group] + 1 or found > owed[group]:
                    fail("more came than was sent", peer.next)
                self.messages += found
                owed[group] -= found
                if owed[group]:
                    continue
                self.samples.append(self.last - began[group])
                active -= 1
                if self.over or (rounds and turns >= rounds):
                    continue
                if idle:
                    at = chance.randrange(len(idle))
                    idle[at], group = group, idle[at]
                begin(group)
                turns += 1
                active += 1

    # HTTP ---------------------------------------------------------------------------------------

    def read_requests(self, told: bytes) -> None:
        """One per socket, each ended by a NUL."""
        for peer, request in zip(self.peers, told.split(b"\0"), strict=False):
            peer.request, _, peer.cursor = request.partition(b"\n{C}=")

    def ask(self, peer: Peer, number: int) -> None:
        """Send its request once more."""
        request = peer.request.replace(b"{NNNNNN}", b"%08d" % number).replace(b"{C}", peer.cursor)
        peer.began = time.perf_counter()
        peer.send(request)

    def answer(self, peer: Peer) -> bytes | None:
        """The body of a whole answer; None: not all of it is here."""
        data = peer.receive()
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200"):
                fail("an answer is not 200", peer.next)
            if length is None and not _CHUNKED.search(head):
                fail("an answer without a length", peer.next)
            if length is not None and len(body) > int(length[1]):
                fail("more came than was asked for", peer.next)
            if body.endswith(b"0\r\n\r\n") if length is None else len(body) == int(length[1]):
                return body
        peer.rest = data
        return None

    def requests(self) -> None:
        """Each socket: its request, a whole answer, again."""
        active = len(self.peers)
        for peer in self.peers:
            self.ask(peer, 1)
        while active:
            for peer in self.ready():
                if self.answer(peer) is None:
                    continue
                self.messages += 1
                peer.next += 1
                self.samples.append(self.last - peer.began)
                if self.over:
                    active -= 1
                else:
                    self.ask(peer, peer.next)

    def polls(self) -> None:
        """Pairs of sockets: a poll is held on the first, and answered with what is sent on the second."""
        for peer in self.peers:
            self.ask(peer, 1)
        missing = [{0, 1} for _ in self.peers[::2]]
        active = len(missing)
        while active:
            for peer in self.ready():
                body = self.answer(peer)
                if body is None:
                    continue
                pair = peer.at // 2
                poll, sender = self.peers[pair * 2 : pair * 2 + 2]
                missing[pair].discard(peer.at % 2)
                self.messages += 1
                if peer is poll:
                    cursor = _CURSOR.search(body)
                    poll.cursor = cursor[1] if cursor else b""
                    if poll.scan(body, self.filler) != 1 or poll.rest:
                        fail("a poll's answer has not just one message", poll.next)
                if missing[pair]:
                    continue
                self.samples.append(self.last - sender.began)
                if self.over:
                    active -= 1
                    continue
                missing[pair] = {0, 1}
                self.ask(poll, 0)
                self.ask(sender, poll.next)

    def report(self) -> str:
        """One line of JSON."""
        samples = sorted(self.samples) or [0.0]

        def percentile(share: float) -> float:
            return round(samples[int((len(samples) - 1) * share)] * 1e6, 1)

        return json.dumps(
            {
                "messages": self.messages,
                "seconds": self.last - self.start,
                "p50_us": percentile(0.5),
                "p99_us": percentile(0.99),
                "p999_us": percentile(0.999),
            }
        )


def fail(why: str, want: int) -> None:
    """Something came wrong, or did not come."""
    sys.exit(f"load: {why} (expected number {want})")


def _frame(*parts: bytes) -> bytes:
    """A masked text frame; the mask is zero."""
    payload = b"".join(parts)
    size = len(payload)
    head = b"\x81%c" % (0x80 | size) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return b"%b\x00\x00\x00\x00%b" % (head, payload)


def main(arguments: Sequence[str]) -> int:
    """See load.c."""
    mode, seconds = arguments[0], float(arguments[1])
    if mode == "ws":
        burst, size, window, rounds = map(int, arguments[2:6])
        prefix, suffix, filler = arguments[6:9]
        load = Load([int(fd) for fd in arguments[9:]], seconds, filler)
        load.websockets(burst, size, window, rounds, prefix, suffix)
    else:
        load = Load([int(fd) for fd in arguments[3:]], seconds, arguments[2])
        load.read_requests(sys.stdin.buffer.read())
        load.requests() if mode == "http" else load.polls()
    print(load.report())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
