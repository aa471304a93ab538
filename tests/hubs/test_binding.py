"""From JSON to what a method is called with: the types of its parameters decide."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn import ConfigurationError
from persistconn.hubs import Progress
from persistconn.hubs.binding import BindingError, Parameter, Signature

T = TypeVar("T")


@dataclass
class Item:
    obj_id: int
    obj_val: str = "none"


@dataclass
class Note:
    the_text: str


@attrs.define
class Place:
    street_name: str
    number: int | None = None


class Options(TypedDict, total=False):
    dark_mode: bool
    items: list[Item]


class Point(msgspec.Struct):
    x_axis: float
    y_axis: float = 0.0


class Circle(msgspec.Struct, tag="circle"):
    the_middle: Point
    radius: float


class Square(msgspec.Struct, tag="square"):
    the_side: float


class Numbered(msgspec.Struct, tag=1, tag_field="kind"):
    the_text: str


class Lettered(msgspec.Struct, tag=2, tag_field="kind"):
    the_letter: str


class Pair(msgspec.Struct, array_like=True):
    first: Item
    second: int


class Nest(msgspec.Struct, array_like=True):
    item: Item
    inner: list[Nest] = []


class Span(NamedTuple):
    since: Item
    until: Item | None = None


class Renamed(msgspec.Struct, rename="camel"):
    obj_id: int


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    obj_id: int


class Box(msgspec.Struct, Generic[T]):
    the_content: T


@dataclass
class Tree:
    node_name: str
    child_nodes: list[Tree] = field(default_factory=list)
    parent_node: Tree | None = None


class Color(Enum):
    red = "r"
    green = "g"


class Size(IntEnum):
    small = 1


class Model(pydantic.BaseModel):
    obj_id: int
    when_due: datetime | None = None
    sub_item: Item | None = None
    sub_models: list[Model] = []
    foreign: Any = None
    either: Item | Note | None = None


class Aliased(pydantic.BaseModel):
    obj_id: int = pydantic.Field(alias="theId")


class Numbers(pydantic.RootModel[dict[str, int]]):
    pass


def read(annotation: Any, json: str) -> Any:
    return Parameter("given", annotation).read(msgspec.Raw(json.encode()))


WHEN = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)
ITEM = Item(1, "a")


@pytest.mark.parametrize(
    ("annotation", "json", "value"),
    [
        (int, "5", 5),
        (float, "5", 5.0),
        (str, '"5"', "5"),
        (bool, "true", True),
        (None, "null", None),
        (int | None, "null", None),
        (int | str, '"a"', "a"),
        (Any, '{"objId":[1]}', {"objId": [1]}),
        (object, "[1]", [1]),
        (T, "[1]", [1]),
        (list, "[1]", [1]),
        (Sequence[int], "[1]", [1]),
        (dict[str, int], '{"a":1}', {"a": 1}),
        (set[int], "[1,1]", {1}),
        (Literal["a", "b"], '"b"', "b"),
        (Annotated[int, msgspec.Meta(ge=0)], "0", 0),
        (Color, '"g"', Color.green),
        (Size, "1", Size.small),
        (datetime, '"2026-11-26T12:30:00Z"', WHEN),
        (date, '"2026-11-26"', date(2026, 11, 26)),
        (timedelta, '"PT90S"', timedelta(seconds=90)),
        (UUID, '"12345678-1234-5678-1234-567812345678"', UUID("12345678123456781234567812345678")),
        (Decimal, "1.10", Decimal("1.10")),
        (bytes, '"aGk="', b"hi"),
        (Item, '{"obj_id":1,"obj_val":"a"}', ITEM),
        (Item, '{"objId":1,"objVal":"a"}', ITEM),
        (Item, '{"ObjId":1,"ObjVal":"a","more":null}', ITEM),
        (Item, '{"OBJ_ID":1,"objval":"a"}', ITEM),
        (Item, '{"objId":7,"obj_id":1,"ObjVal":"a"}', ITEM),  # as it is written wins
        (Item, '{"obj_id":1,"objId":7,"ObjVal":"a"}', ITEM),
        (Item | None, '{"objId":1,"objVal":"a"}', ITEM),
        (Item | list[Item], '[{"objId":1,"objVal":"a"}]', [ITEM]),
        (Item | str, '"a"', "a"),
        (list[Item], '[{"objId":1,"objVal":"a"}]', [ITEM]),
        (tuple[Item, ...], '[{"objId":1,"objVal":"a"}]', (ITEM,)),
        (tuple[int, Item], '[5,{"objId":1,"objVal":"a"}]', (5, ITEM)),
        (dict[str, Item], '{"objId":{"objId":1,"objVal":"a"}}', {"objId": ITEM}),
        (dict[int, Item], '{"5":{"objId":1,"objVal":"a"}}', {5: ITEM}),
        (dict[UUID, Item], '{"12345678-1234-5678-1234-567812345678":{"objId":1,"objVal":"a"}}',
            {UUID("12345678123456781234567812345678"): ITEM}),
        (Annotated[Item, "note"], '{"objId":1,"objVal":"a"}', ITEM),
        (Place, '{"StreetName":"a","number":2}', Place("a", 2)),
        (Options, '{"darkMode":true,"Items":[{"objId":1,"objVal":"a"}]}', {"dark_mode": True, "items": [ITEM]}),
        (Point, '{"xAxis":1,"YAxis":2.5}', Point(1.0, 2.5)),
        (Circle | Square, '{"type":"circle","theMiddle":{"xAxis":0},"Radius":1}', Circle(Point(0.0), 1.0)),
        (Circle | Square | None, '{"theSide":2,"type":"square"}', Square(2.0)),
        (list[Numbered | Lettered], '[{"kind":2,"TheLetter":"x"}]', [Lettered("x")]),
        (Pair, '[{"objId":1,"objVal":"a"},2]', Pair(ITEM, 2)),
        (Nest, '[{"objId":1,"objVal":"a"},[[{"objId":1,"objVal":"a"}]]]', Nest(ITEM, [Nest(ITEM)])),
        (Span, '[{"objId":1,"objVal":"a"}]', Span(ITEM)),
        (Renamed, '{"obj_id":1}', Renamed(1)),
        (Strict, '{"objId":1}', Strict(1)),
        (tuple[Box[int], Box[Item]], '[{"theContent":1},{"theContent":{"objId":1,"objVal":"a"}}]',
            (Box(1), Box(ITEM))),
        (Tree, '{"nodeName":"a","childNodes":[{"nodeName":"b","parentNode":{"NodeName":"c"}}]}',
            Tree("a", [Tree("b", [], Tree("c"))])),
        (Model, '{"objId":1,"WhenDue":"2026-11-26T12:30:00Z"}', Model(obj_id=1, when_due=WHEN)),
        (Model, '{"obj_id":1,"subItem":{"objId":1,"objVal":"a"},"subModels":[{"ObjId":2}]}',
            Model(obj_id=1, sub_item=ITEM, sub_models=[Model(obj_id=2)])),
        (Model | None, "null", None),
        (list[Model], '[{"objId":1}]', [Model(obj_id=1)]),
        (Model, '{"objId":1,"Either":{"the_text":"a"}}', Model(obj_id=1, either=Note("a"))),
        (Annotated[Item, msgspec.Meta(title="an item")], '{"objId":1,"objVal":"a"}', ITEM),
        (Aliased, '{"TheId":1}', Aliased(theId=1)),
        (Numbers, '{"Root":1}', Numbers({"Root": 1})),
    ],
)  # fmt: skip
def test_json_becomes_what_the_parameter_says(annotation: Any, json: str, value: Any) -> None:
    got = read(annotation, json)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("annotation", "json"),
    [
        (int, '"5"'), (int, "5.5"), (int, "true"), (int, "null"), (int, "1" * 5_000), (float, "1e999"),
        (str, "5"), (bool, "1"), (str, '"\\ud800"'), (Color, '"red"'), (Size, "2"), (datetime, '"yesterday"'),
        (UUID, '"x"'), (Literal["a"], '"b"'), (Annotated[int, msgspec.Meta(ge=0)], "-1"),
        (set, "[[1]]"), (set[Any], "[{}]"), (dict[int, int], '{"a":1}'), (dict[int, Item], '{"a":{"objId":1}}'),
        (Item, "{}"), (Item, "[]"), (Item, "null"), (Item, '{"objId":"1"}'), (list[Item], '[{"objId":1},5]'),
        (Options, '{"darkMode":5}'), (Circle | Square, '{"theSide":2}'), (Circle | Square, '{"type":[],"theSide":2}'),
        (Circle | Square, '{"type":{"a":1}}'), (Circle | Square, '{"type":"round"}'), (Circle | Square, "5"),
        (Numbered | Lettered, '{"kind":true}'), (Pair, "{}"), (Pair, '[{"objId":1}]'), (Strict, '{"objId":1,"b":2}'),
        (Tree, '{"nodeName":"a","childNodes":[{"nodeName":1}]}'), (Model, "{}"), (Model, "5"), (Model, '{"objId":"x"}'),
        (int | Item, '"a"'), (Any, "[" * 5_000 + "]" * 5_000),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_the_name_of_its_parameter(annotation: Any, json: str) -> None:
    with pytest.raises(BindingError, match=r"^given: "):
        read(annotation, json)


READERS = [
    Parameter("given", one)
    for one in (int, set[Any], Item | None, Options, Circle | Square, Pair, Tree, Model, dict[int, Item], Box[Item])
]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["circle", "square"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "objId", "ObjId", "nodeName", "childNodes", "theContent", "x", "1"]), inner
            )
        ),
    )
)
def test_whatever_comes_is_bound_or_a_binding_error(value: Any) -> None:
    for parameter in READERS:
        try:
            parameter.read(msgspec.Raw(msgspec.json.encode(value)))
        except BindingError:
            pass


# Signatures -------------------------------------------------------------------------------------


def bind(function: Callable[..., Any], *json: str) -> list[Any]:
    return Signature(function).bind([msgspec.Raw(one.encode()) for one in json])


def test_arguments_come_by_position() -> None:
    def method(self: Any, a: int, b: Item, c="x", *, d: int = 1, **more: Any) -> None: ...  # type: ignore[no-untyped-def]

    signature = Signature(method)
    assert [signature.takes(count) for count in range(5)] == [False, False, True, True, False]
    assert bind(method, "1", '{"objId":1,"objVal":"a"}') == [1, ITEM]
    assert bind(method, "1", '{"objId":1}', "[null]") == [1, Item(1), [None]]
    assert str(signature) == "(a:int, b:Item, c:Any):None"


def test_the_rest_has_the_type_of_star_args() -> None:
    def method(self: Any, a: str, *rest: Item) -> list[int]: ...

    signature = Signature(method)
    assert [signature.takes(count) for count in (0, 1, 2, 60)] == [False, True, True, True]
    assert bind(method, '"x"', '{"objId":1}', '{"ObjId":2}') == ["x", Item(1), Item(2)]
    assert str(signature) == "(a:str):list[int]"
    with pytest.raises(BindingError, match=r"^rest: "):
        bind(method, '"x"', "5")


def test_progress_is_no_argument_of_the_client() -> None:
    def last(self: Any, n: int, progress: Progress[int]) -> str: ...
    def named(self: Any, *all: int, progress: Progress) -> str: ...  # type: ignore[type-arg]
    def middle(self: Any, n: int, progress: Progress[int], more: int = 1) -> str: ...

    for function, name in ((last, "progress"), (named, "progress"), (middle, "progress")):
        assert Signature(function).progress == name
    assert Signature(last).takes(1) and not Signature(last).takes(2)
    assert str(Signature(last)) == "(n:int):str"
    assert bind(named, "1", "2") == [1, 2]


def test_who_binds_to_the_wrong_type_learns_which_parameter_it_was() -> None:
    def method(self: Any, first: int, second: Item) -> None: ...

    with pytest.raises(BindingError, match=r"^second: Expected `int`, got `str` - at `\$\.obj_id`"):
        bind(method, "1", '{"objId":"1"}')


# What cannot be mounted -------------------------------------------------------------------------


class Plain:
    pass


def lock(self: Any, a: int, b: threading.Thread) -> None: ...
def plain(self: Any, a: list[Plain]) -> None: ...
def function(self: Any, a: Callable[[int], int]) -> None: ...
def two_classes(self: Any, a: Item | Tree) -> None: ...
def key(self: Any, a: dict[tuple[int, ...], int] | set[int] | list[int]) -> None: ...
def star(self: Any, *a: Plain) -> None: ...
def unknown(self: Any, a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def attribute(self: Any, a: threading.Missing) -> None: ...  # type: ignore[name-defined]
def syntax(self: Any, a: "list[") -> None: ...  # type: ignore[valid-type, name-defined]  # noqa: F722
def value(self: Any, a: list[int, 5, 6]) -> None: ...  # type: ignore[type-arg]
def keyword(self: Any, *, a: int) -> None: ...
def after_progress(self: Any, progress: Progress[int], a: int) -> None: ...
def progress_in_the_way(self: Any, progress: Progress[int], *a: int) -> None: ...
def progress_by_position(self: Any, progress: Progress[int], /) -> None: ...


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        (lock, "parameter b cannot be read from JSON: nothing can make a Thread of it"),
        (plain, "parameter a cannot be read from JSON: nothing can make a Plain of it"),
        (function, "parameter a cannot be read from JSON"),
        (two_classes, "parameter a cannot be read from JSON"),
        (key, "parameter a cannot be read from JSON"),
        (star, "parameter a cannot be read from JSON"),
        (unknown, "name 'Missing' is not defined"),
        (attribute, "no attribute 'Missing'"),
        (syntax, "the types of its parameters cannot be found"),
        (value, "parameter a cannot be read from JSON|the types of its parameters cannot be found"),
        (keyword, r"parameter a: arguments come by position, so it must stand before \* and Progress"),
        (after_progress, "parameter a: arguments come by position"),
        (progress_in_the_way, r"parameter progress: Progress must stand behind \*a"),
        (progress_by_position, "parameter progress: Progress must not stand before /"),
    ],
)
def test_a_parameter_that_cannot_be_read_fails_at_once(method: Callable[..., Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Signature(method)


def test_a_stream_has_its_place_but_is_no_argument() -> None:
    def total(self: Any, first: AsyncIterator[int], a: int, b: int = 7, *, rest: int = 0) -> int: ...
    def behind(self: Any, a: int = 1, more: AsyncIterable[Item] = ..., *rest: str) -> int: ...  # type: ignore[assignment]

    signature = Signature(total)
    assert (signature.least, signature.most, len(signature.uploads)) == (1, 2, 1)
    stream = object()
    assert signature.bind([msgspec.Raw(b"5")], uploads=[stream]) == [stream, 5, 7]
    assert Signature(behind).bind([], uploads=[stream]) == [1, stream]
    assert Signature(behind).bind([msgspec.Raw(b"2"), msgspec.Raw(b'"x"')], uploads=[stream]) == [2, stream, "x"]
    (_, parameter) = Signature(behind).uploads[0]
    assert parameter.reader("json")(msgspec.Raw(b'{"objId":1,"objVal":"a"}')) == Item(1, "a")


def test_a_stream_within_something_cannot_come() -> None:
    def total(self: Any, numbers: list[AsyncIterator[int]]) -> int: ...

    with pytest.raises(ConfigurationError, match="nothing can make a"):
        Signature(total)
