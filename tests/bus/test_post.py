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


def test_ready_json_may_bring_its_value_for_other_formats() -> None:
    payload = Payload.of_json(b"[1]", (1,))
    assert payload.encoded("repr", lambda value: repr(value).encode()) == b"(1,)"


def test_another_format_is_made_once() -> None:
    made: list[object] = []

    def encode(value: object) -> bytes:
        made.append(value)
        return b"x"

    payload = Payload([1])
    assert payload.encoded("other", encode) == payload.encoded("other", encode) == b"x"
    assert payload.encoded("third", lambda value: b"y") == b"y"
    assert made == [[1]]


def test_a_post_counts_its_overhead() -> None:
    topics = Topics()
    topics.subscribe(topics.reader("ann"), "t")
    post = topics.publish("t", Payload("abc"), 0.0)
    assert post is not None and post.size == len(b'"abc"') + POST_OVERHEAD
    assert (repr(post), repr(Payload("abc"))) == ("<Post 1>", "Payload('abc')")
