"""Depth and lone surrogates, as a slow reader sees them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from persistconn.hubs.json_text import is_too_deep, without_lone_surrogates

VALUES = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\\n a\u20ac'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\ '), inner, max_size=3),
    max_leaves=12,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(VALUES, st.integers(0, 6), st.booleans())
def test_depth_is_what_a_walk_counts(value: Any, most: int, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii).encode()
    assert is_too_deep(text, most) == (depth_of(value) > most)


@given(st.text(st.characters() | st.sampled_from("\ud83d\ude00\udfff\\u")))
def test_half_a_character_becomes_the_replacement_character(text: str) -> None:
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert json.loads(without_lone_surrogates(json.dumps(text))) == whole
    assert json.loads(without_lone_surrogates(json.dumps(text).encode())) == whole
