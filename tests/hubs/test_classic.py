"""The wire of hubs: calls and the names of hubs come in, results, progress and calls of clients go out."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn import RemoteProtocolError
from persistconn.hubs.calls import ClientCall, Failure, Outcome, ProgressReport, encode
from persistconn.hubs.classic import (
    DEPTH,
    is_too_deep,
    read_call,
    read_hub_names,
    write_client_call,
    write_outcome,
    write_progress,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

# What a client says -----------------------------------------------------------------------------


def heard(text: str | bytes) -> tuple[Any, ...]:
    call = read_call(text)
    state = None if call.state is None else json.loads(call.state)
    return call.hub, call.method, [json.loads(bytes(one)) for one in call.arguments], call.id, state


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('{"H":"accept","M":"Add","A":[1,2],"I":0}', ("accept", "Add", [1, 2], "0", None)),
        ('{"H": "ACCEPT", "M": "aDD", "A": [1, 2], "I": 1}', ("ACCEPT", "aDD", [1, 2], "1", None)),
        ('{"H":"accept","M":"ReturnVoid","A":[],"I":"7"}', ("accept", "ReturnVoid", [], "7", None)),  # .NET
        ('{"H":"accept","M":"Echo","A":[null],"I":3}', ("accept", "Echo", [None], "3", None)),
        ('{"H":"a","M":"b","A":["poke",[1,{"a":null}]],"I":8}', ("a", "b", ["poke", [1, {"a": None}]], "8", None)),
        ('{"H":"a","M":"b","A":[],"I":10,"S":{"counter":41}}', ("a", "b", [], "10", {"counter": 41})),
        ('{"H":"a","M":"b"}', ("a", "b", [], None, None)),
        ('{"H":"a","M":"b","A":null,"I":null,"S":null}', ("a", "b", [], None, None)),
        ('{"H":"a","M":"b","I":"","S": null }', ("a", "b", [], "", None)),
        ('{"H":"a","M":"b","I":1.5}', ("a", "b", [], "1.5", None)),
        ('{"H":"a","M":"b","I":-9223372036854775808}', ("a", "b", [], "-9223372036854775808", None)),
        ('{"M":"b","x":{"y":[]},"H":"a","H":"c"}', ("c", "b", [], None, None)),  # the last one counts
        (b'{"H":"\xc3\xa4","M":"b"}', ("ä", "b", [], None, None)),
        ('{"H":"","M":""}', ("", "", [], None, None)),
    ],
)
def test_a_call_is_read(said: str | bytes, meant: tuple[Any, ...]) -> None:
    assert heard(said) == meant


@pytest.mark.parametrize(
    "said",
    [
        "", "{}", "null", "[]", "5", "not json", '"text"', '{"H":"a"}', '{"M":"b"}', '{"H":null,"M":"b"}',
        '{"h":"a","m":"b"}', '{"H":"a","M":5}', '{"H":"a","M":"b","A":{}}', '{"H":"a","M":"b","A":"x"}',
        '{"H":"a","M":"b","I":true}', '{"H":"a","M":"b","I":{}}', '{"H":"a","M":"b","I":[1]}',
        '{"H":"a","M":"b","A":[NaN]}', '{"H":"a","M":"b","A":[01]}', '{"H":"a","M":"b","A":[1,]}',
        '{"H":"a","M":"b","I":1e999}', '{"H":"a","M":"b","I":' + "1" * 5_000 + "}",
        '{"H":"a","M":"b"} {"H":"a","M":"b"}', '{"H":"a","M":"b","A":["\\x"]}', '{"H":"a","M":"b","A":["\x01"]}',
        '{"H":"a","M":"b","A":["\\ud8zz"]}',
        "[" * 60_000, '{"H":"a","M":"b","A":' + "[" * 30_000 + "]" * 30_000 + "}",
        '{"H":"a","M":"b","S":' + '{"a":' * 9_000 + "1" + "}" * 9_001,
        b"\xff\xfe", b'{"H":"a","M":"b","A":["\xff"]}', b'{"H":"a","M":"b","S":{"k":"\xed\xa0\x80"}}',
        '{"H":"\ud800","M":"b"}',
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused_as_the_genuine_server_does(said: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="This is no call of a hub's method") as caught:
        read_call(said)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (r"\ud83d", "�"),
        (r"\uDE00 \ud83d\ude00", "� 😀"),
        (r"\ud83d\ud83d\ude00", "�😀"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\�"),
        (r"\u00e4\uD83D\uDE00", "ä😀"),
    ],
)
def test_half_a_pair_stands_for_no_character_wherever_it_is(text: str, meant: str) -> None:
    said = f'{{"H":"{text}","M":"{text}","A":["{text}",{{"{text}":1}}],"I":"{text}","S":{{"k":"{text}"}}}}'
    assert heard(said) == (meant, meant, [meant, {meant: 1}], meant, {"k": meant})


@given(st.text(), st.text(), st.lists(JSON, max_size=3), st.none() | st.text() | st.integers(0, 2**53), JSON)
def test_whatever_a_client_says_is_what_we_hear(
    hub: str, method: str, arguments: list[Any], id: Any, state: Any
) -> None:
    said = json.dumps({"H": hub, "M": method, "A": arguments, "I": id, "S": state})
    assert heard(said) == (hub, method, arguments, id if id is None else str(id), state)


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_garbage_is_refused_and_nothing_else_happens(said: str | bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        read_call(said)
    with contextlib.suppress(RemoteProtocolError):
        read_hub_names(said if isinstance(said, str) else said.decode("latin-1"))


@given(st.data())
def test_a_call_that_breaks_off_is_refused(data: st.DataObject) -> None:
    said = '{"H":"chat","M":"say","A":[{"a":"b\\n"},2.5e3,null],"I":0,"S":{"x":[true]}}'
    with pytest.raises(RemoteProtocolError):
        read_call(said[: data.draw(st.integers(0, len(said) - 1))])


# The hubs that it names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (None, ()), ("", ()), ("[]", ()), ("null", ()),
        ('[{"name":"chathub"}]', ("chathub",)),
        ('[{"Name":"ChatHub"},{"NAME":"b","more":[1]}]', ("ChatHub", "b")),
        ('[{"name":5,"Name":"a"}]', ("a",)),
        ('[{"name":"ä"}]', ("ä",)),
    ],
)  # fmt: skip
def test_the_hubs_that_a_client_names(said: str | None, names: tuple[str, ...]) -> None:
    assert read_hub_names(said) == names


@pytest.mark.parametrize(
    "said",
    [
        "x", "{}", "5", '"chat"', "[null]", '["chat"]', "[{}]", '[{"name":null}]', '[{"name":5}]', '[{"names":"a"}]',
        "[" * 60_000, '[{"name":"\ud800"}]', '[{"name":"\\ud800"}]', "[{name:chat}]",
    ],
)  # fmt: skip
def test_anything_else_is_refused(said: str) -> None:
    with pytest.raises(RemoteProtocolError, match="connectionData must be a list") as caught:
        read_hub_names(said)
    assert caught.value.status == 500


# What we say ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome("0", 3), '{"R":3,"I":"0"}'),
        (Outcome("2"), '{"I":"2"}'),
        (Outcome("3", None, {}), '{"I":"3"}'),
        (Outcome("4", False), '{"R":false,"I":"4"}'),
        (Outcome("5", 0, {"a": None}), '{"S":{"a":null},"R":0,"I":"5"}'),
        (Outcome("10", 42, {"counter": 42}), '{"S":{"counter":42},"R":42,"I":"10"}'),
        (Outcome("1", failure=Failure("msg", True, {"k": 1})), '{"I":"1","H":true,"E":"msg","D":{"k":1}}'),
        (Outcome("1", failure=Failure("msg", True)), '{"I":"1","H":true,"E":"msg"}'),
        (Outcome("2", 5, failure=Failure("bad", data="secret")), '{"I":"2","E":"bad"}'),
        (Outcome("", "ä"), '{"R":"ä","I":""}'),
        (Outcome("6", float("nan")), '{"R":null,"I":"6"}'),
    ],
)
def test_the_answer_to_a_call(outcome: Outcome, said: str) -> None:
    assert write_outcome(outcome).decode() == said


def test_progress_and_calls_of_clients() -> None:
    assert write_progress(ProgressReport("9", 1)) == b'{"I":"P|9","P":{"I":"9","D":1}}'
    assert write_progress(ProgressReport("9", None)) == b'{"I":"P|9","P":{"I":"9","D":null}}'
    assert write_client_call(ClientCall("accept", "poke", (1, {"a": None}))) == (
        b'{"H":"accept","M":"poke","A":[1,{"a":null}]}'
    )
    assert write_client_call(ClientCall("ChatHub", "notify", (), {"unread": 3})) == (
        b'{"H":"ChatHub","M":"notify","A":[],"S":{"unread":3}}'
    )
    assert write_client_call(ClientCall("ChatHub", "notify", (), {})) == b'{"H":"ChatHub","M":"notify","A":[]}'


@pytest.mark.parametrize("result", [object(), {1, object()}, lambda: None, Outcome, 1j])
def test_what_has_no_json_form_is_a_type_error(result: Any) -> None:
    with pytest.raises(TypeError):
        write_outcome(Outcome("1", result))
    with pytest.raises(TypeError):
        encode(result)


class Model(pydantic.BaseModel):
    obj_id: int = pydantic.Field(alias="objId")
    when: datetime


def test_models_of_pydantic_have_a_json_form() -> None:
    model = Model(objId=1, when=datetime(2026, 11, 26, tzinfo=UTC))
    assert write_outcome(Outcome("1", [model])) == b'{"R":[{"objId":1,"when":"2026-11-26T00:00:00Z"}],"I":"1"}'
    with pytest.raises(TypeError):
        encode(Model)


@given(st.text(), JSON, st.dictionaries(st.text(), JSON, max_size=3))
def test_an_answer_says_what_was_meant(id: str, result: Any, state: dict[str, Any]) -> None:
    said = json.loads(write_outcome(Outcome(id, result, state)))
    assert said["I"] == id and said.get("R") == result and said.get("S", {}) == state
    assert ("R" in said) is (result is not None)


# Depth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "too_deep"), [(0, False), (DEPTH, False), (DEPTH + 1, True), (5_000, True)])
def test_depth_is_counted_up_to_the_limit(depth: int, too_deep: bool) -> None:
    assert is_too_deep(b"[" * depth + b"1" + b"]" * depth) is too_deep
    assert is_too_deep(b'{"a":' * depth + b"1" + b"}" * depth) is too_deep


def test_brackets_in_strings_and_side_by_side_are_not_depth() -> None:
    assert not is_too_deep(json.dumps(["[" * 99, '\\"[{', [[]] * 99, {"{" * 99: {}}]).encode())


@given(JSON)
def test_depth_is_that_of_the_value(value: Any) -> None:
    def depth(one: Any) -> int:
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    for _ in range(DEPTH - 2):
        value = [value]
    assert is_too_deep(json.dumps(value).encode()) is (depth(value) > DEPTH)
