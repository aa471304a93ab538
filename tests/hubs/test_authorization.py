"""Who may connect to a hub, and who may call it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from persistconn import App, ConfigurationError, Request
from persistconn.hubs import Hub, authorize
from persistconn.hubs.authorization import rules_of

from .page import House, house, settle

KEYS = ["a key for the tests"]


def vip(request: Request) -> bool:
    return request.headers.get("x-vip") == "yes"


async def vip_later(request: Request) -> bool:
    return vip(request)


class Open(Hub):
    async def hello(self) -> str:
        return "hello"

    @authorize
    async def members(self) -> str:
        return "members"

    @authorize(roles=["admin", "boss"])
    async def admins(self) -> str:
        return "admins"

    @authorize(policy=vip)
    async def vips(self) -> str:
        return "vips"

    @authorize(policy=vip_later)
    @authorize(roles=["admin"])
    async def both(self) -> str:
        return "both"


@authorize
class Members(Hub):
    async def hello(self) -> str:
        return "hello"


@authorize(roles=["admin"])
class Admins(Members):
    pass


class Heirs(Admins):
    @authorize(policy=vip)
    async def special(self) -> str:
        return "special"


@authorize(policy=vip_later)
class Vips(Hub):
    async def hello(self) -> str:
        return "hello"


@authorize(calls_only=True)
class Radio(Hub):
    async def hello(self) -> str:
        return "hello"


@authorize(roles=["nobody"])
class Closed(Hub):
    async def hello(self) -> str:
        return "hello"


ROLES = {"ann": ["admin"], "eve": ["boss"]}
HUBS = (Open, Members, Admins, Heirs, Vips, Radio, Closed)


async def by_header(request: Request) -> str | None:
    return request.headers.get("x-user") or None


def roles_of(request: Request) -> Collection[str]:
    return ROLES.get(request.user or "", ())


def guarded(*hubs: type[Hub], **options: Any) -> App:
    app = App(secret_keys=KEYS, authenticate=by_header)
    app.add_hubs("/signalr", *hubs, roles=roles_of, **options)
    return app


NOBODY: tuple[str, ...] = ()
BOB, ANN, EVE = ("X-User: bob",), ("X-User: ann",), ("X-User: eve",)
VIP = ("X-Vip: yes",)


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        (NOBODY, {"hello"}),
        (VIP, {"hello"}),  # every rule wants to know who it is
        (BOB, {"hello", "members"}),
        ((*BOB, *VIP), {"hello", "members", "vips"}),
        (EVE, {"hello", "members", "admins"}),
        (ANN, {"hello", "members", "admins"}),
        ((*ANN, *VIP), {"hello", "members", "admins", "vips", "both"}),
    ],
)
async def test_who_may_call_a_method(headers: tuple[str, ...], may: set[str], caplog: pytest.LogCaptureFixture) -> None:
    async with house(guarded(Open)) as home:
        page = await home.page("open", headers=headers)
        got = {name: await page.call("OPEN", name) for name in ("hello", "members", "admins", "vips", "both")}
    assert {name for name, answer in got.items() if answer.get("R") == name} == may
    for name, answer in got.items():
        if name not in may:
            assert answer["E"] == f"There was an error invoking Hub method 'OPEN.{name}'." and "H" not in answer
            assert f"Caller is not authorized to invoke the {name} method on Open." in caplog.text


@pytest.mark.parametrize(
    ("headers", "hub", "status", "calls"),
    [
        (NOBODY, "open", 200, True), (NOBODY, "members", 401, False), (NOBODY, "admins", 401, False),
        (NOBODY, "radio", 200, False), (NOBODY, "closed", 401, False), (VIP, "vips", 401, False),
        (BOB, "members", 200, True), (BOB, "admins", 403, False), (BOB, "heirs", 403, False),
        (BOB, "radio", 200, True), (BOB, "vips", 403, False), ((*BOB, *VIP), "vips", 200, True),
        (ANN, "admins", 200, True), (ANN, "heirs", 200, True), (ANN, "closed", 403, False),
    ],
)  # fmt: skip
async def test_who_may_connect_to_a_hub(
    headers: tuple[str, ...], hub: str, status: int, calls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(guarded(*HUBS)) as home:
        assert (await home.visitor(hub, headers=headers).negotiate())[0] == status
        page = await home.page("open", headers=headers)  # who does not name the hub may call it all the same, or not
        assert ((await page.call(hub, "hello")).get("R") == "hello") is calls
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_hubs_that_are_not_allowed_are_left_out_and_the_others_served(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    class Notes(Hub):
        async def on_connected(self) -> None:
            log.append(type(self).__name__)

    @authorize
    class Guarded(Notes):
        pass

    class Free(Notes):
        pass

    app = guarded(Guarded, Free)
    async with house(app) as home:
        page = await home.page("guarded", "free")
        assert log == ["Free"]
        for hub in (Guarded, Free):
            await app.clients(hub).all.heard_it(hub.__name__)
            await app.clients(hub).client(page.id).heard_it(hub.__name__)
        assert {message["H"] for message in await page.heard()} == {"Free"}
        await home.page("guarded", "free", headers=BOB)
        assert log == ["Free", "Guarded", "Free"]


@pytest.mark.parametrize("fails", [vip, vip_later])
async def test_a_rule_that_fails_lets_nobody_in(
    fails: Callable[[Request], bool | Awaitable[bool]], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Request) -> bool:
        raise ValueError("broken rule")

    @authorize(policy=broken)
    class Broken(Hub):
        async def hello(self) -> None: ...

    class Half(Hub):
        @authorize(policy=broken)
        async def hello(self) -> None: ...

    async with house(guarded(Broken, Half)) as home:
        assert await home.visitor("broken", headers=BOB).negotiate() == (500, b"")
        page = await home.page("half", headers=BOB)
        assert "R" not in await page.call("half", "hello") and "E" in await page.call("broken", "hello")
    assert "broken rule" in caplog.text


async def test_what_a_rule_says_counts_for_each_call() -> None:
    allowed = [True]

    class Moody(Hub):
        @authorize(policy=lambda request: allowed[0])
        async def hello(self) -> str:
            return "hello"

    async def said(home: House, page: Any) -> Any:
        return (await page.call("moody", "hello")).get("R")

    async with house(guarded(Moody)) as home:
        page = await home.page("moody", headers=BOB)
        assert await said(home, page) == "hello"
        allowed[0] = False
        assert await said(home, page) is None


def test_rules_are_inherited_and_stacked() -> None:
    assert [rule.roles for rule in rules_of(Heirs)] == [frozenset({"admin"}), None]
    assert len(rules_of(Open.both)) == 2 and rules_of(Open.hello) == []


def test_mistakes_are_explained() -> None:
    roles: Any = "admin"
    with pytest.raises(ConfigurationError, match="roles is 'admin': it must be a list of names"):
        authorize(roles=roles)
    with pytest.raises(ConfigurationError, match="calls_only is for hubs, and hello is a method"):

        @authorize(calls_only=True)
        def hello() -> None: ...


async def test_where_nobody_tells_roles_nobody_has_any(caplog: pytest.LogCaptureFixture) -> None:
    app = App(secret_keys=KEYS, authenticate=by_header)
    app.add_hubs("/signalr", Open)
    async with house(app) as home:
        page = await home.page("open", headers=ANN)
        assert (await page.call("OPEN", "members"))["R"] == "members"
        assert "E" in await page.call("OPEN", "admins")
    assert "give add_hubs a function, roles=…" in caplog.text


async def test_a_method_has_the_rules_of_those_it_overrides() -> None:
    class Base(Hub):
        @authorize
        async def erase(self) -> str:
            return "base"

    class Derived(Base):
        async def erase(self) -> str:
            return "derived"

    app = App(secret_keys=KEYS)
    app.add_hubs("/signalr", Derived)
    async with house(app) as home:
        page = await home.page("derived")
        assert "E" in await page.call("derived", "erase")


async def test_nobody_is_put_into_groups_of_a_hub_it_may_not_use_not_even_before_its_start() -> None:
    @authorize
    class Secret(Hub): ...

    class Open(Hub): ...

    app = App(secret_keys=KEYS)
    app.add_hubs("/signalr", Secret, Open)
    async with house(app) as home:
        page = home.visitor("open")
        page.connect((await page.negotiate())[1])
        await settle()
        page.line.take()
        await app.hub_groups(Secret).join(page.id, "room")
        assert (await page.ask(f"/signalr/start?{page.query}"))[0] == 200
        await app.clients(Secret).group("room").hello("secret")
        await app.clients(Open).all.hello("everybody")
        assert [message["A"] for message in await page.heard()] == [["everybody"]]
