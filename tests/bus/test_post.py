"""Payloads are encoded once, as ASCII; posts know their size."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.bus.post import POST_OVERHEAD, Payload
from persistconn.bus.topics import Topics

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(json_values)
def test_whatever_is_sent_is_ascii_and_reads_back(value: object) -> None:
    payload = Payload(value)
    assert payload.json.isascii()
    assert json.loads(payload.json) == value


def test_text_beyond_the_basic_plane_becomes_a_surrogate_pair() -> None:
    assert Payload("😀é").json == b'"\\ud83d\\ude00\\u00e9"'


def test_a_dataclass_is_an_object() -> None:
    @dataclass
    class Item:
        obj_id: int

    assert Payload(Item(1)).json == b'{"obj_id":1}'


def test_what_has_no_json_form_fails_where_it_is_made() -> None:
    with pytest.raises(TypeError, match="object"):
        Payload(object())


def test_ready_json_is_embedded_as_it_is() -> None:
    payload = Payload.of_json(b'{"a":  1}')
    assert payload.json == b'{"a":  1}'
    assert Payload([payload.value]).json == b'[{"a":  1}]'


def test_ready_json_becomes_ascii() -> None:
    assert Payload.of_json('"é😀"'.encode()).json == b'"\\u00e9\\ud83d\\ude00"'
    with pytest.raises(UnicodeDecodeError):
        Payload.of_json(b'"\xff"')


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("5 €", "5 €".encode()),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ({"price": "5 €"}, b'{"price":"5 \\u20ac"}'),
        (None, b"null"),
    ],
)
def test_raw_is_what_was_sent_and_json_of_anything_else(value: object, raw: bytes) -> None:
    assert Payload(value).form("raw") == raw


def test_each_form_is_made_once_and_where_there_is_none_to_make_it_is_the_json() -> None:
    made: list[object] = []

    def make(value: object) -> bytes:
        made.append(value)
        return b"x"

    payload = Payload.of_forms((1,), {"first": make, "second": lambda value: b"y"}, b"[1]")
    assert payload.form("first") is payload.form("first")
    assert [payload.form(name) for name in ("first", "second", "third", "raw")] == [b"x", b"y", b"[1]", b"[1]"]
    assert (payload.json, made) == (b"[1]", [(1,)])


def test_a_frame_that_is_ready_is_every_form_of_itself() -> None:
    frame = Payload.of_frame(b"\x02\x91\x06", numbered=False)
    assert [frame.form("messagepack"), frame.form("raw"), frame.json] == [b"\x02\x91\x06"] * 3
    assert (frame.numbered, Payload.of_frame(b"{}").numbered) == (False, True)


def test_a_post_counts_its_overhead() -> None:
    topics = Topics()
    topics.subscribe(topics.reader("ann"), "t")
    post = topics.publish("t", Payload("abc"), 0.0)
    assert post is not None and post.size == len(b'"abc"') + POST_OVERHEAD
    assert (repr(post), repr(Payload("abc"))) == ("<Post 1>", "Payload('abc')")
