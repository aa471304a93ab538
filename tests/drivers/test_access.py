"""The access log's lines."""

from __future__ import annotations

import logging

import pytest

from persistconn.drivers.access import AccessLog, loggable
from persistconn.wire.http import Request


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", "/p"),
        ("transport=webSockets&clientProtocol=2.1", "/p?transport=webSockets&clientProtocol=2.1"),
        (
            "connectionToken=abc&groupsToken=d&access_token=e&id=f&messageId=g",
            "/p?connectionToken=…&groupsToken=…&access_token=…&id=…&messageId=…",
        ),
        ("ID=a&Access_Token=b&%69d=c&negotiateVersion=1", "/p?ID=…&Access_Token=…&id=…&negotiateVersion=…"),
        ("transport=%0d%0aforged&a%20b", "/p?transport=%0D%0Aforged&a%20b=…"),
    ],
)
def test_no_secret_and_no_line_end_is_shown(query: str, shown: str) -> None:
    assert loggable(Request("GET", "/p", query)) == shown


@pytest.mark.parametrize(
    ("client", "shown"),
    [(None, "-"), (("192.0.2.1", 5), "192.0.2.1:5"), (("2001:db8::1", 5), "[2001:db8::1]:5")],
)
def test_a_line(client: tuple[str, int] | None, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "persistconn.access")
    log = AccessLog()
    log.exchange(Request("POST", "/a b", client=client), 200, 12, 0.5, cut=False)
    log.exchange(Request("GET", "/", client=client), None, 0, 0.5, cut=True)
    log.refused(client, "max_sockets")
    assert [record.getMessage() for record in caplog.records] == [
        f'{shown} "POST /a%20b" 200 12 0.500',
        f'{shown} "GET /" - 0 0.500 cut',
        f"{shown} refused: max_sockets",
    ]


def test_nothing_is_made_that_nobody_wants(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "persistconn.access")
    assert not AccessLog().wanted
    caplog.set_level(logging.INFO, "persistconn.access")
    assert AccessLog().wanted
    assert not AccessLog(enabled=False).wanted
