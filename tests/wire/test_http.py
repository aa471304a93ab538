"""Requests are read as sent, and pieces know what they look like in bytes."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.wire.http import Chunk, End, Head, Headers, Message, Ping, Query, Request, split_target

# Headers and queries ----------------------------------------------------------------------------


def test_headers_are_found_in_any_case_and_repeated_ones_joined() -> None:
    headers = Headers(((b"Host", b"example.org"), (b"accept", b"a"), (b"ACCEPT", b"b"), (b"X-Name", b"Zo\xeb")))
    assert headers["hOST"] == "example.org"
    assert headers["Accept"] == "a, b"
    assert headers["x-name"] == "Zoë"
    assert headers.get("cookie") is None
    assert list(headers) == ["host", "accept", "x-name"]
    assert len(headers) == 3


def test_a_repr_tells_names_but_no_secrets() -> None:
    assert repr(Headers(((b"Cookie", b"secret"),))) == "<Headers cookie>"
    assert repr(Query("connectionToken=secret&x=1")) == "<Query connectionToken, x>"
    assert repr(Request("GET", "/echo", "connectionToken=secret")) == "<Request GET /echo>"


def test_a_query_gives_the_first_value_and_all() -> None:
    query = Query("a=1&b=x+y%20z&a=2&empty=&bare")
    assert query["a"] == "1"
    assert query.getlist("a") == ["1", "2"]
    assert query["b"] == "x y z"
    assert (query["empty"], query["bare"]) == ("", "")
    assert query.getlist("none") == []
    assert "none" not in query
    assert (list(query), len(query)) == (["a", "b", "empty", "bare"], 4)


def test_a_query_takes_what_clients_do_not_escape() -> None:
    assert Query('connectionData=[{"Name":"ChatHub"},{x:1}]')["connectionData"] == '[{"Name":"ChatHub"},{x:1}]'


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert Query("a=%FF")["a"] == "\ufffd"


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))))
def test_a_query_is_read_as_it_was_written(values: dict[str, str]) -> None:
    assert dict(Query(urlencode(values))) == values


@given(st.text())
def test_no_query_raises(text: str) -> None:
    Query(text)


# Requests ---------------------------------------------------------------------------------------


def test_headers_that_came_as_lines_are_the_same_as_pairs() -> None:
    lines = Headers(b"Host: example.org\r\naccept:a\r\nX-Accept: c\r\nACCEPT:\t b\r\nX-Name: Zo\xeb\r\nX-Empty:\r\n")
    pairs = Headers(lines.raw)
    assert lines.raw[:2] == ((b"host", b"example.org"), (b"accept", b"a"))
    assert lines == pairs
    assert dict(lines) == {"host": "example.org", "accept": "a, b", "x-accept": "c", "x-name": "Zoë", "x-empty": ""}
    for name in ("HOST", "accept", "Accep", "ccept", "example.org", "x-empty", "Zoë", "\u0142", ""):
        assert lines.get(name) == pairs.get(name) == dict(pairs).get(name.lower())
        assert (name in lines) is (name in pairs)


def test_what_is_known_of_headers_is_not_looked_for() -> None:
    headers = Headers(b"Host: example.org\r\n", {b"host": "example.org", b"origin": None})
    assert (headers["Host"], headers.get("Origin"), "origin" in headers, len(headers)) == (
        "example.org",
        None,
        False,
        1,
    )


NAMES = st.text("abAB%+=7 é", max_size=3)


@given(st.lists(st.tuples(NAMES, st.text("a%+=7fFé", max_size=5)).map("=".join) | NAMES).map("&".join))
def test_a_query_is_what_the_standard_library_reads(text: str) -> None:
    query = Query(text)
    pairs = parse_qsl(text, keep_blank_values=True, errors="replace")
    assert list(query) == list(dict(pairs))
    for name in [*dict(pairs), "none"]:
        assert query.getlist(name) == [value for key, value in pairs if key == name]
        assert query.find(name) == query.get(name) == dict(reversed(pairs)).get(name)


def test_the_query_of_a_request_is_read_once_unless_it_is_big() -> None:
    request = Request("GET", "/echo", "a=1", Headers(((b"Host", b"example.org"),)))
    assert request.headers["host"] == "example.org"
    assert request.query["a"] == "1"
    assert request.query is request.query
    for text in ("a=1&" * 16, "a=" + "1" * 1024):
        big = Request("GET", "/echo", text)
        assert big.query["a"].startswith("1")
        assert big.query is not big.query


@pytest.mark.parametrize(
    ("text", "value"),
    [("id=a&ID=b", "a"), ("ID=b&id=a", "a"), ("iD=%41&ID=b", "A"), ("id=&ID=b", ""), ("ids=a", None), ("", None)],
)
def test_a_parameter_may_be_looked_for_in_any_case(text: str, value: str | None) -> None:
    assert Query(text).find_in_any_case("id") == value


@pytest.mark.parametrize(
    ("authorization", "query", "token"),
    [
        (None, "", None),
        (b"Bearer abc.d-e_f", "", "abc.d-e_f"),
        (b" bEARER  abc ", "", "abc"),
        (b"Bearer abc", "access_token=other", "abc"),
        (None, "id=1&access_token=a%2Bb", "a+b"),
        (None, "Access_Token=abc", "abc"),
        (b"Basic YTpi", "access_token=abc", "abc"),
        (b"Basic YTpi", "", None),
        (b"Bearer", "", None),
        (b"Bearer ", "access_token=", None),
        (b"Bearerabc", "", None),
    ],
)
def test_an_access_token_is_in_the_header_or_in_the_url(
    authorization: bytes | None, query: str, token: str | None
) -> None:
    headers = Headers(() if authorization is None else ((b"Authorization", authorization),))
    request = Request("GET", "/chat", query, headers)
    assert request.token == token
    assert "abc" not in repr(request) + repr(request.query) + repr(request.headers)


def test_a_request_is_classic_unless_somebody_says_otherwise() -> None:
    request = Request("GET", "/chat")
    assert request.dialect == "classic"
    request.dialect = "aspnetcore"
    assert request.with_user("ann").dialect == "aspnetcore"


def test_a_request_can_be_somebodys() -> None:
    request = Request("GET", "/echo")
    assert request.user is None
    named = request.with_user("ann")
    assert (named.user, named.path, request.user) == ("ann", "/echo", None)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/", ("/", "")),
        ("/a/b?x=1&y=?", ("/a/b", "x=1&y=?")),
        ("/a%20b/%C3%A9", ("/a b/é", "")),
        ("/a%3Fb", ("/a?b", "")),
        ("/%FF", ("/\ufffd", "")),
        ("/a?x#fragment", ("/a", "x")),
        ("//host/a", ("//host/a", "")),
        ("http://host/p?q", ("/p", "q")),
        ("http://host", ("/", "")),
        ("/a?url=http://host/x", ("/a", "url=http://host/x")),
        ("*", ("*", "")),
    ],
)
def test_a_target_of_any_form_has_a_path_and_a_query(target: str, parts: tuple[str, str]) -> None:
    assert split_target(target) == parts


def test_an_absolute_target_without_a_path_keeps_its_query() -> None:
    assert split_target("http://host?x=1") == ("/", "x=1")
    assert split_target("http://host?x=/1") == ("/", "x=/1")


# Pieces -----------------------------------------------------------------------------------------


@given(st.binary())
def test_a_chunk_knows_its_chunked_form(data: bytes) -> None:
    chunk = Chunk(data)
    assert chunk.chunked is chunk.chunked
    if data:
        size, _, rest = chunk.chunked.partition(b"\r\n")
        assert int(size, 16) == len(data)
        assert rest == data + b"\r\n"
    else:
        assert chunk.chunked == b""  # "0" would end the body


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65_535, b"\x82\x7e\xff\xff"),
        (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_message_knows_its_frame(size: int, head: bytes) -> None:
    message = Message(b"x" * size)
    assert message.frame == head + b"x" * size
    assert message.frame is message.to_wire()


def test_text_is_text_however_it_is_given() -> None:
    assert Message("é").frame == b"\x81\x02\xc3\xa9"
    assert Message("é") == Message(b"\xc3\xa9", text=True)
    assert Message("e") != Message(b"e")


def test_pieces_with_the_same_content_are_equal() -> None:
    assert Chunk(b"a") == Chunk(b"a")
    assert Chunk(b"a") != Chunk(b"b")
    assert Chunk(b"a") != b"a"
    assert Message("a") != "a"
    assert (Head(200), End(), Ping()) == (Head(200, ()), End(1000, ""), Ping(b""))


@pytest.mark.parametrize("piece", [Chunk(b"a"), Message("a")])
def test_pieces_that_remember_their_bytes_are_no_keys(piece: object) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(piece)


def test_pieces_can_be_read_in_a_diff() -> None:
    assert repr(Chunk(b"a")) == "Chunk(b'a')"
    assert repr(Message("é")) == "Message('é')"
    assert repr(Message(b"\xff")) == "Message(b'\\xff')"


def test_a_request_has_the_state_of_its_scope_and_none_without_one() -> None:
    assert Request("GET", "/", scope={"state": {"database": "db"}}).state == {"database": "db"}
    assert Request("GET", "/", scope={}).state == Request("GET", "/").state == {}
    assert Request("GET", "/").with_user("ann").scope == {}
