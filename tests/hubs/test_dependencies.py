"""What hubs and their methods depend on: who fills it, how often it is made, when it is closed."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import anyio
import pytest
from typing_extensions import TypeAliasType

from persistconn import App, ConfigurationError, DisconnectReason, Request
from persistconn.hubs import Depends, Hub, HubCall, HubContext, HubError, Proceed, Progress

from .aspnetcore_line import JSON, MESSAGEPACK, Rooms, open_house, settle
from .test_aspnetcore_calls import FAILED, gate, open_gate
from .test_aspnetcore_calls import LOG as log
from .test_aspnetcore_calls import from_zero as from_zero

BOTH = pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=["json", "messagepack"])


class Till:
    """Has no JSON form, and counts how often one is made."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = self.made


@pytest.fixture(autouse=True)
def no_tills() -> None:
    Till.made = 0


async def till() -> Till:
    return Till()


async def first() -> AsyncIterator[str]:
    log.append("open first")
    try:
        yield "first"
    except BaseException as error:
        log.append(f"first saw {type(error).__name__}")
        raise
    finally:
        await anyio.lowlevel.checkpoint()  # a client that has gone does not get in here
        log.append("close first")


def second(first: Annotated[str, Depends(first)]) -> Iterator[str]:
    log.append("open second")
    try:
        yield f"second of {first}"
    except BaseException as error:
        log.append(f"second saw {type(error).__name__}")
        raise
    finally:
        log.append("close second")


OPENED, CLOSED = ["open first", "open second"], ["close second", "close first"]


def failing_with(name: str) -> list[str]:
    return [f"second saw {name}", "close second", f"first saw {name}", "close first"]


def in_any_dialect(test: Callable[[Callable[..., Any]], Any], *hubs: type[Hub], **options: Any) -> Any:
    """Run a test with a function that calls a method of the first hub: as each of our clients would."""

    async def run() -> None:
        async with open_house(*hubs, **options) as rooms:
            page = await rooms.page(hubs[0].__name__)

            async def by_page(method: str, *arguments: Any) -> Any:
                answer = await page.answer(page.begin(hubs[0].__name__, method, *arguments))
                return answer.get("E") if "E" in answer else answer.get("R")

            await test(by_page)
            for protocol in (JSON, MESSAGEPACK):
                client = await rooms.client(protocol)

                async def by_client(method: str, *arguments: Any, client: Any = client) -> Any:
                    return (*await client.ask(method, *arguments), None)[1]

                log.clear()
                await test(by_client)

    return run()


# Who fills it -----------------------------------------------------------------------------------


class Places(Hub):
    async def in_front(self, till: Annotated[Till, Depends(till)], a: int, b: int = 2) -> list[Any]:
        return [type(till).__name__, a, b]

    async def between(
        self, a: int, till: Till = Depends(till), b: int = 2, *, other: Till = Depends(Till)
    ) -> list[Any]:
        return [a, type(till).__name__, b, type(other).__name__]

    async def behind_what_is_left_out(self, a: int = 1, b: int = 2, till: Till = Depends(till)) -> list[Any]:
        return [a, b, type(till).__name__]

    async def before_the_rest(self, a: int = 1, till: Till = Depends(till), *rest: int) -> list[Any]:
        return [a, type(till).__name__, *rest]

    async def with_progress(self, a: int, progress: Progress[int], till: Annotated[Till, Depends(till)]) -> list[Any]:
        await progress.report(50)
        return [a, type(till).__name__]

    def in_a_thread(self, till: Annotated[Till, Depends(till)], a: int) -> list[Any]:
        return [type(till).__name__, a, threading.current_thread() is threading.main_thread()]

    async def upload(
        self, till: Annotated[Till, Depends(till)], parts: AsyncIterator[int], more: Annotated[Till, Depends(Till)]
    ) -> list[Any]:
        return [type(till).__name__, [part async for part in parts], type(more).__name__]


async def test_what_a_method_depends_on_is_no_argument() -> None:
    async def test(call: Any) -> None:
        assert await call("inFront", 1) == ["Till", 1, 2]
        assert await call("inFront", 1, 3) == ["Till", 1, 3]
        assert await call("between", 1) == [1, "Till", 2, "Till"]
        assert await call("between", 1, 3) == [1, "Till", 3, "Till"]
        assert await call("behindWhatIsLeftOut") == [1, 2, "Till"]
        assert await call("behindWhatIsLeftOut", 3) == [3, 2, "Till"]
        assert await call("behindWhatIsLeftOut", 3, 4) == [3, 4, "Till"]
        assert await call("beforeTheRest") == [1, "Till"]
        assert await call("beforeTheRest", 3, 4, 5) == [3, "Till", 4, 5]
        assert await call("withProgress", 1) == [1, "Till"]
        assert await call("inAThread", 1) == ["Till", 1, False]

    await in_any_dialect(test, Places)


