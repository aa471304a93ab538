"""Hubs and @microsoft/signalr 10 in Node and in Chromium: calls and streams both ways, whom they reach, errors."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from .aspnetcore_clients import WAYS, Client, Clients, Upload, Way
from .harness import ServerProcess

ClientsAt = Callable[[str], Clients]

VALUES: list[Any] = [
    "+ a&b=c%20 \\ | <script>alert(1)</script> \u2028 \u001e 😀",
    [1, -0.5, True, None, []],
    {"key": {"": [{}]}, "größe": "x" * 5000},
    2**53 - 1,
    0,
    "",
    False,
    None,
]


@pytest.fixture(params=WAYS, ids=", ".join)
def way(request: pytest.FixtureRequest) -> Way:
    way: Way = request.param
    return way


def value(value: Any = None) -> dict[str, Any]:
    return {"value": value}


def failed(method: str, cause: str = "") -> dict[str, Any]:
    """What the caller of a method is told when it has raised something."""
    return {"error": f"An unexpected error occurred invoking '{method}' on the server.{cause and ' '}{cause}"}


def refused(method: str, cause: str = "") -> dict[str, Any]:
    """What the caller of a method is told when it could not be called so."""
    return {"error": f"Failed to invoke '{method}' due to an error on the server.{cause and ' '}{cause}"}


@pytest.fixture(autouse=True)
def no_connection_is_left(aspnetcore_server: ServerProcess) -> Iterator[None]:
    """None that the test has opened."""

    def count() -> int:
        since = aspnetcore_server.mark()
        aspnetcore_server.order("count")
        connections: int = aspnetcore_server.wait("counted", since=since)["connections"]
        return connections

    before = count()
    yield
    assert count() <= before


def test_calls_and_what_becomes_of_them(aspnetcore_server: ServerProcess, clients_at: ClientsAt, way: Way) -> None:
    server = aspnetcore_server
    ann = Client(clients_at(server.url), f"{server.url}/signalr", way)
    ann.start(token="ann", listen=("welcome", "hear", "Hear-This"))

    # Both ends know each other, and by the same name where the client has heard of it.
    me = ann.until("heard", "welcome")[2]
    assert ann.id == (None if ann.at_once else me)
    assert ann.call("whoAmI") == value([me, "ann", ann.transport, "aspnetcore"])
    connected = server.wait("connected", id=me)
    assert (connected["transport"], connected["user"]) == (ann.transport, "ann")

    # Arguments and results.
    for each in VALUES:
        assert ann.call("echo", each) == value(each)
    assert ann.call("note", "nothing comes of this") == value()
    for spelling in ("changeItem", "ChangeItem", "change_item", "CHANGEITEM"):
        assert ann.call(spelling, {"obj_id": 1, "obj_val": "größe"}) == value({"obj_id": 2, "obj_val": "GRÖSSE"})
    assert ann.call("Exactly-So") == value("so")
    day = ann.call("nextDay", datetime(2028, 2, 28, 12, 30, 15, 250_000, UTC))["value"]
    if ann.protocol == "json":
        day = datetime.fromisoformat(day)
        assert ann.call("backwards", base64.b64encode(b"\x00\x80\xff").decode()) == value("/4AA")
    else:
        assert ann.call("backwards", b"\x00\x80\xff") == value(b"\xff\x80\x00")
        assert ann.call("echo", [b"", {"deep": b"\xc1"}]) == value([b"", {"deep": b"\xc1"}])
    assert day == datetime(2028, 2, 29, 12, 30, 15, 250_000, UTC)

    # Functions of the client. It finds them whatever the case; they come before the result of the call that made them.
    ann.forget()
    assert ann.call("sayExactly", "Hear-This", VALUES) == value()
    assert ann.call("sayExactly", "HEAR", []) == value()
    assert ann.call("sayExactly", "nobodyListens", [1]) == value()
    assert ann.seen == [["heard", "Hear-This", *VALUES], ["heard", "hear"]]

    # Nobody waits for the answers of these, and they keep their order.
    ann.send_each("note", [str(number) for number in range(200)])
    assert ann.call("notes") == value(["nothing comes of this", *map(str, range(200))])
    ann.send("fail", "nobody hears of this")

    # One call waits, the ones behind it wait their turn, and all are answered.
    gate = f"gate of {me}"
    ann.begin("waits", "waitFor", gate, "at last")
    server.wait("waiting", gate=gate)
    for number in range(20):
        ann.begin(f"call {number}", "echo", number)
    server.order("open", gate=gate)
    ann.until("outcome", "call 19")
    outcomes = [event[1:] for event in ann.seen if event[0] == "outcome"]
    assert outcomes == [["waits", value("at last")], *([f"call {number}", value(number)] for number in range(20))]

    # Errors.
    assert ann.call("fail", "no such room") == failed("fail", "HubException: no such room")
    since = server.mark()
    assert ann.call("breakDown") == failed("breakDown")
    assert "not for everybody's eyes" in server.wait("provoked", since=since)["text"]
    assert ann.call("add", 1) == refused("add")
    assert ann.call("add", 1, 2, 3) == refused("add")
    assert ann.call("add", "one", 2) == refused("add")
    for unknown in ("Nope", "onConnected", "_answer", "toString", "clients"):
        assert ann.call(unknown) == refused(unknown, "HubException: Method does not exist.")
    assert ann.call("whisper") == value("ann")
    assert ann.call("add", 40, 2) == value(42)

    # And the end.
    assert ann.state == "Connected"
    ann.stop()
    assert (ann.state, ann.moments()) == ("Disconnected", [["closed", None]])
    server.wait("disconnected", id=me, reason="closed", within=5)
    server.catch_up()
    assert len(server.events("disconnected", id=me)) == len(server.events("connected", id=me)) == 1


def test_calls_reach_those_they_are_for(aspnetcore_server: ServerProcess, clients_at: ClientsAt, way: Way) -> None:
    server = aspnetcore_server
    clients, url = clients_at(server.url), f"{server.url}/signalr/hall"  # a hub has a name, too
    ann, again, bob = (Client(clients, url, way) for _ in range(3))
    listeners = {"ann": ann, "again": again, "bob": bob}
    for client, user in ((ann, "ann"), (again, "ann"), (bob, None)):
        client.start(token=user)
        client.id = client.call("whoAmI")["value"][0]
    heard: dict[str, list[str]] = {name: [] for name in listeners}
    numbers = itertools.count()

    def says(to: str, who: Any, names: str, *, outside: bool = True) -> None:
        """Ann says it, then the program from outside any hub; `names` are those who hear that."""
        text = f"{next(numbers)}: to {to} {who}, that is {names or 'nobody'}"
        assert ann.call("say", to, who, f"{text}, says Ann") == value()
        for name in names.split():
            heard[name].append(f"{text}, says Ann")
        if outside:
            server.order("say", to=to, who=who, texts=[text])
            for name in names.split():
                heard[name].append(text)

    says("all", None, "ann again bob")
    says("caller", None, "ann", outside=False)
    says("others", None, "again bob", outside=False)
    says("all_except", [[ann.id]], "again bob")
    says("client", [bob.id], "bob")
    says("client", ["nobody has this id"], "")
    says("client_list", [[ann.id, bob.id, "nobody"]], "ann bob")
    says("user", ["ann"], "ann again")
    says("users", [["ann", "nobody"]], "ann again")
    room, other = "a room, 1+1=2 & ünïcödé 😀", "another"
    says("group", [room], "")
    assert ann.call("join", room) == value()
    assert ann.call("join", room) == value()
    assert bob.call("join", room) == value()
    server.order("join", id=again.id, group=other)
    says("group", [room], "ann bob")
    says("group", [room, [bob.id]], "ann")
    says("group", [room.upper()], "")
    says("groups", [[room, other]], "ann bob again")
    says("others_in_group", [room], "bob", outside=False)
    assert bob.call("leave", room) == value()
    server.order("leave", id=again.id, group=other)
    says("groups", [[room, other]], "ann")
    says("all", None, "ann again bob")
    for name, client in listeners.items():
        client.until_heard(heard[name][-1])
        assert client.texts() == heard[name], name
    assert bob.call("whisper") == {"error": "Failed to invoke 'whisper' because user is unauthorized"}

    # Who is told to go goes without a word of complaint; who has gone is not in any group.
    again.begin("goes", "leaveUs")
    again.until("closed", None)
    ann.stop()
    for client in (ann, again):
        server.wait("disconnected", id=client.id)
    server.order("say", to="group", who=[room], texts=["to nobody"])
    server.order("say", to="user", who=["ann"], texts=["to nobody"])
    server.order("say", to="client", who=[bob.id], texts=["to Bob"])
    bob.until_heard("to Bob")
    assert bob.texts() == [*heard["bob"], "to Bob"]
    bob.stop()
    server.wait("disconnected", id=bob.id, reason="closed")


def test_streams(aspnetcore_server: ServerProcess, clients_at: ClientsAt, way: Way) -> None:
    server = aspnetcore_server
    ann = Client(clients_at(server.url), f"{server.url}/signalr", way).start(listen=("welcome",))
    me = ann.until("heard", "welcome")[2]
    ann.forget()

    # From the server: to their end, to an error, until they are cancelled.
    ann.stream("numbers", "count", 100)
    ann.until("complete", "numbers")
    assert ann.items("numbers") == list(range(100))
    ann.stream("none", "count", 0)
    ann.until("complete", "none")
    ann.stream("secret", "countAndFail", 2, None)
    ann.until("failed", "secret", "An error occurred on the server while streaming results.")
    ann.stream("open", "countAndFail", 2, "too far")
    ann.until("failed", "open", "An error occurred on the server while streaming results. HubException: too far")
    assert ann.items("secret") == ann.items("open") == [0, 1]
    ann.stream("endless", "beginToCount", f"stream of {me}")
    ann.until("item", "endless", 2)
    assert ann.call("add", 1, 1) == value(2), "calls go on beside it"
    ann.cancel("endless")
    server.wait("stream over", name=f"stream of {me}")
    assert [event[0] for event in ann.seen if event[1] == "endless"] == ["item"] * 3

    # A stream is no call, and a call no stream.
    mismatch = "The client attempted to invoke the streaming 'count' method with a non-streaming invocation."
    assert ann.call("count", 1) == {"error": mismatch}
    ann.stream("no stream", "add", 1, 2)
    mismatch = "The client attempted to invoke the non-streaming 'add' method with a streaming invocation."
    ann.until("failed", "no stream", mismatch)

    # From the client, more than the server keeps waiting; two at once; to an error; and both ways.
    numbers = Upload("numbers")
    ann.begin("total", "total", numbers)
    ann.feed(numbers, *range(60))
    ann.finish(numbers)
    assert ann.until_outcome("total") == value(sum(range(60)))
    texts, others = Upload("texts"), Upload("others")
    ann.begin("concatenate", "concatenate", texts, "between", others)  # of two side by side it forgets the second
    ann.feed(others, "c")
    ann.feed(texts, "a", "b 😀")
    ann.feed(others, "d")
    ann.finish(texts)
    ann.finish(others)
    assert ann.until_outcome("concatenate") == value(["a", "b 😀", "between", "c", "d"])
    broken = Upload("broken")
    ann.begin("broken", "total", broken)
    ann.feed(broken, 1)
    ann.finish(broken, error="Something bad")
    assert ann.until_outcome("broken") == failed("total", "HubException: Something bad")
    numbers = Upload("to be doubled")
    ann.stream("doubled", "doubled", numbers)
    for number in range(3):
        ann.feed(numbers, number)
        ann.until("item", "doubled", 2 * number)
    ann.finish(numbers)
    ann.until("complete", "doubled")

    # Who goes leaves no stream behind.
    ann.stream("left", "beginToCount", f"what {me} has left")
    ann.until("item", "left", 2)
    ann.stop()
    server.wait("stream over", name=f"what {me} has left")
    server.wait("disconnected", id=me, reason="closed")


def test_results_of_clients(aspnetcore_server: ServerProcess, clients_at: ClientsAt, way: Way) -> None:
    server = aspnetcore_server
    clients, url = clients_at(server.url), f"{server.url}/signalr"
    ann, bob = Client(clients, url, way).start(), Client(clients, url, way).start()
    ann.id, bob.id = (client.call("whoAmI")["value"][0] for client in (ann, bob))

    # Within a method, which holds up the next one; with time for it, or without.
    assert ann.call("ask", "question", "grün 😀", 10) == value("grün 😀? Yes!")
    assert ann.call("ask", "question", "fail", 10) == value("HubError: Error: I will not say")
    assert ann.call("ask", "nobodyListens", "x", 10) == value("HubError: Client didn't provide a result.")
    assert ann.call("ask", "question", "never", 0.1) == value("no answer in time")

    # Of somebody else, and from outside.
    assert ann.call("askOther", bob.id, "from Ann") == value("from Ann? Yes!")
    bob.until("asked", "from Ann")
    since = server.mark()
    server.order("ask", id=bob.id, text="from outside", within=10)
    server.order("ask", id=bob.id, text="never", within=0.1)
    answers = [event["answer"] for event in server.events("answered", since=since)]
    assert answers == ["from outside? Yes!", "no answer in time"]

    for client in (ann, bob):
        client.stop()
        server.wait("disconnected", id=client.id, reason="closed")
