"""MessagePack hub messages, byte for byte; lengths; how values are written."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw, UnsetType

from persistconn import RemoteProtocolError
from persistconn.hubs.aspnetcore_messagepack import MessagePackProtocol
from persistconn.hubs.messagepack_values import DOTNET, PYTHON, Conventions, pascal_case, write_messagepack
from persistconn.hubs.messages import Ack, Cancel, Close, Completion, Invocation, Message, Ping, Sequence, StreamItem
from tests.hubs.said import plain

MESSAGEPACK = MessagePackProtocol()
CALL = {"id": None, "stream_ids": (), "is_stream": False, "headers": None, "arguments": []}


def record_of(hex: str) -> bytes:
    (record,), rest = MESSAGEPACK.split(bytes.fromhex(hex), None)
    assert rest == b""
    return record


def read(*elements: Any) -> Message | None:
    return MESSAGEPACK.read(msgspec.msgpack.encode(elements))


def refused(*elements: Any) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        read(*elements)
    return str(caught.value)


# Byte for byte ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hex", "fields"),
    [
        ("0D 96 01 80 A1 37 A3 53 75 6D 92 03 04 90", {"id": "7", "target": "Sum", "arguments": [3, 4]}),
        ("0C 95 01 80 A1 37 A3 53 75 6D 92 03 04", {"id": "7", "target": "Sum", "arguments": [3, 4]}),
        ("0D 96 01 80 C0 A3 4C 6F 67 91 A2 68 69 90", {"target": "Log", "arguments": ["hi"]}),
        ("10 96 01 80 A1 38 A6 55 70 6C 6F 61 64 90 91 A1 39", {"id": "8", "target": "Upload", "stream_ids": ("9",)}),
        (
            "0E 96 04 80 A1 34 A5 43 6F 75 6E 74 91 02 90",
            {"id": "4", "target": "Count", "arguments": [2], "is_stream": True},
        ),
    ],
)
def test_calls(hex: str, fields: dict[str, Any]) -> None:
    assert plain(MESSAGEPACK.read(record_of(hex)), MESSAGEPACK) == {**CALL, **fields}


@pytest.mark.parametrize(
    ("hex", "message"),
    [
        ("0E 94 02 80 A1 39 CB 40 0C 00 00 00 00 00 00", StreamItem("9", Raw(b"\xcb\x40\x0c" + bytes(6)))),
        ("0B 95 03 80 A1 37 01 A4 62 6F 6F 6D", Completion("7", UNSET, "boom")),
        ("06 94 03 80 A1 37 02", Completion("7")),
        ("07 95 03 80 A1 37 03 C0", Completion("7", Raw(b"\xc0"))),
        ("07 95 03 80 A1 37 03 07", Completion("7", Raw(b"\x07"))),
        ("05 93 05 80 A1 34", Cancel("4")),
        ("02 91 06", Ping()),
        ("04 93 07 C0 C2", Close()),
        ("03 92 07 C0", Close()),
        ("07 93 07 A3 62 79 65 C3", Close("bye", True)),
        ("05 92 08 CD 01 2C", Ack(300)),
        ("03 92 09 05", Sequence(5)),
    ],
)
def test_other_messages(hex: str, message: Message) -> None:
    assert MESSAGEPACK.read(record_of(hex)) == message


@pytest.mark.parametrize(
    ("frame", "hex"),
    [
        (MESSAGEPACK.invocation("Sum", [3, 4], "7"), "0D 96 01 80 A1 37 A3 53 75 6D 92 03 04 90"),
        (MESSAGEPACK.invocation("Log", ("hi",)), "0D 96 01 80 C0 A3 4C 6F 67 91 A2 68 69 90"),
        (
            MESSAGEPACK.invocation("Upload", [], "8", stream_ids=["9"]),
            "10 96 01 80 A1 38 A6 55 70 6C 6F 61 64 90 91 A1 39",
        ),
        (MESSAGEPACK.invocation("Count", [2], "4", is_stream=True), "0E 96 04 80 A1 34 A5 43 6F 75 6E 74 91 02 90"),
        (MESSAGEPACK.stream_item("9", 3.5), "0E 94 02 80 A1 39 CB 40 0C 00 00 00 00 00 00"),
        (MESSAGEPACK.completion("7", error="boom"), "0B 95 03 80 A1 37 01 A4 62 6F 6F 6D"),
        (MESSAGEPACK.completion("7"), "06 94 03 80 A1 37 02"),
        (MESSAGEPACK.completion("7", result=None), "07 95 03 80 A1 37 03 C0"),
        (MESSAGEPACK.completion("7", result=7), "07 95 03 80 A1 37 03 07"),
        (MESSAGEPACK.cancel("4"), "05 93 05 80 A1 34"),
        (MESSAGEPACK.ping(), "02 91 06"),
        (MESSAGEPACK.close(), "04 93 07 C0 C2"),
        (MESSAGEPACK.close("bye", True), "07 93 07 A3 62 79 65 C3"),
        (MESSAGEPACK.ack(300), "05 92 08 CD 01 2C"),
        (MESSAGEPACK.sequence(5), "03 92 09 05"),
    ],
)
def test_what_is_written(frame: bytes, hex: str) -> None:
    assert frame == bytes.fromhex(hex)


# Lengths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "prefix"),
    [(0, "00"), (127, "7F"), (128, "80 01"), (300, "AC 02"), (16384, "80 80 01"), (2**21, "80 80 80 01")],
)
def test_lengths_take_one_to_four_bytes(length: int, prefix: str) -> None:
    start = bytes.fromhex(prefix)
    records, rest = MESSAGEPACK.split(start + bytes(length) + b"\x02", None)
    assert ([len(one) for one in records], rest) == ([length], b"\x02")
    for cut in range(1, len(start)):
        assert MESSAGEPACK.split(start[:cut], None) == ([], start[:cut])


@pytest.mark.parametrize("length", [3, 127, 128, 300, 16383, 16384, 2**21])
def test_a_written_length_is_as_short_as_it_can_be(length: int) -> None:
    frame = MESSAGEPACK.stream_item("1", bytes(length))
    (record,), rest = MESSAGEPACK.split(frame, len(frame))
    assert rest == b""
    assert len(frame) - len(record) == max(1, (len(record).bit_length() + 6) // 7)


def test_a_length_may_take_more_bytes_than_it_needs() -> None:
    assert MESSAGEPACK.split(bytes.fromhex("82 80 80 80 00 91 06"), 7) == ([b"\x91\x06"], b"")
    with pytest.raises(RemoteProtocolError, match="6B"):
        MESSAGEPACK.split(bytes.fromhex("82 80 80 80 00 91 06"), 6)


def test_a_length_of_five_bytes_goes_up_to_2_gb() -> None:
    most = bytes.fromhex("FF FF FF FF 07")
    assert MESSAGEPACK.split(most, None) == ([], most)
    for prefix in ("FF FF FF FF 08", "80 80 80 80 80", "80 80 80 80 80 01"):
        with pytest.raises(RemoteProtocolError, match="Messages over 2GB in size are not supported"):
            MESSAGEPACK.split(bytes.fromhex(prefix), None)


def test_an_incomplete_length_is_waited_for_after_whole_messages() -> None:
    assert MESSAGEPACK.split(bytes.fromhex("02 91 06 AC"), 100) == ([b"\x91\x06"], b"\xac")


# Reading ----------------------------------------------------------------------------------------


def test_more_elements_than_we_know_are_skipped() -> None:
    assert read(6, "new", {"a": 1}) == Ping()
    assert read(3, {}, "7", 2, "more") == Completion("7")
    assert plain(read(1, {}, "", "A", [], None, 5), MESSAGEPACK) == {**CALL, "target": "A"}


def test_headers_are_taken_as_they_are() -> None:
    message = read(1, {"traceparent": "00-1"}, None, "A", [])
    assert isinstance(message, Invocation)
    assert message.headers == {"traceparent": "00-1"}
    assert read(2, {"a": "b"}, "1", 5) == StreamItem("1", Raw(b"\x05"))


def test_what_does_not_fit_within_arguments_is_not_our_business() -> None:
    broken = b"\x96\x01\x80\xc0\xa1A\x92\xa2\xff\xff\x81\x90\xc7\x01\x2a\x00\x90"  # no UTF-8; a strange key and type
    message = MESSAGEPACK.read(broken)
    assert isinstance(message, Invocation)
    assert [bytes(one) for one in message.arguments] == [b"\xa2\xff\xff", b"\x81\x90\xc7\x01\x2a\x00"]


@pytest.mark.parametrize("elements", [(0,), (10, "x"), (-1,), (99, {}, None)])
def test_a_type_that_is_not_known_is_skipped(elements: tuple[Any, ...]) -> None:
    assert read(*elements) is None


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ((1, {}, None, "", []), "Null or empty target for Invocation message."),
        ((4, {}, "1", "", []), "Null or empty target for StreamInvocation message."),
        ((4, {}, None, "A", []), "Null or empty invocation ID for StreamInvocation message."),
        ((2, {}, "", 1), "Null or empty invocation ID for StreamItem message."),
        ((3, {}, "", 2), "Null or empty invocation ID for Completion message."),
        ((5, {}, ""), "Null or empty invocation ID for CancelInvocation message."),
        ((5, {"": "x"}, "1"), "Null or empty header."),
        ((5, {"x": ""}, "1"), "Null or empty header."),
        ((3, {}, "1", 0), "Invalid invocation result kind."),
        ((3, {}, "1", 4, 1), "Invalid invocation result kind."),
        ((3, {}, "1", 3), "Invalid invocation result kind."),
        ((3, {}, "1", 1, 5), "Reading 'error' as String failed."),
    ],
)
def test_what_is_wrong_is_named(elements: tuple[Any, ...], why: str) -> None:
    assert refused(*elements) == why


@pytest.mark.parametrize(
    "elements",
    [
        (),
        ("1",),
        (1.0,),
        (True,),
        (None,),
        (1, [], None, "A", []),
        (1, None, None, "A", []),
        (1, {}, 7, "A", []),
        (1, {}, None, None, []),
        (1, {}, None, "A", {}),
        (1, {}, None, "A"),
        (1, {"a": 1}, None, "A", []),
        (1, {}, None, "A", [], [1]),
        (2, {}, None, 1),
        (2, {}, "1"),
        (3, {}, "1"),
        (3, {}, "1", "2"),
        (7,),
        (7, None, 1),
        (8,),
        (8, None),
        (8, 2**63),
        (9, "1"),
    ],
)
def test_what_cannot_be_read(elements: tuple[Any, ...]) -> None:
    assert refused(*elements).startswith("Error reading MessagePack: ")


@pytest.mark.parametrize("record", [b"", b"\x80", b"\xc1", b"\x91\xc1", b"\x91\x06\x00", b"\x96\x01", b"\x91" * 30_000])
def test_what_is_no_array(record: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="Error reading MessagePack"):
        MESSAGEPACK.read(record)


# Values -----------------------------------------------------------------------------------------


class Color(enum.Enum):
    DARK_RED = 1


@dataclass
class Item:
    obj_id: int
    color: Color
    when: datetime | None = None


class Point(msgspec.Struct, tag="point", tag_field="kind"):
    start_x: int
    extra: int | UnsetType = UNSET
    named: int = msgspec.field(default=0, name="n")


class Pair(msgspec.Struct, array_like=True):
    left: Color
    right: int


class Shape(msgspec.Struct, array_like=True, tag=7):
    color: Color


class Attrs:
    """As of attrs."""

    __attrs_attrs__ = (type("Attribute", (), {"name": "obj_id"}),)
    obj_id = 5


class Model:
    """As of pydantic."""

    model_fields = {
        "obj_id": type("Field", (), {"alias": None}),
        "other": type("Field", (), {"alias": "Renamed_It"}),
    }
    obj_id = 5
    other = Color.DARK_RED
    when = datetime(2024, 1, 2)

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        assert (mode, by_alias) == ("python", True)
        return {"obj_id": self.obj_id, "Renamed_It": self.other, "when": self.when}


def written(value: Any, conventions: Conventions = PYTHON) -> Any:
    return msgspec.msgpack.decode(write_messagepack(value, conventions))


def test_values() -> None:
    assert write_messagepack(datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)) == bytes.fromhex("D6 FF 65 93 7D 25")
    assert written([UUID(int=0), Decimal("1.50"), b"ab", date(2024, 1, 2), 42, 42.0, None]) == [
        "00000000-0000-0000-0000-000000000000",
        "1.50",
        b"ab",
        "2024-01-02",
        42,
        42.0,
        None,
    ]


def test_a_naive_moment_is_in_utc_wherever_it_stands() -> None:
    naive, aware = datetime(2024, 1, 2, 3, 4, 5), datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    value = [
        naive,
        {"a": (naive,)},
        Item(1, Color.DARK_RED, naive),
        {naive.date()},
        "2024-01-02T03:04:05",
        Raw(b"\x05"),
    ]
    assert written(value) == [
        aware,
        {"a": [aware]},
        {"obj_id": 1, "color": 1, "when": aware},
        ["2024-01-02"],
        "2024-01-02T03:04:05",
        5,
    ]
    assert written(Model()) == {"obj_id": 5, "Renamed_It": 1, "when": datetime(2024, 1, 2, tzinfo=UTC)}
    assert written([naive, Model()])[1]["when"] == datetime(2024, 1, 2, tzinfo=UTC)


def test_names_for_dotnet() -> None:
    value = [
        Item(1, Color.DARK_RED),
        Point(2),
        Pair(Color.DARK_RED, 3),
        Shape(Color.DARK_RED),
        Attrs(),
        Model(),
        {"a_b": 1},
    ]
    assert written(value, DOTNET) == [
        {"ObjId": 1, "Color": "DarkRed", "When": None},
        {"kind": "point", "StartX": 2, "n": 0},
        ["DarkRed", 3],
        [7, "DarkRed"],
        {"ObjId": 5},
        {"ObjId": 5, "Renamed_It": "DarkRed"},
        {"a_b": 1},
    ]


def test_conventions_are_a_setting_of_the_protocol() -> None:
    item = Item(1, Color.DARK_RED)
    names = [
        plain(protocol.read(protocol.split(protocol.completion("1", result=item), None)[0][0]), protocol)["result"]
        for protocol in (MessagePackProtocol(), MessagePackProtocol(DOTNET), MessagePackProtocol(Conventions()))
    ]
    assert names == [
        {"obj_id": 1, "color": 1, "when": None},
        {"ObjId": 1, "Color": "DarkRed", "When": None},
        {"obj_id": 1, "color": 1, "when": None},
    ]
    assert written(item, Conventions(enum_names=True)) == {"obj_id": 1, "color": "DarkRed", "when": None}


@given(st.text("aB_9"))
def test_pascal_case_has_no_underscores(name: str) -> None:
    assert "_" not in pascal_case(name)


@pytest.mark.parametrize("value", [object(), 2**64, -(2**63) - 1, "\ud83d", [object], {"a": {None: object()}}])
@pytest.mark.parametrize("conventions", [PYTHON, DOTNET])
def test_what_has_no_form_is_a_type_error(value: Any, conventions: Conventions) -> None:
    with pytest.raises(TypeError, match="has no form in MessagePack"):
        MessagePackProtocol(conventions).invocation("A", [value])


def test_what_contains_itself_is_a_type_error() -> None:
    value: list[Any] = []
    value.append(value)
    for conventions in (PYTHON, DOTNET):
        with pytest.raises(TypeError, match="has no form in MessagePack"):
            write_messagepack(value, conventions)