async def test_no_client_can_fill_it(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Places, detailed_errors=True) as rooms:
        client, page = await rooms.client(), await rooms.page("Places")
        wrong = "InvalidDataException: Invocation provides 3 argument(s) but target expects 2."
        assert wrong in (await client.ask("InFront", 1, 2, 3))[1]
        assert "provides 0 argument(s) but target expects 1" in (await client.ask("InFront"))[1]
        assert (await page.call("Places", "inFront", 1, 2, 3))["E"] == (
            "'inFront' method could not be resolved. Potential candidates are: "
            "\nin_front(a:int, b:int):list[typing.Any]"
        )
        (script,) = rooms.app.hub_scripts().values()
        assert "till" not in script.lower() and "inFront" in script


@BOTH
async def test_uploads_have_their_places_between(protocol: Any) -> None:
    async with open_house(Places) as rooms:
        client = await rooms.client(protocol)
        client.say(client.call("Upload", id="1", stream_ids=["s"]))
        client.say(client.protocol.stream_item("s", 4), client.protocol.completion("s"))
        assert await client.hear(1) == [("result", "1", ["Till", [4], "Till"])]


# What it may be ---------------------------------------------------------------------------------


def where() -> str:
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


async def from_function() -> str:
    return where()


def from_plain_function() -> str:
    return where()


async def from_generator() -> AsyncIterator[str]:
    yield where()


def from_plain_generator() -> Iterator[str]:
    yield where()


class FromClass:
    def __init__(self, greeting: str = "hello") -> None:
        self.said = f"{greeting} from a {where()}"


@dataclass
class Saying:
    word: str

    async def __call__(self) -> str:
        return f"{self.word} from the {where()}"

    def method(self, more: str) -> str:
        return f"{self.word}, {more}, from a {where()}"


async def about(request: Request, context: HubContext, limit: int = 3, *_: Any, **__: Any) -> list[Any]:
    return [request.query.get("a", "no a"), context.connection_id == context.connection.id, limit]


Aliased = TypeAliasType("Aliased", Annotated[str, Depends(from_function)])


class Kinds(Hub):
    async def all_of_them(
        self,
        a: Annotated[str, Depends(from_function)],
        b: Annotated[str, Depends(from_plain_function)],
        c: Annotated[str, Depends(from_generator)],
        d: Annotated[str, Depends(from_plain_generator)],
        e: Annotated[FromClass, Depends(FromClass)],
        f: Annotated[str, Depends(Saying("hi"))],
        g: Annotated[str, Depends(partial(Saying("hi").method, more="you"))],
        h: Annotated[dict[str, Any], Depends(dict)],
        i: Aliased,
    ) -> list[Any]:
        return [a, b, c, d, e.said, f, g, h, i]

    async def about(self, about: Annotated[list[Any], Depends(about)]) -> list[Any]:
        return about


async def test_whatever_can_be_called_can_be_depended_on() -> None:
    async def test(call: Any) -> None:
        assert await call("allOfThem") == [
            *("loop", "thread", "loop", "thread"),
            *("hello from a thread", "hi from the loop", "hi, you, from a thread"),
            *({}, "loop"),
        ]
        assert await call("about") == ["no a", True, 3]

    await in_any_dialect(test, Kinds)


# How often it is made ---------------------------------------------------------------------------


async def numbers(one: Annotated[Till, Depends(till)], other: Till = Depends(till, use_cache=False)) -> list[int]:
    return [one.number, other.number]


class Shared(Hub):
    def __init__(self, till: Annotated[Till, Depends(till)], note: str = "none") -> None:
        self.till = till
        self.note = note

    async def numbers(self, numbers: Annotated[list[int], Depends(numbers)], till: Till = Depends(till)) -> list[int]:
        return [self.till.number, *numbers, till.number]

    async def plain(self) -> str:
        return self.note


async def test_it_is_made_once_for_a_call() -> None:
    async def test(call: Any) -> None:
        Till.made = 0
        assert await call("numbers") == [1, 1, 2, 1]
        assert await call("numbers") == [3, 3, 4, 3]
        assert await call("plain") == "none" and Till.made == 5

    await in_any_dialect(test, Shared)


