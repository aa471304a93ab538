"""A connection's life as its hubs hear of it; groups, users and targets, each for one hub alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from persistconn import App, ConfigurationError, ConnectionClosed, DisconnectReason, PersistconnError, Request
from persistconn.hubs import Hub, hub_name

from .page import UPGRADE, House, Line, Page, frame, house, http, quote, settle

KEYS = ["a key for the tests"]


class Red(Hub):
    log: list[Any] = []

    def note(self, *what: Any) -> None:
        self.log.append((type(self).__name__, *what))

    async def on_connected(self) -> None:
        self.note("connected", self.context.connection_id)
        await self.clients.caller.welcome(type(self).__name__)

    async def on_reconnected(self) -> None:
        self.note("reconnected", self.context.connection.recovered)

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        self.note("disconnected", reason.value)

    async def tell(self, whom: str, *arguments: Any) -> None:
        clients = self.clients
        targets: dict[str, Any] = {
            "all": lambda: clients.all,
            "others": lambda: clients.others,
            "caller": lambda: clients.caller,
            "all_except": lambda: clients.all_except(*arguments),
            "client": lambda: clients.client(*arguments),
            "client_list": lambda: clients.client_list(*arguments),
            "group": lambda: clients.group(*arguments),
            "groups": lambda: clients.groups(*arguments),
            "others_in_group": lambda: clients.others_in_group(*arguments),
            "user": lambda: clients.user(*arguments),
            "users": lambda: clients.users(*arguments),
        }
        await targets[whom]().heard_it(whom)

    async def join(self, name: str) -> None:
        await self.groups.join(self.context.connection_id, name)

    async def leave(self, name: str) -> None:
        await self.groups.leave(self.context.connection_id, name)


class Blue(Red):
    pass


@hub_name("red-ish")
class Reddish(Red):
    pass


@pytest.fixture(autouse=True)
def empty_log() -> None:
    Red.log.clear()


async def by_header(request: Request) -> str | None:
    return request.headers.get("x-user") or None


def app_of(*hubs: type[Hub], **options: Any) -> App:
    app = App(secret_keys=KEYS, authenticate=by_header)
    app.add_hubs("/signalr", *hubs, **options)
    return app


def called(*names: str) -> list[Any]:
    return [{"H": "Red", "M": "heardIt", "A": [name]} for name in names]


async def fresh(home: House, *hubs: str, **options: Any) -> Page:
    page = await home.page(*hubs, **options)
    await page.heard()
    return page


# Lives ------------------------------------------------------------------------------------------


async def test_every_hub_that_a_client_names_hears_of_it_once() -> None:
    async with house(app_of(Red, Blue, Reddish)) as home:
        page = await home.page("RED", "blue")
        assert await page.heard() == [
            {"H": "Red", "M": "welcome", "A": ["Red"]},
            {"H": "Blue", "M": "welcome", "A": ["Blue"]},
        ]
        page.leave()
        await page.reconnect()
        await page.stop()
        assert Red.log == [
            *[(name, "connected", page.id) for name in ("Red", "Blue")],
            *[(name, "reconnected", False) for name in ("Red", "Blue")],
            *[(name, "disconnected", "closed") for name in ("Red", "Blue")],
        ]
        nobody = await home.page()
        await nobody.stop()
        assert len(Red.log) == 6


@pytest.mark.parametrize("later", ["start", "connect"])
async def test_nobody_hears_a_hub_that_has_not_heard_of_it(later: str) -> None:
    app = app_of(Red, Blue)
    async with house(app) as home:
        page = home.visitor("red")
        page.connect((await page.negotiate())[1])
        await settle()
        names, page.names = page.names, quote("[]")
        page.query = page.query.replace(names, page.names)
        if later == "connect":
            page.line = Line(home.state)
            page.line.data_received(http(f"/signalr/connect?{page.query}", *UPGRADE))
            await settle()
        page.line.take()
        assert (await page.ask(f"/signalr/start?{page.query}"))[0] == 200
        await app.clients(Red).all.heard_it("all")
        assert [message["M"] for message in await page.heard()] == ["welcome", "heardIt"]
        await page.stop()
    assert [entry[:2] for entry in Red.log] == [("Red", "connected"), ("Red", "disconnected")]


async def test_a_hub_that_says_no_to_a_newcomer_refuses_it(caplog: pytest.LogCaptureFixture) -> None:
    class Stern(Red):
        async def on_connected(self) -> None:
            raise ValueError("no")

    async with house(app_of(Stern)) as home:
        with pytest.raises(AssertionError, match="500"):
            await home.page("stern")
    assert Stern.log == [("Stern", "disconnected", "aborted")]


async def test_a_goodbye_that_fails_keeps_nobody_from_saying_theirs(caplog: pytest.LogCaptureFixture) -> None:
    class Rude(Red):
        async def on_disconnected(self, reason: DisconnectReason) -> None:
            raise ValueError("no goodbye")

    async with house(app_of(Rude, Blue)) as home:
        page = await home.page("rude", "blue")
        await page.stop()
    assert Red.log[-1] == ("Blue", "disconnected", "closed")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == f"on_disconnected of Rude, connection {page.id}, failed"


async def test_a_hub_that_ends_a_connection_may_take_its_time_to_say_goodbye() -> None:
    said: list[str] = []

    class Slow(Hub):
        async def end(self) -> None:
            await self.context.abort()

        async def on_disconnected(self, reason: DisconnectReason) -> None:
            await settle()
            said.append(reason.value)

    async with house(app_of(Slow)) as home:
        page = await home.page("slow")
        await page.call("slow", "end")
        await settle(100)
    assert said == ["aborted"]


async def test_plain_moments_run_in_threads() -> None:
    done = anyio.Event()

    class Plain(Hub):
        def on_connected(self) -> None:  # type: ignore[override]
            anyio.from_thread.run_sync(done.set)

    async with house(app_of(Plain)) as home:
        page = home.visitor("plain")
        status, body = await page.negotiate()
        assert status == 200
        page.connect(body, protocol="1.3")  # this one knows no /start
        with anyio.fail_after(10):
            await done.wait()


# Targets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["webSockets", "longPolling"])
async def test_a_call_reaches_whom_it_names_and_nobody_else(transport: str) -> None:
    async with house(app_of(Red, Blue)) as home:
        ann, bob, cid = [await home.page("red", "blue", transport=transport) for _ in range(3)]
        stranger = await home.page("blue", transport=transport)
        everyone = (ann, bob, cid, stranger)

        async def heard(page: Page) -> list[Any]:
            return await (page.heard() if transport == "webSockets" else page.poll())

        async def reached(*call: Any) -> list[bool]:
            for page in everyone:
                while await heard(page):
                    pass
            assert await ann.call("red", "tell", *call) == {"I": str(ann._count - 1)}
            got = [await heard(page) for page in everyone]
            assert all(one in ([], called(call[0])) for one in got), got
            return [bool(one) for one in got]

        assert await reached("all") == [True, True, True, False]
        assert await reached("others") == [False, True, True, False]
        assert await reached("caller") == [True, False, False, False]
        assert await reached("all_except", [bob.id]) == [True, False, True, False]
        assert await reached("client", bob.id) == [False, True, False, False]
        assert await reached("client", stranger.id) == [False, False, False, False]  # it did not name this hub
        assert await reached("client", "nobody") == [False, False, False, False]
        assert await reached("client_list", [bob.id, stranger.id, "x"]) == [False, True, False, False]
        assert await reached("client_list", []) == [False, False, False, False]
        assert await reached("groups", []) == [False, False, False, False]
        assert await reached("users", ["nobody"]) == [False, False, False, False]


async def test_groups_belong_to_one_hub() -> None:
    async with house(app_of(Red, Blue)) as home:
        ann, bob = await fresh(home, "red", "blue"), await fresh(home, "red", "blue")
        await ann.call("red", "join", "room")
        await ann.call("red", "join", "room")
        await bob.call("blue", "join", "room")
        await ann.call("red", "tell", "group", "room")
        await bob.call("red", "tell", "group", "room", [bob.id])
        assert await ann.heard() == called("group", "group") and await bob.heard() == []
        await ann.call("red", "tell", "others_in_group", "room")
        await ann.call("red", "tell", "groups", ["room", "x", "Room"])
        assert await ann.heard() == called("groups") and await bob.heard() == []
        await ann.call("red", "leave", "room")
        await ann.call("red", "tell", "group", "room")
        assert await ann.heard() == [] and await bob.heard() == []


@pytest.mark.parametrize("name", ["a.b", "Red.room", "room\nx", "+ &|,;\\\"'", "ä€😀", " ", "x" * 500, "red-ish.room"])
async def test_group_names_may_be_odd(name: str) -> None:
    async with house(app_of(Red, Reddish)) as home:
        ann, bob = await fresh(home, "red", "red-ish"), await fresh(home, "red", "red-ish")
        await ann.call("red", "join", name)
        await bob.call("red-ish", "join", name)
        await ann.call("red", "tell", "group", name)
        assert await ann.heard() == called("group") and await bob.heard() == []


async def test_a_client_that_did_not_name_the_hub_hears_nothing_of_its_groups() -> None:
    app = app_of(Red, Blue)
    async with house(app) as home:
        stranger = await fresh(home, "blue")
        await app.hub_groups(Red).join(stranger.id, "room")
        await stranger.call("red", "join", "room")
        await app.clients(Red).group("room").heard_it("group")
        assert await stranger.heard() == []


@pytest.mark.parametrize("call", [("client", ""), ("group", ""), ("groups", "red"), ("users", "ann"), ("user", None)])
async def test_no_name_at_all_is_an_error(call: tuple[Any, ...], caplog: pytest.LogCaptureFixture) -> None:
    async with house(app_of(Red)) as home:
        page = await fresh(home, "red")
        assert "E" in await page.call("red", "tell", *call)
    assert "ValueError" in caplog.text


async def test_users_are_those_who_made_the_request_or_whom_the_app_says() -> None:
    def reverse(request: Request) -> str | None:
        return request.user[::-1] if request.user else None

    for user_id, name in ((None, "ann"), (reverse, "nna")):
        async with house(app_of(Red, user_id=user_id)) as home:
            first, second = [await fresh(home, "red", headers=("X-User: ann",)) for _ in range(2)]
            bob, nobody = await fresh(home, "red", headers=("X-User: bob",)), await fresh(home, "red")
            await bob.call("red", "tell", "user", name)
            await bob.call("red", "tell", "users", [name, "x"])
            for page in (first, second):
                assert await page.heard() == called("user", "users")
            assert await bob.heard() == await nobody.heard() == []


# Groups that come back --------------------------------------------------------------------------


async def test_each_hub_decides_about_its_own_groups_after_a_restart() -> None:
    asked: list[Any] = []

    class Picky(Red):
        async def on_rejoining_groups(self, groups: Sequence[str]) -> Sequence[str]:
            asked.append(sorted(groups))
            return [name for name in groups if name != "secret"]

    hubs = (Picky, Blue, Reddish)
    async with house(app_of(*hubs)) as home:
        page = await fresh(home, "picky", "blue", "red-ish")
        for hub, names in (("picky", ["a.b", "secret"]), ("blue", ["b"]), ("red-ish", ["c"])):
            for name in names:
                await page.call(hub, "join", name)
        await page.heard()
        groups, query = page.groups, page.query
    assert groups
    async with house(app_of(*hubs)) as home:
        back = home.visitor("picky", "blue")
        back.query = query.replace(page.names, back.names)
        back.transport, back.groups, back.id = "webSockets", groups, page.id
        await back.reconnect()
        assert asked == [["a.b", "secret"]]
        clients = home.app.clients
        for hub, name in ((Picky, "a.b"), (Picky, "secret"), (Blue, "b"), (Reddish, "c")):
            await clients(hub).group(name).heard_it(name)
        assert [(message["H"], *message["A"]) for message in await back.heard()] == [("Picky", "a.b"), ("Blue", "b")]
        assert [entry for entry in Red.log if entry[1] == "reconnected"] == [
            ("Picky", "reconnected", False),
            ("Blue", "reconnected", False),
        ]


# From outside -----------------------------------------------------------------------------------


async def test_clients_are_called_from_outside_and_from_threads() -> None:
    app = app_of(Red, Blue)
    async with house(app) as home:
        page, other = await fresh(home, "red"), await fresh(home, "blue")
        await app.clients(Red).all.heard_it("all")
        await app.clients(Red).client(page.id).send("exact_name", 1, [2])
        await app.hub_groups(Red).join(page.id, "room")
        await app.clients(Red).group("room").heard_it("group")
        await app.hub_groups(Red).leave(page.id, "room")
        await app.clients(Red).group("room").heard_it("group")

        def in_a_thread() -> None:
            app.from_thread.run(app.clients(Red).all.heard_it, "thread")
            with pytest.raises(PersistconnError, match="in a thread without the event loop"):
                app.clients(Red).all.heard_it("lost")

        await anyio.to_thread.run_sync(in_a_thread)
        assert await page.heard() == [
            *called("all"),
            {"H": "Red", "M": "exact_name", "A": [1, [2]]},
            *called("group", "thread"),
        ]
        assert await other.heard() == []


async def test_what_cannot_be_reached_from_outside_says_so() -> None:
    app = app_of(Red)
    with pytest.raises(ConfigurationError, match=r"is not mounted here: app.add_hubs\(path, Blue\)"):
        app.clients(Blue)
    with pytest.raises(ConfigurationError, match="is not mounted here"):
        app.hub_groups(Blue)
    await app.clients(Red).all.heard_it()  # the app does not run: nobody is there
    await app.clients(Red).client("nobody").heard_it()
    await app.hub_groups(Red).join("nobody", "room")
    hub = Red()
    for name in ("clients", "groups", "context"):
        with pytest.raises(PersistconnError, match="this Red serves no call"):
            getattr(hub, name)


async def test_two_mounts_know_nothing_of_each_other() -> None:
    app = app_of(Red)
    app.add_hubs("/more/", Blue)
    assert set(app.hub_scripts()) == {"/signalr", "/more"}
    async with house(app) as home:
        red, blue = await fresh(home, "red"), await fresh(home, "blue", path="/more")
        assert (await home.visitor("blue").negotiate())[0] == 500
        await app.clients(Blue).all.heard_it("all")
        assert await red.heard() == [] and len(await blue.heard()) == 1


async def test_the_state_of_the_caller_is_not_there_in_moments() -> None:
    found: list[Any] = []

    class Looks(Hub):
        async def on_connected(self) -> None:
            found.append(dict(self.context.state))

    async with house(app_of(Looks)) as home:
        await home.page("looks")
    assert found == [{}]


async def test_a_client_that_has_ended_takes_no_more() -> None:
    kept: list[Any] = []

    class Keeps(Hub):
        async def keep(self) -> None:
            kept.append(self)

    async with house(app_of(Keeps)) as home:
        page = await home.page("keeps")
        await page.call("keeps", "keep")
        await page.stop()
        await kept[0].clients.caller.hello()  # nobody there is no error, as for any id
        with pytest.raises(ConnectionClosed):
            await kept[0].context.connection.send("x")


async def test_those_whose_turn_did_not_come_hear_no_goodbye(caplog: pytest.LogCaptureFixture) -> None:
    class Stern(Red):
        async def on_connected(self) -> None:
            raise ValueError("no")

    async with house(app_of(Red, Stern, Blue)) as home:
        with pytest.raises(AssertionError, match="500"):
            await home.page("red", "stern", "blue")
    ends = [entry[:2] for cls in (Red, Stern, Blue) for entry in cls.log if entry[1] == "disconnected"]
    assert ("Blue", "disconnected") not in ends and ("Red", "disconnected") in ends


async def test_no_call_is_begun_behind_an_abort() -> None:
    class Leaving(Hub):
        ran: list[int] = []

        async def go(self, number: int) -> None:
            self.ran.append(number)
            await self.context.abort()

    async with house(app_of(Leaving)) as home:
        page = await home.page("leaving")
        calls = [json.dumps({"H": "leaving", "M": "go", "A": [number], "I": number}) for number in range(5)]
        page.line.data_received(b"".join(map(frame, calls)))
        await settle()
    assert Leaving.ran == [0]


def test_a_hub_that_is_mounted_twice_has_no_one_place() -> None:
    app = app_of(Red)
    app.add_hubs("/more", Red)
    with pytest.raises(ConfigurationError, match="Red is mounted at /signalr and /more"):
        app.clients(Red)
