"""Hubs and jquery.signalR 2.4.3 in Chromium: calls both ways, whom they reach, cuts and restarts, errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from .browser import TRANSPORTS, HubPage
from .harness import ServerProcess
from .proxy import Proxy

Visit = Callable[..., HubPage]
ProxyTo = Callable[..., Proxy]

LOUNGE = {"lounge": ["hear", "welcome"]}
BOARD = {"NoticeBoard": ["pinned"]}
BOTH = {**LOUNGE, **BOARD}
HUB_TRANSPORTS = [each for each in TRANSPORTS if each != "foreverFrame"]
VALUES: list[Any] = [
    "+ a&b=c%20 \\ | <script>alert(1)</script> \u2028 😀",
    [1, -0.5, True, None, []],
    {"key": {"": [{}]}, "größe": "x" * 5000},
    0,
    "",
    False,
]


@pytest.fixture(params=HUB_TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def error(text: str, source: str = "Exception", data: Any = None) -> dict[str, Any]:
    return {"error": text, "source": source, "data": data, "progress": []}


def failed(method: str) -> dict[str, Any]:
    """What the caller of a method is told where nobody has decided to tell more."""
    return error(f"There was an error invoking Hub method 'lounge.{method}'.")


def result(value: Any, *progress: Any) -> dict[str, Any]:
    return {"value": value, "progress": list(progress)}


def test_calls_and_what_becomes_of_them(hub_server: ServerProcess, visit: Visit, transport: str) -> None:
    page = visit(f"{hub_server.url}/hubs.html", transport=transport)
    page.run("() => { $.connection.hub.qs = { colour: 'blue' }; }")
    page.start(BOTH)

    # Each hub that the page named has heard of it, once, before anything was called.
    page.until_called("lounge", "welcome", None)
    assert page.call("lounge", "whoAmI") == result([page.id, None, transport, "blue"])
    hub_server.catch_up()
    assert [event["hub"] for event in hub_server.events("connected", id=page.id)] == ["Lounge", "Board"]

    # Arguments and results.
    for value in VALUES:
        assert page.call("lounge", "echo", value) == result(value)
    assert page.call("lounge", "echo", None) == result("nothing")
    assert page.call("lounge", "inAThread", 5) == result(2.5)
    assert page.call("lounge", "Exactly-So") == result("so")
    for spelling in ("add", "ADD", "Add"):
        assert page.run("name => outcome($.connection.lounge.invoke(name, 40, 2))", spelling) == result(42)
    for spelling in ("inAThread", "InAThread", "in_a_thread"):
        assert page.run("name => outcome($.connection.lounge.invoke(name, 1))", spelling) == result(0.5)
    assert page.call("myHub", "increment", 1) == result(2), "a hub that the page did not name"
    together = page.run(
        "() => Promise.all([...Array(30).keys()].map(n => outcome($.connection.lounge.server.echo(n))))"
    )
    assert together == [result(number) for number in range(30)]

    # Functions of the page.
    page.forget()
    page.call("lounge", "sayExactly", "hear", VALUES)
    page.call("lounge", "sayExactly", "HEAR", [])
    page.call("lounge", "sayExactly", "nobodyListens", [1])
    page.call("NoticeBoard", "pin", "a note")
    page.until_called("NoticeBoard", "pinned", "a note")
    assert page.calls == [["lounge", "hear", *VALUES], ["lounge", "hear"], ["NoticeBoard", "pinned", "a note"]]

    # State goes along with each call, and comes back where it has changed.
    page.run("() => { $.connection.lounge.state = { room: 'red', deep: { list: [1] } }; }")
    page.forget()
    assert page.call("lounge", "remember", "seen", [1, None]) == result({"room": "red", "deep": {"list": [1]}})
    page.until_called("lounge", "hear", "seen is new")
    state = {"room": "red", "deep": {"list": [1]}, "seen": [1, None]}
    assert page.run("() => $.connection.lounge.state") == state
    news = page.run("() => seen.messages.map(message => message.S)")
    assert news == [{"seen": [1, None]}] * 2, "in the call of `hear` and in the result"
    page.forget()
    assert page.call("lounge", "remember", "seen", [1, None]) == result(state)
    page.until_called("lounge", "hear", "seen is new")
    assert page.run("() => seen.messages.some(message => 'S' in message)") is False
    assert page.call("lounge", "remember", "deep", {"list": [2]}) == result(state)
    assert page.run("() => $.connection.lounge.state.deep") == {"list": [2]}

    # Progress.
    gate, steps = f"work of {page.id}", [1, "half", {"of": [3]}]
    page.run("args => await_('work', $.connection.lounge.server.work(...args))", [gate, steps])
    for step in steps:
        page.until_called("work", "progress", step)
    assert page.run("() => seen.outcomes.work") is None
    hub_server.order("open", gate=gate)
    page.until("() => seen.outcomes.work")
    assert page.run("() => seen.outcomes.work") == result("done", *steps)

    # Errors, which a page can only tell apart when the hub wants that.
    for data in ({"code": 4}, 0, "why", None):
        assert page.call("lounge", "fail", "no such room", data) == error("no such room", "HubException", data)
    since = hub_server.mark()
    assert page.call("lounge", "breakDown") == failed("breakDown")
    assert "not for everybody's eyes" in hub_server.wait("provoked", since=since)["text"]
    assert page.call("lounge", "add", 1) == failed("add")
    assert page.call("lounge", "add", 1, 2, 3) == failed("add")
    assert page.call("lounge", "add", "one", 2) == failed("add")
    assert page.call("lounge", "whisper") == failed("whisper")
    for unknown in ("Nope", "onConnected", "_say", "toString", "clients"):
        assert page.run("name => outcome($.connection.lounge.invoke(name))", unknown) == failed(unknown)
    assert page.call("lounge", "add", 1, 2) == result(3)

    # And the end, which each hub hears of once.
    page.stop()
    for hub in ("Lounge", "Board"):
        hub_server.wait("disconnected", id=page.id, hub=hub, within=5)
    hub_server.catch_up()
    ends = [(event["hub"], event["reason"]) for event in hub_server.events("disconnected", id=page.id)]
    assert ends == [("Lounge", "closed"), ("Board", "closed")]
    assert len(hub_server.events("connected", id=page.id)) == 2


def test_calls_reach_those_they_are_for(hub_server: ServerProcess, visit: Visit, transport: str) -> None:
    url = f"{hub_server.url}/hubs.html"
    ann = visit(url, transport=transport, cookie="who=ann").start(LOUNGE)
    again = visit(url, transport=transport, cookie="who=ann").start(BOTH, style="proxy")
    bob = visit(url, transport=transport, cookie="who=bob").start({**LOUNGE, "vault": ["opened"]})
    board = visit(url, transport=transport).start(BOARD)
    bare = visit(f"{hub_server.url}/bare.html", transport=transport)  # without the generated script
    bare.id = bare.run(
        """transport => {
            window.connection = $.hubConnection(".");
            window.lounge = connection.createHubProxy("Lounge");
            $.each(["hear", "welcome"], function (_, name) { lounge.on(name, record("lounge", name)); });
            return begin(connection, transport).then(answer => answer.id);
        }""",
        transport,
    )
    assert bare.run("() => outcome(lounge.invoke('whoAmI'))") == result([bare.id, None, transport, None])

    # Users, and what they may.
    assert [page.call("lounge", "whisper") for page in (ann, again, bob)] == [
        result("ann"),
        result("ann"),
        result("bob"),
    ]
    assert ann.call("lounge", "closeDown") == result("closed")
    assert bob.call("lounge", "closeDown") == failed("closeDown")
    assert bob.call("vault", "open") == result("bob")
    hub_server.catch_up()
    assert [event["hub"] for event in hub_server.events("connected", id=bob.id)] == ["Lounge", "Vault"]

    # Who hears what.
    listeners = {"ann": ann, "again": again, "bob": bob, "bare": bare}
    for page in (*listeners.values(), board):
        page.forget()
    heard: dict[str, list[str]] = {name: [] for name in listeners}
    numbers = itertools.count()

    def says(to: str, who: Any, names: str, *, outside: bool = True) -> None:
        """Ann says it, then the program from outside any hub; `names` are those who hear that."""
        text = f"{next(numbers)}: to {to} {who}, that is {names or 'nobody'}"
        assert ann.call("lounge", "say", to, who, f"{text}, says Ann") == result("nothing")
        for name in names.split():
            heard[name].append(f"{text}, says Ann")
        if outside:
            hub_server.order("say", to=to, who=who, texts=[text])
            for name in names.split():
                heard[name].append(text)

    says("all", None, "ann again bob bare")
    says("caller", None, "ann", outside=False)
    says("others", None, "again bob bare", outside=False)
    says("all_except", [[ann.id, bare.id]], "again bob")
    says("client", [bob.id], "bob")
    says("client", [board.id], "")
    says("client", ["nobody has this id"], "")
    says("client_list", [[ann.id, board.id, bare.id]], "ann bare")
    says("client_list", [[]], "")
    says("user", ["ann"], "ann again")
    says("users", [["bob", "nobody"]], "bob")
    room, other = "a room, 1+1=2 & ünïcödé 😀", "another"
    says("group", [room], "")
    assert ann.call("lounge", "join", room) == result("nothing")
    assert ann.call("lounge", "join", room) == result("nothing")
    assert bare.run("room => outcome(lounge.invoke('join', room))", room) == result("nothing")
    hub_server.order("join", id=again.id, group=room)
    hub_server.order("join", id=bob.id, group=other)
    says("group", [room], "ann again bare")
    says("group", [room.upper()], "")
    says("group", [room, [again.id]], "ann bare")
    says("groups", [[room, other]], "ann again bare bob")
    says("others_in_group", [room], "again bare", outside=False)
    assert ann.call("lounge", "leave", room) == result("nothing")
    hub_server.order("leave", id=again.id, group=room)
    says("group", [room], "bare")
    assert board.call("lounge", "join", room) == result("nothing"), "of a hub that it did not name"
    says("group", [room], "bare")

    # What is of another hub goes to those who named that.
    hub_server.order("pin", text="to all")
    hub_server.order("pin to", ids=[ann.id, board.id, bare.id], text="to some")
    for page in (ann, board, bare):
        hub_server.order("join board", id=page.id, group=room)
    hub_server.order("pin in group", group=room, text="to a group")
    assert board.call("NoticeBoard", "pin", "the page's own") == result("nothing")
    says("all", None, "ann again bob bare")
    last = heard["ann"][-1]
    for name, page in listeners.items():
        page.until_called("lounge", "hear", last)
        pinned = [["NoticeBoard", "pinned", text] for text in ("to all", "the page's own") if page is again]
        assert [call for call in page.calls if call[1] == "pinned"] == pinned, name
        assert [call[2] for call in page.calls if call[1] == "hear"] == heard[name], name
        hubs = {message["H"] for message in page.run("() => seen.messages.filter(message => message && message.H)")}
        assert hubs == ({"Lounge", "NoticeBoard"} if page is again else {"Lounge"}), name
    board.until_called("NoticeBoard", "pinned", "the page's own")
    assert [call[2] for call in board.calls] == ["to all", "to some", "to a group", "the page's own"]


def test_a_cut_costs_nothing_but_the_calls_on_a_websocket(
    hub_server: ServerProcess, visit: Visit, proxy_to: ProxyTo, transport: str
) -> None:
    proxy = proxy_to(hub_server)
    page = visit(f"{proxy.url}/hubs.html", transport=transport, cookie="who=cut").start(BOTH)
    page.until_called("lounge", "welcome", "cut")
    room, gate = f"room of {page.id}", f"gate of {page.id}"
    assert page.call("lounge", "join", room) == result("nothing")
    page.run("() => { $.connection.lounge.state.colour = 'red'; }")
    page.run("args => await_('pending', $.connection.lounge.server.waitFor(...args))", [gate, "late"])
    hub_server.wait("waiting", gate=gate)
    page.forget()

    proxy.cut()
    texts = [f"message {number}" for number in range(100)]
    hub_server.order("say", to="group", who=[room], texts=texts)
    hub_server.order("say", to="user", who=["cut"], texts=["to the user"])
    hub_server.order("say", to="client", who=[page.id], texts=["to the client"])
    hub_server.order("pin", text="to all")
    page.until_called("NoticeBoard", "pinned", "to all")
    calls = [["lounge", "hear", text] for text in (*texts, "to the user", "to the client")]
    assert page.calls == [*calls, ["NoticeBoard", "pinned", "to all"]]
    hub_server.order("open", gate=gate)
    page.until("() => seen.outcomes.pending")
    if transport == "webSockets":
        lost = error("Connection started reconnecting before invocation result was received.")
        assert page.run("() => seen.outcomes.pending") == lost
    else:  # the answer comes to a request of its own, which was not cut
        assert page.run("() => seen.outcomes.pending") == result("late")

    # Each hub has heard of it once; Chromium may repeat a poll by itself, and then nothing has happened.
    away = transport != "longPolling" or page.states != []
    if away:
        assert page.states == ["reconnecting", "connected"]
        hub_server.wait("reconnected", id=page.id, hub="Board")
    hub_server.catch_up()
    told = [(event["hub"], event["recovered"]) for event in hub_server.events("reconnected", id=page.id)]
    assert told == ([("Lounge", True), ("Board", True)] if away else [])

    # Calls go on, none is mixed up with the one whose result came too late; the page has its state, the hub gets it.
    page.forget()
    assert page.call("lounge", "remember", "seen", 1) == result({"colour": "red"})
    assert [page.call("lounge", "echo", number) for number in range(3)] == [result(number) for number in range(3)]
    hub_server.order("say", to="group", who=[room], texts=["still in the group"])
    page.until_called("lounge", "hear", "still in the group")
    assert page.calls == [["lounge", "hear", "seen is new"], ["lounge", "hear", "still in the group"]]


def test_the_developer_is_told_what_went_wrong(mortal_hub_server: ServerProcess, visit: Visit) -> None:
    page = visit(f"{mortal_hub_server.url}/hubs.html").start(BOARD)  # any hub of the mount may be called

    def told(method: str, *arguments: Any) -> str:
        outcome = page.run("call => outcome($.connection.lounge.invoke(...call))", [method, *arguments])
        assert outcome == error(outcome["error"])
        return str(outcome["error"])

    assert told("breakDown") == "not for everybody's eyes"
    assert told("nope") == "'nope' method could not be resolved. No method found with that name."
    assert told("ADD", 1) == ("'ADD' method could not be resolved. Potential candidates are: \nadd(a:int, b:int):int")
    assert told("add", "one", 2).startswith("a: Expected `int`, got `str`")
    assert told("whisper") == "Caller is not authorized to invoke the whisper method on Lounge."
    assert page.call("vault", "open") == error("Caller is not authorized to invoke the open method on Vault.")
    assert page.call("lounge", "fail", "on purpose", 1) == error("on purpose", "HubException", 1)


def test_who_may_not_connect_to_a_hub(hub_server: ServerProcess, visit: Visit) -> None:
    unknown = visit(f"{hub_server.url}/bare.html")
    refused = """hub => {
        var connection = $.hubConnection(".");
        connection.createHubProxy(hub).on("hear", function () { });
        return connection.start().then(
            function () { return "started"; },
            function (error) { return [connection.state, error.source.status, error.source.responseText]; }
        );
    }"""
    assert unknown.run(refused, "nosuch") == [4, 500, "'nosuch' Hub could not be resolved."]
    assert unknown.run(refused, "vault") == [4, 401, "You may not connect to these hubs."]
    some = visit(f"{hub_server.url}/hubs.html").start({**LOUNGE, "vault": ["opened"]})
    some.until_called("lounge", "welcome", None)
    hub_server.catch_up()
    assert [event["hub"] for event in hub_server.events("connected", id=some.id)] == ["Lounge"]
    assert some.call("lounge", "echo", 1) == result(1)


def test_groups_users_and_state_survive_a_killed_server(mortal_hub_server: ServerProcess, visit: Visit) -> None:
    server = mortal_hub_server
    pages = [visit(f"{server.url}/hubs.html", transport=each, cookie="who=ann") for each in HUB_TRANSPORTS]
    gate = "of a server that is killed"
    for page in pages:
        page.start(BOTH)
        page.run("transport => { $.connection.lounge.state.transport = transport; }", page.transport)
        page.call("lounge", "join", "survivors")
        page.call("lounge", "join", "of those who leave")
        page.call("lounge", "leave", "of those who leave")
        page.run("gate => await_('pending', $.connection.lounge.server.waitFor(gate, 'late'))", gate)
        server.wait("waiting", gate=gate)
        server.order("say", to="client", who=[page.id], texts=["comes after what it knows of its groups"])
        page.until_called("lounge", "hear", "comes after what it knows of its groups")
        page.forget()
    server.kill()
    since = server.mark()
    server.start()
    for page in pages:
        server.wait("reconnected", id=page.id, hub="Board", since=since, within=25)
        page.until_state("connected")
        page.until("() => seen.outcomes.pending")
        assert page.run("() => 'error' in seen.outcomes.pending"), page.transport
    server.order("say", to="group", who=["survivors"], texts=["to survivors"])
    server.order("say", to="group", who=["of those who leave"], texts=["to nobody"])
    server.order("say", to="user", who=["ann"], texts=["to the user"])
    server.order("pin", text="to all")
    for page in pages:
        server.order("say", to="client", who=[page.id], texts=["to one"])
        page.until_called("lounge", "hear", "to one")
        assert page.calls == [
            ["lounge", "hear", "to survivors"],
            ["lounge", "hear", "to the user"],
            ["NoticeBoard", "pinned", "to all"],
            ["lounge", "hear", "to one"],
        ], page.transport
        assert page.call("lounge", "remember", "seen", 1) == result({"transport": page.transport})
        assert page.call("lounge", "whisper") == result("ann")
        page.until_state("connected")
        assert page.states[0] == "reconnecting", page.transport
    server.catch_up()
    for page in pages:
        assert [event["groups"] for event in server.events("rejoining", id=page.id)] == [["survivors"]], page.transport
        assert server.events("connected", id=page.id, since=since) == []
        told = [(event["hub"], event["recovered"]) for event in server.events("reconnected", id=page.id)]
        assert told == [("Lounge", False), ("Board", False)], page.transport