async def test_a_factory_makes_hubs_its_own_way() -> None:
    class Unmarked(Shared):
        def __init__(self, number: int) -> None:
            super().__init__(Till(), str(number))

    async def test(call: Any) -> None:
        assert await call("plain") == "7"

    await in_any_dialect(test, Unmarked, factory=lambda: Unmarked(7))


async def test_hubs_that_depend_on_nothing_are_called_the_short_way() -> None:
    class Plain(Hub):
        async def hello(self) -> str:
            return "hello"

        async def given(self, till: Annotated[Till, Depends(till)]) -> str:
            return "given"

    async with open_house(Plain, Shared) as rooms:
        plain, shared = await rooms.client(path="/hub/plain"), await rooms.client(path="/hub/shared")
        assert [await plain.ask(name) for name in ("Hello", "Given")] == [("result", "hello"), ("result", "given")]
        assert await shared.ask("Plain") == ("result", "none")
        hubs = rooms.app._hubs["/hub"]._dispatcher.table.hubs
        assert [list(hub.plain) for hub in hubs.values()] == [[("Hello", 0)], []]


# When it is closed ------------------------------------------------------------------------------


class Closing(Hub):
    def __init__(self, of_hub: Annotated[str, Depends(first)]) -> None:
        self.of_hub = of_hub

    async def works(self, second: Annotated[str, Depends(second)]) -> str:
        log.append("work")
        return f"{self.of_hub}, {second}"

    async def fails(self, how: str, second: Annotated[str, Depends(second)]) -> None:
        raise HubError("on purpose") if how == "shown" else KeyError("secret")

    async def waits(self, second: Annotated[str, Depends(second)]) -> None:
        log.append("wait")
        await gate("waits")

    async def counts(self, upto: int, second: Annotated[str, Depends(second)]) -> AsyncIterator[int]:
        for number in range(upto):
            yield number
        log.append("counted")

    async def made(self, second: Annotated[str, Depends(second)]) -> AsyncIterator[int]:
        return self.counts(2, second)

    async def breaks(self, second: Annotated[str, Depends(second)]) -> AsyncIterator[int]:
        yield 0
        raise HubError("out of paper")

    async def forever(self, second: Annotated[str, Depends(second)]) -> AsyncIterator[int]:
        try:
            for number in range(1_000_000):
                yield number
                await gate(f"after {number}")
        finally:
            log.append("stopped")

    async def no_stream(self, second: Annotated[str, Depends(second)]) -> AsyncIterator[int]:
        return None  # type: ignore[return-value]


async def test_the_last_is_closed_first() -> None:
    async def test(call: Any) -> None:
        assert await call("works") == "first, second of first"
        assert log == [*OPENED, "work", *CLOSED]

    await in_any_dialect(test, Closing)


