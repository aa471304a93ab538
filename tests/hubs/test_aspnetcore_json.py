"""JSON hub messages: any order, nulls, what is missing, what is too much."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec import UNSET, Raw

from persistconn import RemoteProtocolError
from persistconn.hubs.aspnetcore_json import DEPTH, JsonProtocol, write_json
from persistconn.hubs.messages import (
    Ack,
    Cancel,
    Close,
    Completion,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamItem,
)
from tests.hubs.said import plain

JSON = JsonProtocol()


def read(text: str) -> Message | None:
    return JSON.read(text.encode())


def refused(text: str | bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        JSON.read(text.encode() if isinstance(text, str) else text)
    return str(caught.value)


# Reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":2,"invocationId":"3","item":20.5}', StreamItem("3", Raw(b"20.5"))),
        ('{"item":null,"invocationId":"3","type":2}', StreamItem("3", Raw(b"null"))),
        ('{"type":3,"invocationId":"0","result":42}', Completion("0", Raw(b"42"))),
        ('{"result":null,"type":3,"invocationId":"0"}', Completion("0", Raw(b"null"))),
        ('{"type":3,"invocationId":"0"}', Completion("0")),
        ('{"type":3,"invocationId":"0","error":"no"}', Completion("0", UNSET, "no")),
        ('{"type":3,"invocationId":"0","error":null,"result":[1]}', Completion("0", Raw(b"[1]"))),
        ('{"type":3,"invocationId":"0","error":"no","result":null}', Completion("0", UNSET, "no")),
        ('{"type":5,"invocationId":"1"}', Cancel("1")),
        ('{"type":6}', Ping()),
        ('{"type":7}', Close()),
        ('{"type":7,"error":null,"allowReconnect":null}', Close()),
        ('{"type":7,"error":"Bye.","allowReconnect":true}', Close("Bye.", True)),
        ('{"type":8,"sequenceId":17}', Ack(17)),
        ('{"type":9,"sequenceId":18}', Sequence(18)),
    ],
)
def test_messages(text: str, message: Message) -> None:
    assert read(text) == message


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"type":1,"target":"notify","arguments":["disk full",93]}', {"target": "notify"}),
        ('{"arguments":["disk full",93],"target":"notify","type":1}', {"target": "notify"}),
        ('{"arguments":["disk full",93],"invocationId":"0","target":"A","type":1}', {"target": "A", "id": "0"}),
        ('{"type":1,"invocationId":null,"target":"A","arguments":["disk full",93]}', {"target": "A"}),
        ('{"type":1,"invocationId":"","target":"A","arguments":["disk full",93]}', {"target": "A"}),
        ('{"type":1,"target":"A","arguments":["disk full",93],"streamIds":[],"headers":null}', {"target": "A"}),
        ('{"type":1,"target":"A","target":"B","arguments":["disk full",93]}', {"target": "B"}),
        ('{"type":1,"target":"A","arguments":["disk full",93],"x":{"y":[]}}', {"target": "A"}),
        (
            '{"type":1,"target":"A","arguments":["disk full",93],"streamIds":["2","3"],"headers":{"a":"b"}}',
            {"target": "A", "stream_ids": ("2", "3"), "headers": {"a": "b"}},
        ),
        (
            '{"type":4,"target":"A","arguments":["disk full",93],"invocationId":"1"}',
            {"target": "A", "id": "1", "is_stream": True},
        ),
    ],
)
def test_calls(text: str, fields: dict[str, Any]) -> None:
    default = {"id": None, "stream_ids": (), "is_stream": False, "headers": None, "arguments": ["disk full", 93]}
    assert plain(read(text), JSON) == {**default, **fields}


def test_arguments_stay_raw() -> None:
    message = read('{"arguments":[ {"a": 1.0} ,"\\u00e9"],"type":1,"target":"A"}')
    assert isinstance(message, Invocation)
    assert [bytes(one) for one in message.arguments] == [b'{"a": 1.0}', b'"\\u00e9"']


def test_half_a_character_is_replaced_as_browsers_do() -> None:
    message = read('{"type":1,"target":"A","arguments":["\\ud83d"]}')
    assert isinstance(message, Invocation)
    assert [bytes(one) for one in message.arguments] == [b'"\\ufffd"']


@pytest.mark.parametrize("text", ['{"type":10}', '{"type":-1}', '{"type":99,"target":5,"error":{}}'])
def test_a_type_that_is_not_known_is_skipped(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "Missing required property 'type'."),
        ('{"type":null}', "Missing required property 'type'."),
        ('{"type":1,"arguments":[]}', "Missing required property 'target'."),
        ('{"type":1,"target":"","arguments":[]}', "Missing required property 'target'."),
        ('{"type":1,"target":"A"}', "Missing required property 'arguments'."),
        ('{"type":1,"target":"A","arguments":null}', "Missing required property 'arguments'."),
        ('{"type":4,"target":"A","arguments":[]}', "Missing required property 'invocationId'."),
        ('{"type":2,"invocationId":"1"}', "Missing required property 'item'."),
        ('{"type":2,"item":1}', "Missing required property 'invocationId'."),
        ('{"type":3}', "Missing required property 'invocationId'."),
        ('{"type":3,"invocationId":""}', "Missing required property 'invocationId'."),
        ('{"type":5,"invocationId":null}', "Missing required property 'invocationId'."),
        ('{"type":8}', "Missing required property 'sequenceId'."),
        ('{"type":9,"sequenceId":null}', "Missing required property 'sequenceId'."),
        (
            '{"type":3,"invocationId":"1","error":"no","result":0}',
            "The 'error' and 'result' properties are mutually exclusive.",
        ),
    ],
)
def test_what_is_missing_or_too_much_is_named(text: str, why: str) -> None:
    assert refused(text) == why


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "6",
        "null",
        '{"type":"6"}',
        '{"type":true}',
        '{"type":6.5}',
        '{"type":6,}',
        '{"type":6}//',
        '{"type":6}{"type":6}',
        '\ufeff{"type":6}',
        '{"type":1,"target":5,"arguments":[]}',
        '{"type":1,"target":"A","arguments":{}}',
        '{"type":1,"target":"A","arguments":[],"headers":{"a":1}}',
        '{"type":1,"target":"A","arguments":[],"streamIds":[1]}',
        '{"type":8,"sequenceId":9223372036854775808}',
        '{"type":8,"sequenceId":"1"}',
        '{"type":%s}' % ("9" * 5000),
        b'{"type":1,"target":"\xff","arguments":[]}',
    ],
)
def test_what_cannot_be_read(text: str | bytes) -> None:
    assert refused(text).startswith("Error reading JSON: ")


def test_64_levels_are_enough() -> None:
    deepest = DEPTH - 2  # the object and the list of arguments are two
    fits = '{"type":1,"target":"A","arguments":[' + "[" * deepest + "]" * deepest + "]}"
    assert read(fits) is not None
    assert "nested deeper than 64" in refused(fits.replace("[]", "[[]]"))
    assert "nested deeper than 64" in refused('{"type":6,"more":' + "[" * 64 + "]" * 64 + "}")
    assert "nested too deep" in refused('{"type":6,"more":' + "[" * 30_000)


# Writing ----------------------------------------------------------------------------------------


def test_what_is_absent_leaves_no_trace() -> None:
    assert JSON.invocation("notify", ["disk full", None]) == (
        b'{"type":1,"target":"notify","arguments":["disk full",null]}\x1e'
    )
    assert JSON.completion("0") == b'{"type":3,"invocationId":"0"}\x1e'
    assert JSON.completion("0", result=None) == b'{"type":3,"invocationId":"0","result":null}\x1e'
    assert JSON.completion("0", result=1, error="no") == b'{"type":3,"invocationId":"0","error":"no"}\x1e'
    assert JSON.close() == b'{"type":7}\x1e'
    assert JSON.close("") == b'{"type":7,"error":""}\x1e'
    assert (JSON.ping(), JSON.ack(17)) == (b'{"type":6}\x1e', b'{"type":8,"sequenceId":17}\x1e')
    assert JSON.sequence(18) == b'{"type":9,"sequenceId":18}\x1e'


def test_calls_are_written_in_the_order_of_dotnet() -> None:
    assert JSON.invocation("A", (), "7") == b'{"type":1,"invocationId":"7","target":"A","arguments":[]}\x1e'
    assert JSON.invocation("A", (), "7", stream_ids=["8"], is_stream=True) == (
        b'{"type":4,"invocationId":"7","target":"A","arguments":[],"streamIds":["8"]}\x1e'
    )


class Color(enum.Enum):
    RED = 1


@dataclass
class Item:
    obj_id: int
    when: datetime
    color: Color
    data: bytes


class Model:
    """As of pydantic."""

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        return {"mode": mode, "by_alias": by_alias}


def test_values() -> None:
    item = Item(1, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), Color.RED, b"abc")
    assert (
        JSON.stream_item("1", [item, UUID(int=0), "é", Model()])
        == (
            '{"type":2,"invocationId":"1","item":[{"obj_id":1,"when":"2024-01-02T03:04:05Z","color":1,"data":"YWJj"},'
            '"00000000-0000-0000-0000-000000000000","é",{"mode":"json","by_alias":true}]}\x1e'
        ).encode()
    )


def test_ready_json_goes_out_as_it_is() -> None:
    assert JSON.completion("1", result=Raw(b'[null,  "x"]')).endswith(b'"result":[null,  "x"]}\x1e')
    assert write_json({"model": Model(), "nothing": None}).endswith(b'"nothing":null}')


@pytest.mark.parametrize(
    "value", [object(), [{"a": float("nan")}], {"a": [1, float("-inf")]}, "\ud83d", float("inf"), {1: {None: [object]}}]
)
def test_what_has_no_form_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="has no JSON form"):
        JSON.invocation("A", [value])


def test_what_contains_itself_is_a_type_error() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError, match="has no JSON form"):
        JSON.stream_item("1", value)


def test_of_two_faults_the_first_is_told() -> None:
    with pytest.raises(RemoteProtocolError, match="Expected `str"):
        JsonProtocol().read(b'{"type":1,"target":5,"arguments":}')
