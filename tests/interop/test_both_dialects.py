"""jquery.signalR 2.4.3 in a page and @microsoft/signalr 10 in Node, in one group on one mount."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .aspnetcore_clients import Client, NodeProcess
from .browser import HubPage
from .harness import ServerProcess

EACH = 5_000
AT_ONCE = 100

CALL_EACH = """
    async ([room, texts, atOnce]) => {
        const errors = [];
        const caller = async () => {
            while (texts.length > 0) {
                const said = await outcome($.connection.hall.server.say("group", [room], texts.shift()));
                if ("error" in said) { errors.push(said.error); }
            }
        };
        await Promise.all(Array.from({ length: atOnce }, caller));
        seen.outcomes.all = errors;
    }
"""


def test_ten_thousand_messages(
    aspnetcore_server: ServerProcess, visit: Callable[..., HubPage], node: NodeProcess
) -> None:
    server = aspnetcore_server
    page = visit(f"{server.url}/hubs.html", transport="webSockets").start({"hall": ["hear", "welcome"]})
    client = Client(node, f"{server.url}/signalr", ("webSockets", "messagepack")).start()
    dialects = [server.wait("connected", id=id)["dialect"] for id in (page.id, client.id)]
    assert dialects == ["classic", "aspnetcore"]
    assert page.call("hall", "whoAmI")["value"] == [page.id, None, "webSockets", "classic"]

    room = f"room of {page.id} and {client.id}"
    for id in (page.id, client.id):
        server.order("join", id=id, group=room)
    page.until_called("hall", "welcome", page.id)
    page.forget()
    of_page = [f"page: {number}" for number in range(EACH)]
    of_client = [f"client: {number}" for number in range(EACH)]
    page.run(f"argument => {{ ({CALL_EACH})(argument); }}", [room, of_page, AT_ONCE])  # and does not wait
    client.call_each("say", "group", [room], values=of_client, at_once=AT_ONCE)
    page.until("() => seen.outcomes.all", within=60)
    assert page.run("() => seen.outcomes.all") == []

    server.order("say", to="group", who=[room], texts=["the last"])
    page.until_called("hall", "hear", "the last")
    client.until_heard("the last")
    heard = {"page": [text for (_, _, text) in page.calls], "client": client.texts()}
    for listener, texts in heard.items():
        assert texts.pop() == "the last", listener
        assert Counter(texts) == Counter([*of_page, *of_client]), listener
    assert heard["page"] == heard["client"], "all hear the same, in the same order"
    client.stop()
    page.stop()
    for id in (page.id, client.id):
        server.wait("disconnected", id=id, reason="closed")