@pytest.mark.parametrize(("how", "name", "text"), [("shown", "HubError", "on purpose"), ("", "KeyError", "error")])
async def test_it_learns_how_a_call_fails(how: str, name: str, text: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(call: Any) -> None:
        answer = await call("fails", how)
        assert text in answer and "secret" not in answer
        assert log == [*OPENED, *failing_with(name)]

    await in_any_dialect(test, Closing)


@BOTH
async def test_it_is_open_while_a_stream_is_read(protocol: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Closing) as rooms:
        client = await rooms.client(protocol)
        for call in (client.call("Counts", 2, id="1", is_stream=True), client.call("Made", id="1", is_stream=True)):
            log.clear()
            client.say(call)
            assert await client.hear(3) == [("item", "1", 0), ("item", "1", 1), ("end", "1")]
            assert log == [*OPENED, "counted", *CLOSED]
        log.clear()
        client.say(client.call("Breaks", id="1", is_stream=True))
        said = await client.hear(2)
        assert said[0] == ("item", "1", 0) and said[1][2].endswith("HubException: out of paper")
        assert log == [*OPENED, *failing_with("HubError")]
        assert await client.ask("NoStream", is_stream=True) == ("error", FAILED.format("NoStream"))


async def until(length: int) -> None:
    """Threads take their time, so wait until so much has happened."""
    with anyio.fail_after(5):
        while len(log) < length:
            await settle()


async def test_a_stream_that_nobody_reads_on_is_closed() -> None:
    async with open_house(Closing) as rooms:
        client = await rooms.client()
        for end in (lambda: client.say(JSON.cancel("1")), client.cut):
            log.clear()
            client.say(client.call("Forever", id="1", is_stream=True))
            assert await client.hear(1) == [("item", "1", 0)]
            end()
            await until(7)
            assert log[:3] == [*OPENED, "stopped"] and [said for said in log if "close" in said] == CLOSED
            await client.hear()


async def test_a_client_that_goes_leaves_nothing_open() -> None:
    async with open_house(Closing) as rooms:
        client, page = await rooms.client(), await rooms.page("Closing")
        client.say(client.call("Waits", id="1"))
        await until(3)
        client.cut()
        await until(7)
        assert log[:3] == [*OPENED, "wait"] and [said for said in log if "close" in said] == CLOSED
        log.clear()
        page.begin("Closing", "waits")
        await until(3)
        await page.stop()
        await until(7)
        assert log[:3] == [*OPENED, "wait"] and [said for said in log if "close" in said] == CLOSED


async def stuck() -> AsyncIterator[None]:
    try:
        yield
    finally:
        log.append("stuck")
        await anyio.sleep_forever()


class Stuck(Hub):
    async def works(self, first: Annotated[str, Depends(first)], _: None = Depends(stuck)) -> None: ...

    async def waits(self, first: Annotated[str, Depends(first)], _: None = Depends(stuck)) -> None:
        await gate("waits")


async def test_closing_has_its_time(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Stuck, drain_timeout=0.02, detailed_errors=True) as rooms:
        client = await rooms.client()
        error, text = await client.ask("Works")
        assert error == "error" and "did not close within 0.02 s (drain_timeout)" in text
        assert log == ["open first", "stuck"]  # what is left was cut as well, where it waits
        client.say(client.call("Waits"))
        await settle()
        client.cut()
        await until(5)
        cancelled = anyio.get_cancelled_exc_class().__name__
        assert log[2:] == ["open first", "stuck", f"first saw {cancelled}"]
        while rooms.app.statistics().reactions["drain_timeout"] < 2:
            await settle()


# What may go wrong in it ------------------------------------------------------------------------


async def refusing() -> None:
    raise HubError("we are closed")


async def broken() -> None:
    raise KeyError("secret")


async def forgiving() -> AsyncIterator[None]:
    try:
        yield
    except KeyError:
        log.append("forgiven")


async def translating(_: Annotated[None, Depends(forgiving)]) -> AsyncIterator[None]:
    try:
        yield
    except KeyError as error:
        raise HubError(f"no {error}") from error


async def failing_late() -> AsyncIterator[None]:
    yield
    raise HubError("could not commit")


class Troubled(Hub):
    async def refuses(self, first: Annotated[str, Depends(first)], _: None = Depends(refusing)) -> None: ...
    async def breaks(self, first: Annotated[str, Depends(first)], _: None = Depends(broken)) -> None: ...
    async def works(self, first: Annotated[str, Depends(first)], _: None = Depends(failing_late)) -> None: ...

    async def forgives(self, _: Annotated[None, Depends(forgiving)]) -> None:
        raise KeyError("secret")

    async def translates(self, _: Annotated[None, Depends(translating)]) -> None:
        raise KeyError("apples")


async def test_what_fails_in_it_fails_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async def test(call: Any) -> None:
        assert "we are closed" in await call("refuses")
        assert log == ["open first", "first saw HubError", "close first"]
        assert "secret" not in await call("breaks")
        assert "secret" not in await call("forgives") and log[-1] == "forgiven"
        assert "no 'apples'" in await call("translates")
        assert "could not commit" in await call("works")
        assert log[-2:] == ["first saw HubError", "close first"]

    await in_any_dialect(test, Troubled)


async def scoped() -> AsyncIterator[str]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gate, "scoped")
        with anyio.fail_after(60):
            yield "scoped"
        open_gate("scoped")


class Scoped(Hub):
    async def works(self, scoped: Annotated[str, Depends(scoped)]) -> str:
        return scoped

    async def counts(self, scoped: Annotated[str, Depends(scoped)]) -> AsyncIterator[str]:
        yield scoped


async def timed(call: HubCall, proceed: Proceed) -> object:
    with anyio.fail_after(60):
        return await proceed()


async def test_it_may_hold_a_scope_open() -> None:
    async def test(call: Any) -> None:
        assert await call("works") == "scoped"

    await in_any_dialect(test, Scoped, filters=[timed])
    async with open_house(Scoped, filters=[timed]) as rooms:
        client = await rooms.client()
        client.say(client.call("Counts", id="1", is_stream=True))
        assert await client.hear(2) == [("item", "1", "scoped"), ("end", "1")]


# What surrounds it ------------------------------------------------------------------------------


