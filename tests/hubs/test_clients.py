"""Whom a hub calls: what is said, and to whom."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from persistconn import Connection, PersistconnError, Request
from persistconn.hubs.clients import CallerClients, HubClients, HubGroups


class Audience:
    """Writes down what it is asked to bring."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def _note(self, *what: Any) -> None:
        self.asked.append(what)

    def to_all(self, method: str, arguments: tuple[Any, ...], exclude: Collection[str]) -> Any:
        return self._note("all", method, arguments, set(exclude))

    def to_group(self, name: str, method: str, arguments: tuple[Any, ...], exclude: Collection[str]) -> Any:
        return self._note("group", name, method, arguments, set(exclude))

    def to_user(self, name: str, method: str, arguments: tuple[Any, ...]) -> Any:
        return self._note("user", name, method, arguments)

    def to_clients(self, ids: Collection[str], method: str, arguments: tuple[Any, ...]) -> Any:
        return self._note("clients", set(ids), method, arguments)

    def ask(self, id: str, method: str, arguments: tuple[Any, ...], returns: Any, timeout: float | None) -> Any:
        return self._note("ask", id, method, arguments, returns, timeout)

    def join(self, connection_id: str, name: str) -> Any:
        return self._note("join", connection_id, name)

    def leave(self, connection_id: str, name: str) -> Any:
        return self._note("leave", connection_id, name)

    def to_caller(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return self._note("caller", method, arguments)


@pytest.fixture
def audience() -> Audience:
    return Audience()


@pytest.fixture
def clients(audience: Audience) -> CallerClients[Any]:
    return CallerClients(audience, "me", audience.to_caller)


def connection(id: str) -> Connection:
    nobody: Any = None
    return Connection(id, Request("GET", "/"), nobody)


async def test_every_way_to_name_them(audience: Audience, clients: CallerClients[Any]) -> None:
    for targets in (
        clients.all, clients.all_except(["a", connection("b")]), clients.others, clients.caller, clients.client("a"),
        clients.client_list(["a", connection("b"), "a"]), clients.client_list([]), clients.group("g"),
        clients.group("g", exclude=[connection("b")]), clients.groups(["g", "h"]), clients.groups(iter(["g"])),
        clients.groups([]), clients.others_in_group("g"), clients.user("u"), clients.users(["u", "v"]),
        clients.users(()),
    ):  # fmt: skip
        await targets.say_it(1, "x")
    said = ("sayIt", (1, "x"))
    assert audience.asked == [
        ("all", *said, set()),
        ("all", *said, {"a", "b"}),
        ("all", *said, {"me"}),
        ("caller", *said),
        ("clients", {"a"}, *said),
        ("clients", {"a", "b"}, *said),
        ("clients", set(), *said),
        ("group", "g", *said, set()),
        ("group", "g", *said, {"b"}),
        ("group", "g", *said, set()),
        ("group", "h", *said, set()),
        ("group", "g", *said, set()),
        ("group", "g", *said, {"me"}),
        ("user", "u", *said),
        ("user", "u", *said),
        ("user", "v", *said),
    ]


async def test_attributes_are_in_camel_case_and_send_is_exact(audience: Audience, clients: CallerClients[Any]) -> None:
    await clients.caller.alert_message("fire")
    await clients.caller.alertMessage("fire")
    await clients.caller.AlertMessage("fire")
    await clients.caller.send("alert_message", "fire")
    await clients.caller.send("send")
    await clients.caller.send("any thing. ä")
    assert [entry[1] for entry in audience.asked] == [
        "alertMessage", "alertMessage", "alertMessage", "alert_message", "send", "any thing. ä",
    ]  # fmt: skip


async def test_what_begins_with_an_underscore_is_no_function_of_a_page(clients: CallerClients[Any]) -> None:
    for name in ("_private", "__wrapped__", "__deepcopy__", "_repr_html_"):
        with pytest.raises(AttributeError):
            getattr(clients.all, name)


async def test_one_client_can_be_asked_for_a_result(audience: Audience, clients: CallerClients[Any]) -> None:
    await clients.caller.invoke("getName", 1, returns=str)
    await clients.client("a").invoke("getName", timeout=5)
    assert audience.asked == [("ask", "me", "getName", (1,), str, None), ("ask", "a", "getName", (), Any, 5)]


async def test_many_cannot_be_asked(clients: CallerClients[Any]) -> None:
    for many in (clients.all, clients.others, clients.group("g"), clients.user("u"), clients.client_list(["a"])):
        with pytest.raises(PersistconnError, match="getName was to return a value, and only one client can be asked"):
            await many.invoke("getName", returns=str)


def test_one_name_is_no_list_of_names(clients: CallerClients[Any]) -> None:
    text: Any = "abc"
    for call in (clients.all_except, clients.client_list):
        with pytest.raises(ValueError, match="'abc' is one id: give a list of them"):
            call(text)
    with pytest.raises(ValueError, match="'abc' is one id"):
        clients.group("g", exclude=text)
    for many in (clients.groups, clients.users):
        with pytest.raises(ValueError, match="'abc' is one name: give a list of them"):
            many(text)


@pytest.mark.parametrize("name", ["", None, 5, b"g"])
def test_a_name_is_text_and_not_empty(name: Any, audience: Audience, clients: CallerClients[Any]) -> None:
    groups = HubGroups(audience)
    for call in (
        lambda: clients.client(name), lambda: clients.client_list([name]), lambda: clients.all_except([name]),
        lambda: clients.group(name), lambda: clients.groups([name]), lambda: clients.others_in_group(name),
        lambda: clients.user(name), lambda: clients.users([name]),
        lambda: groups.join(name, "g"), lambda: groups.join("a", name),
        lambda: groups.leave(name, "g"), lambda: groups.leave("a", name),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is no name of a"):
            call()
    assert audience.asked == []


async def test_groups_are_joined_and_left(audience: Audience) -> None:
    groups = HubGroups(audience)
    await groups.join("a", "g")
    await groups.leave("a", "g")
    assert audience.asked == [("join", "a", "g"), ("leave", "a", "g")]


def test_from_outside_there_is_no_caller(audience: Audience) -> None:
    clients: HubClients[Any] = HubClients(audience)
    for name in ("caller", "others", "others_in_group"):
        assert not hasattr(clients, name)


def test_a_page_takes_no_arguments_by_name() -> None:
    with pytest.raises(TypeError, match="alert_message: a page takes arguments by position, and text came by name"):
        HubClients(Audience()).all.alert_message(text="fire")
