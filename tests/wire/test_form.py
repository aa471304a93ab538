"""Forms are read as the standard library reads them, at a fraction of the price, and never half right."""

from __future__ import annotations

from urllib.parse import quote_plus, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import RemoteProtocolError
from persistconn.wire.form import read_form

TEXT = st.text("a=%+ 7fF\r\n_\u00e9", max_size=6) | st.text(max_size=4)


@given(st.lists(st.tuples(st.just("data") | TEXT, TEXT | TEXT.map(quote_plus)).map("=".join)).map("&".join))
def test_a_form_is_what_the_standard_library_reads(form: str) -> None:
    pairs = [field.partition("=") for field in form.split("&")]
    try:
        values = [(unquote_plus(name, errors="strict"), unquote_plus(text, errors="strict")) for name, _, text in pairs]
    except UnicodeDecodeError:
        with pytest.raises(RemoteProtocolError):
            read_form(form.encode())
    else:
        assert read_form(form.encode()) == dict(reversed(values))


@pytest.mark.parametrize(
    "body", [b"data=\xc3%A9", b"data=%C3\xa9", b"data=ok&x=\xc3%A9", b"data=ok&data=%C3", b"%C3=x"]
)
def test_a_broken_character_is_refused_wherever_it_is(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="The form in the body is not valid UTF-8"):
        read_form(body)