async def test_filters_are_around_it(caplog: pytest.LogCaptureFixture) -> None:
    async def strict(call: HubCall, proceed: Proceed) -> object:
        if call.arguments == ["no"]:
            raise HubError("not you")
        assert type(call.hub) is Closing and call.hub.context is call.context
        log.append("filter")
        try:
            return await proceed()
        finally:
            log.append("filtered")

    async def test(call: Any) -> None:
        assert "not you" in await call("fails", "no") and log == []
        assert await call("works") == "first, second of first"
        assert log == ["filter", *OPENED, "work", *CLOSED, "filtered"]

    await in_any_dialect(test, Closing, filters=[strict])


def guest(request: Request) -> str:
    if request.query.get("name") == "mallory":
        raise HubError("not you")
    return "somebody"


class Lives(Hub):
    def __init__(self, guest: Annotated[str, Depends(guest)], first: Annotated[str, Depends(first)]) -> None:
        self.guest = guest

    async def on_connected(self) -> None:
        log.append(f"{self.guest} came")

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        log.append(f"{self.guest} went")

    async def hello(self) -> str:
        return self.guest


async def test_the_moments_of_a_connection_have_it_too() -> None:
    async def comes(rooms: Rooms) -> Any:
        return await rooms.client()

    async def page_comes(rooms: Rooms) -> Any:
        return await rooms.page("Lives")

    async with open_house(Lives) as rooms:
        for come in (comes, page_comes):
            log.clear()
            client = await come(rooms)
            await until(3)
            assert log == ["open first", "somebody came", "close first"]
            await client.stop()
            await until(6)
            assert log[3:] == ["open first", "somebody went", "close first"]


async def test_it_may_refuse_who_connects(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Lives) as rooms:
        client = await rooms.visitor_at("/hub?name=mallory")
        await client.shake("json")
        assert await client.hear(1) == [("close", "Connection closed with an error. HubException: not you")]
        page = rooms.home.visitor("Lives", path="/hub", query="name=mallory")
        _, told = await page.negotiate()
        page.connect(told)
        await settle()
        assert "came" not in str(log)


# What cannot be ---------------------------------------------------------------------------------


async def circle(_: Annotated[int, "of circled"]) -> int: ...  # type: ignore[empty-body]
async def circled(_: Annotated[int, Depends(circle)]) -> int: ...  # type: ignore[empty-body]


circle.__annotations__["_"] = Annotated[int, Depends(circled)]


async def wanting(url: str) -> int: ...  # type: ignore[empty-body]
async def of_wanting(_: Annotated[int, Depends(wanting)]) -> int: ...  # type: ignore[empty-body]
async def unknown(_: Nobody) -> int: ...  # type: ignore[name-defined, empty-body]  # noqa: F821
async def slashed(_: Annotated[int, Depends(till)], /) -> int: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("dependency", "text"),
    [
        (circle, "Wrong.method: parameter _: circle → circled → circle depends on itself"),
        (
            wanting,
            "Wrong.method: parameter _: wanting: parameter url has no default: mark it with Depends, annotate it",
        ),
        (of_wanting, "Wrong.method: parameter _: of_wanting → wanting: parameter url has no default"),
        (unknown, "Wrong.method: parameter _: unknown: the types of its parameters cannot be found: name 'Nobody'"),
        (slashed, "Wrong.method: parameter _: slashed: parameter _ must not stand before /"),
    ],
)
def test_what_can_never_work_fails_at_mount(dependency: Any, text: str) -> None:
    class Wrong(Hub):
        async def method(self, _: int = Depends(dependency)) -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        App(secret_keys=["a key for the tests"]).add_hubs("/hub", Wrong)
    assert text in str(caught.value)


class Unmakable(Hub):
    def __init__(self, number: int) -> None: ...


class Slashed(Hub):
    async def method(self, till: Annotated[Till, Depends(till)], /) -> None: ...


class Singular(Hub):
    def __new__(cls) -> Singular:
        return super().__new__(cls)

    def __init__(self, till: Annotated[Till, Depends(till)]) -> None: ...


@pytest.mark.parametrize(
    ("hub", "text"),
    [
        (Unmakable, "Unmakable: Unmakable.__init__: parameter number has no default"),
        (Slashed, "Slashed.method: parameter till: what is marked with Depends must not stand before /"),
        (Singular, "Singular is made by a __new__ of its own: dependencies go to __init__"),
    ],
)
def test_what_hubs_cannot_be_given(hub: type[Hub], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        App(secret_keys=["a key for the tests"]).add_hubs("/hub", hub)
    assert text in str(caught.value)
    if hub is Unmakable:
        App(secret_keys=["a key for the tests"]).add_hubs("/hub", hub, factory=lambda: Unmakable(1))


def test_what_is_no_dependency() -> None:
    with pytest.raises(ConfigurationError, match="'stock' is neither"):
        Depends("stock")  # type: ignore[arg-type]
