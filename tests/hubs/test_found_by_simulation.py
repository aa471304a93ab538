"""What the simulation found in the hub protocol of ASP.NET Core, each as small as it can be told."""

from __future__ import annotations

from persistconn import Settings
from persistconn.hubs.aspnetcore_json import JsonProtocol
from persistconn.hubs.messages import Invocation
from persistconn.hubs.session import HubSession

JSON = JsonProtocol()


def test_what_the_old_socket_brought_is_ignored_until_the_new_one_is_read() -> None:
    session = HubSession([JSON], Settings(), 0.0, resumable=True)
    session.receive(b'{"protocol":"json","version":2}\x1e', 0.0)
    session.dispatched(0.0)
    first, second = JSON.invocation("say", [1]), JSON.invocation("say", [2])
    heard: list[object] = []

    def receive(data: bytes) -> None:
        heard.extend(output.arguments[0] for output in session.receive(data, 1.0) if isinstance(output, Invocation))
        session.dispatched(1.0)

    session.ended(graceful=False)  # while both calls wait until they can be received
    receive(first)
    session.resume(1.0, late=True)
    receive(second)
    session.reconnected()
    receive(JSON.sequence(1) + first + second[:10])
    session.ended(graceful=False)
    session.resume(1.0, late=True)
    receive(second[10:])
    session.reconnected()
    receive(JSON.sequence(2) + second)
    assert [bytes(argument) for argument in heard] == [b"1", b"2"]  # type: ignore[call-overload]
