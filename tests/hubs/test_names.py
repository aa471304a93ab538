"""What hubs and methods are called: in Python, on the wire, in JavaScript."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.hubs.names import camel_case, spellings


@pytest.mark.parametrize(
    ("python", "javascript"),
    [
        ("void_function_with_params", "voidFunctionWithParams"),
        ("ask", "ask"),
        ("MyHub", "myHub"),
        ("HTTPHub", "hTTPHub"),  # as the genuine server does: only the first letter
        ("list_", "list"),
        ("a__b", "aB"),
        ("get_2nd", "get2nd"),
        ("größe_ändern", "größeÄndern"),
        ("_private_thing", "_private_thing"),
        ("_", "_"),
        ("", ""),
    ],
)
def test_a_name_in_javascript(python: str, javascript: str) -> None:
    assert camel_case(python) == javascript


def test_a_method_is_found_as_it_is_written_and_in_camel_case() -> None:
    assert spellings("Void_Function") == ("void_function", "voidfunction")
    assert spellings("Increment") == ("increment",)


@given(st.text(alphabet="abXY_1ä", max_size=12))
def test_every_spelling_is_a_key_of_a_look_up_that_ignores_case(name: str) -> None:
    keys = spellings(name)
    assert name.lower() in keys and camel_case(name).lower() in keys
    assert [key.lower() for key in keys] == list(keys) and len(set(keys)) == len(keys)


@given(st.text(alphabet="abXY_1ä", max_size=12))
def test_what_is_in_camel_case_stays_so(name: str) -> None:
    assert camel_case(camel_case(name)) == camel_case(name)
