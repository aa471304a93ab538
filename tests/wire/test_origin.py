"""Origins: our own pages and those that are listed get in, and browsers are told so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import ConfigurationError
from persistconn.wire.http import Headers, Request
from persistconn.wire.origin import OriginRule


def asked(
    origin: str | None = None, host: str | None = "example.org", *more: tuple[str, str], method: str = "GET"
) -> Request:
    headers = [*more]
    if host is not None:
        headers.append(("Host", host))
    if origin is not None:
        headers.append(("Origin", origin))
    return Request(method, "/echo", headers=Headers(tuple((n.encode(), v.encode("latin-1")) for n, v in headers)))


@pytest.mark.parametrize(
    ("origin", "host", "permitted"),
    [
        (None, "example.org", True),
        (None, None, True),
        ("http://example.org", "example.org", True),
        ("https://example.org", "example.org", True),  # TLS ends before us
        ("http://EXAMPLE.org", "example.ORG", True),
        ("http://example.org:8080", "example.org", True),  # Host has no port: not compared
        ("http://example.org:8080", "example.org:8080", True),
        ("http://example.org", "example.org:80", True),
        ("https://example.org", "example.org:443", True),
        ("https://example.org", "example.org:80", False),
        ("http://example.org:8080", "example.org:9090", False),
        ("http://example.org", "example.org:", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://[::1]:8000", "[0:0:0:0:0:0:0:1]:8000", True),
        ("http://[::1]", "[::2]", False),
        ("http://[::zz]", "[::1]", False),
        ("http://[1:2]", "[::1]", False),
        ("http://127.0.0.1:5000", "127.0.0.1:5000", True),
        ("custom-app://example.org", "example.org", True),
        ("custom-app://example.org", "example.org:80", False),  # no port of its own, none by default
        ("null", "example.org", False),
        ("null", "null", False),
        ("", "example.org", False),
        ("http://evil.example", "example.org", False),
        ("http://example.org.evil.example", "example.org", False),
        ("http://evilexample.org", "example.org", False),
        ("http://example.org@evil.example", "example.org", False),
        ("http://example.org/path", "example.org", False),
        ("http://example.org, http://example.org", "example.org", False),
        ("http://example.org:*", "example.org", False),
        ("http://example.org:123456", "example.org", False),
        ("http://example.org", None, False),
        ("http://example.org", "example.org:80:80", False),
        ("http://b\xfccher.example", "b\xfccher.example", False),  # browsers send punycode
    ],
)
def test_own_pages_get_in(origin: str | None, host: str | None, permitted: bool) -> None:
    assert OriginRule().permits(asked(origin, host)) is permitted


@pytest.mark.parametrize(
    ("entry", "origin", "permitted"),
    [
        ("https://app.test", "https://app.test", True),
        ("https://app.test", "https://app.test:443", True),
        ("https://app.test:443", "https://app.test", True),
        ("https://APP.test", "https://app.TEST", True),
        ("https://app.test", "http://app.test", False),
        ("https://app.test", "https://app.test:8443", False),
        ("https://app.test:8443", "https://app.test:8443", True),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "https://localhost:5173", False),
        ("http://localhost:*", "http://localhost:*", False),
        ("http://localhost:*", "http://localhost.evil.test", False),
        ("http://[::1]:*", "http://[::1]:3000", True),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("https://app.test", "null", False),
    ],
)
def test_listed_pages_get_in(entry: str, origin: str, permitted: bool) -> None:
    rule = OriginRule(["https://first.test", entry])
    request = asked(origin, "api.test")
    assert rule.permits(request) is permitted
    assert rule.headers(request) == (
        (
            (b"Access-Control-Allow-Origin", origin.encode()),
            (b"Access-Control-Allow-Credentials", b"true"),
            (b"Vary", b"Origin"),
        )
        if permitted
        else ()
    )


def test_own_pages_and_others_need_no_headers() -> None:
    rule = OriginRule(["https://app.test"])
    assert rule.headers(asked(None)) == ()
    assert rule.headers(asked("http://example.org")) == ()
    assert rule.headers(asked("http://evil.example")) == ()


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "app.test",
        "https://",
        "https://app.test/",
        "https://app.test/path",
        "https://*.app.test",
        "https://app.test:",
        "https://app.test:port",
        "https://user@app.test",
        "https://bücher.example",
        "https://[::zz]",
        "null",
    ],
)
def test_an_entry_that_is_no_origin_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="use scheme://host, scheme://host:port"):
        OriginRule([entry])


def test_a_star_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigurationError, match="answers may carry cookies, so each origin must be named"):
        OriginRule(["*"])


def test_one_text_is_no_list() -> None:
    with pytest.raises(ConfigurationError, match="must be a list"):
        OriginRule("https://app.test")


METHOD = ("Access-Control-Request-Method", "POST")


def test_a_listed_page_may_ask_before_it_asks() -> None:
    granted = OriginRule(["https://app.test"]).preflight(
        asked("https://app.test", "api.test", METHOD, method="OPTIONS")
    )
    assert granted is not None
    assert dict(granted) == {
        b"Access-Control-Allow-Origin": b"https://app.test",
        b"Access-Control-Allow-Credentials": b"true",
        b"Vary": b"Origin",
        b"Access-Control-Allow-Methods": b"GET, POST, DELETE, OPTIONS",
        b"Access-Control-Allow-Headers": b"authorization, content-type, x-requested-with, x-signalr-user-agent",
        b"Access-Control-Max-Age": b"7200",
    }


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        ("x-tenant, authorization", b"x-tenant, authorization"),
        ("x-tenant\x00", b"authorization, content-type, x-requested-with, x-signalr-user-agent"),
        ("x" * 1_025, b"authorization, content-type, x-requested-with, x-signalr-user-agent"),
    ],
)
def test_a_listed_page_may_send_headers_of_its_own(wanted: str, allowed: bytes) -> None:
    wants = ("Access-Control-Request-Headers", wanted)
    request = asked("https://app.test", "api.test", METHOD, wants, method="OPTIONS")
    granted = OriginRule(["https://app.test"]).preflight(request)
    assert dict(granted or ())[b"Access-Control-Allow-Headers"] == allowed


def test_another_page_asks_in_vain() -> None:
    assert OriginRule().preflight(asked("https://app.test", "api.test", METHOD, method="OPTIONS")) == ()


@pytest.mark.parametrize(
    "request_",
    [
        asked("https://app.test", "api.test", METHOD, method="POST"),
        asked("https://app.test", "api.test", method="OPTIONS"),
        asked(None, "api.test", METHOD, method="OPTIONS"),
    ],
)
def test_other_requests_are_no_preflight(request_: Request) -> None:
    assert OriginRule(["https://app.test"]).preflight(request_) is None


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_garbage_never_raises_and_never_gets_headers(origin: str, host: str) -> None:
    rule = OriginRule(["https://app.test"])
    request = asked(origin, host)
    rule.permits(request)
    assert rule.headers(request) == ()


def test_what_was_granted_is_remembered_within_bounds() -> None:
    rule = OriginRule(["http://localhost:*"])
    for port in range(300):
        assert rule.permits(asked(f"http://localhost:{port}", "api.test"))
        assert not rule.permits(asked(f"http://evil.test:{port}", "api.test"))
    for _ in range(2):
        assert rule.headers(asked("http://localhost:7", "api.test"))
        assert rule.permits(asked("http://api.test", "api.test"))
        assert rule.headers(asked("http://api.test", "api.test")) == ()
        assert rule.permits(asked("http://localhost:7", "a" * 600))  # too long to be remembered
        assert not rule.permits(asked("http://api.test", "other.test"))
