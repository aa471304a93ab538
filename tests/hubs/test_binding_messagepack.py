"""Arguments in MessagePack become what a method takes, whoever spelt them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from persistconn.hubs.binding import BindingError, Parameter, Signature

MOMENT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


class Color(enum.Enum):
    DARK_RED = 1


class Tone(enum.Enum):
    green = "g"


@dataclass
class Item:
    obj_id: int
    color: Color = Color.DARK_RED
    when: datetime | None = None
    data: bytes = b""
    parts: dict[int, list[Item]] | None = None


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def bound(annotation: Any, value: Any) -> Any:
    return Parameter("it", annotation).read_messagepack(raw(value))


@pytest.mark.parametrize(
    ("annotation", "sent", "taken"),
    [
        (int, 5, 5),
        (float, 42, 42.0),
        (bytes, b"ab", b"ab"),
        (datetime, MOMENT, MOMENT),
        (datetime, "2024-01-02T03:04:05Z", MOMENT),
        (UUID, str(UUID(int=7)), UUID(int=7)),
        (Decimal, "1.50", Decimal("1.50")),
        (Any, [1, {2: b"x"}], [1, {2: b"x"}]),
        (Color, 1, Color.DARK_RED),
        (Tone, "g", Tone.green),
        (Tone, "Green", Tone.green),
        (Color, "DarkRed", Color.DARK_RED),
        (list[Color], ["DARK_RED", 1], [Color.DARK_RED] * 2),
        (Item, {"obj_id": 1}, Item(1)),
        (Item, {"objId": 1, "data": b"ab"}, Item(1, data=b"ab")),
        (Item, {"ObjId": 1, "Color": "DarkRed", "When": MOMENT}, Item(1, Color.DARK_RED, MOMENT)),
        (Item, {"ObjId": 1, "Parts": {7: [{"ObjId": 2}]}}, Item(1, parts={7: [Item(2)]})),
    ],
)
def test_values(annotation: Any, sent: Any, taken: Any) -> None:
    assert bound(annotation, sent) == taken


def test_a_moment_with_the_offset_of_its_clock_as_dotnet_writes_it() -> None:
    expected = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(minutes=-90)))
    assert bound(datetime, [MOMENT, -90]) == expected
    assert bound(Item, {"ObjId": 1, "When": [MOMENT, -90]}).when == expected
    assert bound(list[int] | datetime, [1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("annotation", "sent"),
    [
        (int, "5"),
        (int, 5.0),
        (bytes, "YWI="),
        (str, b"ab"),
        (Color, "blue"),
        (Tone, "blue"),
        (Color, [1]),
        (datetime, [MOMENT, 24 * 60]),
        (datetime, [MOMENT]),
        (Item, {}),
        (Item, {"obj_id": "1"}),
        (Item, {"ObjId": 1, "Data": "YWI="}),
        (Item, {"ObjId": 1, 5: 6}),
    ],
)
def test_what_does_not_fit_names_the_parameter(annotation: Any, sent: Any) -> None:
    with pytest.raises(BindingError, match=r"^it: "):
        bound(annotation, sent)


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\xa2\xff\xff", b"\xd4\xff\x00", b"\x91" * 30_000])
def test_garbage_does_not_fit_either(garbage: bytes) -> None:
    for annotation in (str, Any, Item):
        with pytest.raises(BindingError, match=r"^it: "):
            Parameter("it", annotation).read_messagepack(msgspec.Raw(garbage))


def test_all_arguments_of_a_call() -> None:
    def method(self: object, a: float, *rest: Item) -> None: ...

    signature = Signature(method)
    arguments = [raw(1), raw({"ObjId": 1}), raw({"objId": 2})]
    assert signature.bind(arguments, "messagepack") == [1.0, Item(1), Item(2)]
    json = [msgspec.Raw(msgspec.json.encode(one)) for one in (1, {"ObjId": 1}, {"objId": 2})]
    assert signature.bind(json) == signature.bind(json, "json") == [1.0, Item(1), Item(2)]

    def plain(self: object, a: int) -> None: ...

    assert Signature(plain).bind([raw(1)], "messagepack") == [1]


def test_keys_that_are_numbers_survive_renaming_in_json() -> None:
    json = msgspec.Raw(b'{"objId":1,"parts":{"7":[{"objId":2}]}}')
    assert Parameter("it", Item).read(json) == Item(1, parts={7: [Item(2)]})
