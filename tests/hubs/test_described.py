"""What a hub class offers to clients: names, methods, overloads, and what cannot be."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from persistconn import ConfigurationError, RemoteProtocolError
from persistconn.hubs import Hub, Progress, hub_name, method_name
from persistconn.hubs.described import DescribedHub, HubTable, MethodNotFound


def noted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any) -> Any:
        return await function(*args)

    return wrapper


class Talks:
    """No hub, but what hubs inherit from it is theirs."""

    async def whisper(self, text: str) -> str:
        return text


class Base(Hub):
    async def ping_all(self) -> str:
        return "base"

    async def replaced(self) -> None: ...
    async def hidden(self) -> None: ...


class Chat(Base, Talks):
    history: list[str] = []
    hidden = None  # type: ignore[assignment]

    class Inner:
        pass

    async def say(self, text: str, times: int = 1) -> None: ...
    async def replaced(self) -> None: ...

    @noted
    async def wrapped(self, text: str) -> str:
        return text

    def plain(self) -> int:
        return 1

    async def counts(self, upto: int) -> AsyncIterator[int]:
        yield upto

    async def works(self, n: int, progress: Progress[int]) -> None: ...

    async def on_connected(self) -> None: ...

    @property
    def secret(self) -> str:
        return "secret"

    @functools.cached_property
    def cached(self) -> str:
        return "secret"

    @staticmethod
    def static(text: str) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    async def _private(self) -> None: ...
    async def __mangled(self) -> None: ...
    def __call__(self) -> None: ...
    def __len__(self) -> int:
        return 0

    lambda_ = lambda self: 1  # noqa: E731


CHAT = DescribedHub(Chat)


def test_public_methods_can_be_called_inherited_ones_included() -> None:
    assert set(CHAT.methods) == {
        "say", "replaced", "wrapped", "plain", "counts", "works", "whisper", "ping_all", "pingall", "lambda_", "lambda",
    }  # fmt: skip
    assert CHAT.find("replaced", 0).function is Chat.replaced
    assert CHAT.find("WHISPER", 1).function is Talks.whisper
    assert CHAT.find("wrapped", 1).signature.parameters[0].annotation is str


@pytest.mark.parametrize(
    "name",
    [
        "_private", "__mangled", "_Chat__mangled", "_chat__mangled", "__init__", "__call__", "__len__", "__class__",
        "__class_getitem__", "__reduce__", "__dict__", "__getattribute__", "_scene", "_staged", "secret", "cached",
        "static", "of_class", "ofclass", "history", "Inner", "hidden", "on_connected", "onConnected",
        "on_disconnected", "on_reconnected", "on_rejoining_groups", "onRejoiningGroups", "clients", "groups", "context",
        "mro", "", " say", "say ", "say\0", "chat.say", "Chat.say", "ſay", "<lambda>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("count", [0, 1, 2])
def test_nothing_else_can(name: str, count: int) -> None:
    with pytest.raises(MethodNotFound, match="method could not be resolved"):
        CHAT.find(name, count)


def test_methods_are_found_in_any_case_and_style() -> None:
    for name in ("ping_all", "PING_ALL", "pingAll", "PingAll", "pingall"):
        assert CHAT.find(name, 0).name == "ping_all"
    assert [CHAT.find("say", count).name for count in (1, 2)] == ["say", "say"]


def test_the_wrong_number_of_arguments_is_told_with_what_there_is() -> None:
    with pytest.raises(MethodNotFound) as caught:
        CHAT.find("Say", 3)
    assert str(caught.value) == (
        "'Say' method could not be resolved. Potential candidates are: \nsay(text:str, times:int):None"
    )
    with pytest.raises(MethodNotFound, match=r"Potential candidates are: \nworks\(n:int\):None"):
        CHAT.find("works", 2)


def test_what_kind_of_method_it_is() -> None:
    assert CHAT.find("say", 1).is_async and not CHAT.find("plain", 0).is_async
    assert CHAT.find("counts", 1).is_stream and not CHAT.find("say", 1).is_stream
    assert CHAT.overrides == {"on_connected"} and DescribedHub(Base).overrides == frozenset()


# Names ------------------------------------------------------------------------------------------


def test_a_given_name_is_the_only_one() -> None:
    @hub_name("Board")
    class BoardHub(Hub):
        @method_name("Put_It")
        async def put(self) -> None: ...

    hub = DescribedHub(BoardHub)
    assert (hub.name, hub.script_name, set(hub.methods)) == ("Board", "Board", {"put_it"})
    assert hub.find("PUT_IT", 0).name == "Put_It"
    table = HubTable([BoardHub])
    assert table.find("bOARD").hub is BoardHub
    with pytest.raises(RemoteProtocolError, match="'BoardHub' Hub could not be resolved") as caught:
        table.find("BoardHub")
    assert caught.value.status == 500


def test_a_subclass_has_a_name_of_its_own() -> None:
    @hub_name("first")
    class First(Hub): ...

    class Second(First): ...

    assert DescribedHub(Second).name == "Second"


@pytest.mark.parametrize("name", ["a.b", ".", "", "Chat."])
def test_a_hub_name_has_no_dots(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"The hub name '{name}' is invalid."):
        DescribedHub(hub_name(name)(type("X", (Hub,), {})))


def test_a_method_is_called_as_the_class_calls_it() -> None:
    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(self: Any) -> Any:
            return await function(self)

        return wrapper

    class Timed(Hub):
        async def one(self) -> int:
            return 1

        first = one
        second = timed(one)
        third = timed(one)

    hub = DescribedHub(Timed)
    assert set(hub.methods) == {"one", "first", "second", "third"}
    assert hub.find("second", 0).name == "second"


def test_two_hubs_of_one_name_are_refused_whatever_the_case() -> None:
    with pytest.raises(ConfigurationError, match="two hubs are called 'CHAT', whatever the case"):
        HubTable([Chat, hub_name("CHAT")(type("Other", (Hub,), {}))])
    with pytest.raises(ConfigurationError, match="two hubs are called 'Chat'"):
        HubTable([Chat, Chat])


@pytest.mark.parametrize("given", [Chat(), Talks, object, "Chat", None])
def test_only_hub_classes_can_be_mounted(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no subclass of Hub: give the classes one by one"):
        HubTable([given])


def test_no_hub_at_all_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="at least one hub class"):
        HubTable([])


def test_a_hub_is_known_by_its_class() -> None:
    table = HubTable([Chat])
    described = table.of(Chat)
    assert described is not None and described.name == "Chat" and table.of(Base) is None


# Overloads --------------------------------------------------------------------------------------


class Overloads(Hub):
    @method_name("get")
    async def get_all(self) -> str:
        return "all"

    @method_name("get")
    async def get_one(self, id: int) -> str:
        return "one"

    @method_name("get")
    async def get_many(self, *ids: int) -> str:
        return "many"


def test_overloads_are_told_apart_by_the_number_of_arguments() -> None:
    class Good(Hub):
        get_all = Overloads.get_all
        get_one = Overloads.get_one

    hub = DescribedHub(Good)
    assert [hub.find("GET", count).function.__name__ for count in (0, 1)] == ["get_all", "get_one"]
    with pytest.raises(MethodNotFound) as caught:
        hub.find("get", 2)
    assert str(caught.value).splitlines()[1:] == ["get():str", "get(id:int):str"]
    (shape,) = hub.shape.methods
    assert (shape.name, shape.script_name, shape.parameters) == ("get", "get", ())


def test_methods_that_clients_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="clients cannot tell get_all and get_many apart"):
        DescribedHub(Overloads)

    class Spelt(Hub):
        async def get_item(self) -> None: ...
        async def getItem(self, id: int) -> None: ...

    with pytest.raises(ConfigurationError, match="both are called 'getitem': rename one"):
        DescribedHub(Spelt)

    class Optional(Hub):
        @method_name("get")
        async def one(self, a: int = 1) -> None: ...
        @method_name("get")
        async def two(self, a: int, b: int) -> None: ...
        @method_name("get")
        async def three(self, a: int, b: int, c: int, d: int = 1) -> None: ...
        @method_name("GET")
        async def four(self, a: int, b: int, c: int, d: int, e: int) -> None: ...

    with pytest.raises(ConfigurationError, match="clients cannot tell"):  # one name, and not one in another case
        DescribedHub(Optional)


def test_a_complaint_names_the_hub_and_the_method() -> None:
    class Wrong(Hub):
        async def ask(self, what: Callable[[], None]) -> None: ...

    with pytest.raises(ConfigurationError, match=r"^Wrong\.ask: parameter what cannot be read from JSON"):
        DescribedHub(Wrong)


def test_what_the_script_says_of_a_hub() -> None:
    shape = CHAT.shape
    assert (shape.name, shape.script_name) == ("Chat", "chat")
    said = {method.name: method.parameters for method in shape.methods}
    assert said["say"] == ("text", "times") and said["pingAll"] == () and said["works"] == ("n",)
    assert sorted(said) == [method.name for method in shape.methods]
