"""Clients of ASP.NET Core come, and are let in or not (conformance checklist 1 to 15)."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from persistconn import ConfigurationError, Settings
from persistconn.protocol import Admission, Connected, Disconnected, Route
from persistconn.wire.aspnetcore import NO_DELETE, NO_POST_ON_WEBSOCKETS, UNKNOWN_ID, USER_CHANGED

from .aspnetcore_talk import ACCEPT, LP, SSE, TRANSPORTS, WS, CoreClient, CoreTalk, statuses
from .talk import Client

UNKNOWN = (404, UNKNOWN_ID.encode())


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def talk() -> CoreTalk:
    return CoreTalk()


# Negotiation --------------------------------------------------------------------------------------


def test_without_a_version_the_token_is_the_id(talk: CoreTalk) -> None:
    exchange = talk.open("/echo/negotiate", method="POST")
    answer = talk.json(exchange)
    assert (talk.status(exchange), talk.header(exchange, "content-type")) == (200, "application/json")
    assert answer["negotiateVersion"] == 0 and answer["connectionId"] and "connectionToken" not in answer
    talk.open("/echo", f"id={answer['connectionId']}", upgrade=True)
    assert [event.connection_id for event in talk.told(Connected)] == [answer["connectionId"]]


def test_of_version_1_id_and_token_differ_and_are_new_each_time(talk: CoreTalk) -> None:
    clients = [CoreClient(talk) for _ in range(3)]
    words = [word for client in clients for word in (client.id, client.token)]
    assert len(set(words)) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", word) for word in words)
    assert talk.told(Connected) == []  # nobody knows of them before their transport comes


def test_the_id_alone_opens_nothing(talk: CoreTalk) -> None:
    client = CoreClient(talk)
    client.token = client.id
    assert statuses(talk, [client.get(), client.post(), client.delete()]) == [UNKNOWN] * 3


def test_newer_versions_get_ours_and_nonsense_gets_an_error(talk: CoreTalk) -> None:
    assert talk.json(talk.open("/echo/negotiate", "negotiateVersion=5", method="POST"))["negotiateVersion"] == 1
    for version in ("abc", "-1"):
        exchange = talk.open("/echo/negotiate", f"negotiateVersion={version}", method="POST")
        assert talk.status(exchange) == 200
        assert list(talk.json(exchange)) == ["error"]
    assert talk.endpoint.statistics().connections == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_negotiate_is_for_post(talk: CoreTalk, method: str) -> None:
    assert statuses(talk, [talk.open("/core/negotiate", method=method)]) == [(405, b"")]
    assert "ProtocolVersion" in talk.json(talk.open("/echo/negotiate", method=method))  # that is classic's


def test_transports_are_listed_in_order(talk: CoreTalk) -> None:
    offers = talk.json(talk.open("/echo/negotiate", method="POST"))["availableTransports"]
    assert [(offer["transport"], offer["transferFormats"]) for offer in offers] == [
        ("WebSockets", ["Text", "Binary"]),
        ("ServerSentEvents", ["Text"]),
        ("LongPolling", ["Text", "Binary"]),
    ]


@pytest.mark.parametrize(
    ("allowed", "path", "asked", "granted"),
    [
        (True, "/echo", True, True),
        (True, "/echo", False, False),
        (False, "/echo", True, False),
        (True, "/other", True, False),  # this route is not resumable
    ],
)
def test_stateful_reconnect_is_for_those_who_ask_where_it_is_allowed(
    allowed: bool, path: str, asked: bool, granted: bool
) -> None:
    talk = CoreTalk(Settings(allow_stateful_reconnect=allowed))
    client = CoreClient(talk, path=path, stateful=asked)
    assert talk.json(client.negotiated).get("useStatefulReconnect", False) is granted
    client.start()
    assert talk.endpoint.terms.is_resumable(client.id) is granted


def test_a_token_that_nobody_uses_expires(talk: CoreTalk) -> None:
    client, early = CoreClient(talk), CoreClient(talk)
    talk.pass_time(14)
    early.start()
    assert statuses(talk, [client.post()]) == [(200, b"")]  # that does not keep it alive
    talk.pass_time(2)
    assert statuses(talk, [client.get(), client.get(LP), client.post(), client.delete()]) == [UNKNOWN] * 4
    assert talk.endpoint.is_connected(early.id)
    assert talk.told(Disconnected) == []


def test_of_a_stranger_nothing_is_kept_but_a_session() -> None:
    talk = CoreTalk()
    talk.open("/echo/negotiate", "x=" + "y" * 1_000, method="POST", headers={"Cookie": "z" * 1_000})
    (session,) = talk.endpoint._sessions.values()
    assert not session.request.query and not session.request.headers


def test_who_is_not_let_in_gets_a_status_for_whatever_they_ask(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport)
    for admission, answer in ((Admission(401), (401, b"")), (Admission(403, "No."), (403, b"No."))):
        asked = [
            talk.open("/echo/negotiate", method="POST", admission=admission),
            talk.open("/echo", f"id={client.token}", admission=admission, upgrade=transport == WS),
            talk.open("/echo", f"id={client.token}", admission=admission, method="POST"),
            talk.open("/echo", f"id={client.token}", admission=admission, method="DELETE"),
        ]
        assert statuses(talk, asked) == [answer] * 4
    assert talk.told(Connected) == []


def test_negotiation_may_send_elsewhere_or_away(talk: CoreTalk) -> None:
    there = Admission(redirect_url="https://b.example/echo", access_token="t0ken")
    exchange = talk.open("/echo/negotiate", method="POST", admission=there)
    assert talk.json(exchange) == {"url": "https://b.example/echo", "accessToken": "t0ken"}
    away = Admission(error="quota exceeded")
    assert talk.json(talk.open("/echo/negotiate", method="POST", admission=away)) == {"error": "quota exceeded"}
    assert talk.endpoint.statistics().connections == 0


def test_there_are_only_so_many_connections() -> None:
    talk = CoreTalk(Settings(max_connections=2))
    client = CoreClient(talk).start()
    talk.open("/echo", upgrade=True)
    for full in (talk.open("/echo/negotiate", method="POST"), talk.open("/echo", upgrade=True)):
        assert (talk.status(full), talk.header(full, "retry-after")) == (503, "5")
    client.drop()
    assert talk.status(talk.open("/echo/negotiate", method="POST")) == 200


# Routing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_id_is_required_and_must_be_known(talk: CoreTalk, method: str) -> None:
    for query in ("", "id=", "x=1"):
        assert statuses(talk, [talk.open("/echo", query, method=method)]) == [(400, b"Connection ID required")]
    for id in ("nobody", "x" * 5_000, "%00"):
        assert statuses(talk, [talk.open("/echo", f"id={id}", method=method)]) == [UNKNOWN]
    assert statuses(talk, [talk.open("/echo", "id=nobody", headers=ACCEPT)]) == [UNKNOWN]
    assert statuses(talk, [talk.open("/echo", "id=nobody", upgrade=True)]) == [UNKNOWN]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS"])
def test_other_methods_are_not_allowed(talk: CoreTalk, method: str) -> None:
    assert statuses(talk, [talk.open("/echo", "id=nobody", method=method)]) == [(405, b"")]


def test_names_behind_a_path_are_those_of_its_route(talk: CoreTalk) -> None:
    chat = CoreClient(talk, path="/echo/Chat").start()
    assert talk.endpoint.is_connected(chat.id)
    assert talk.status(talk.open("/echo/secret/negotiate", method="POST")) == 404
    assert talk.status(talk.open("/other/chat/negotiate", method="POST")) == 404
    assert talk.status(talk.open("/echo/chat/negotiate/x", method="POST")) == 404


def test_a_token_is_for_one_place(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport)
    for elsewhere in ("/other", "/echo/chat"):
        client.path = elsewhere
        assert statuses(talk, [client.get(), client.post(), client.delete()]) == [UNKNOWN] * 3


def test_a_token_is_for_one_user(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport, user="ann").start()
    asked = [client.get(user="bob"), client.post(user="bob"), client.delete(user="bob")]
    assert statuses(talk, asked) == [(403, USER_CHANGED.encode())] * 3
    assert talk.endpoint.is_connected(client.id)
    assert talk.heard == []


def test_no_sends_beside_a_websocket_and_no_stop_but_of_polling(talk: CoreTalk) -> None:
    socket, events, new = CoreClient(talk, WS).start(), CoreClient(talk, SSE).start(), CoreClient(talk)
    assert statuses(talk, [socket.post()]) == [(405, NO_POST_ON_WEBSOCKETS.encode())]
    assert statuses(talk, [one.delete() for one in (socket, events, new)]) == [(400, NO_DELETE.encode())] * 3


def test_a_transport_is_for_good(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport).start()
    for other in {*TRANSPORTS} - {transport}:
        assert statuses(talk, [client.get(other)]) == [(400, b"Cannot change transports mid-connection")]
    if transport != LP:
        assert statuses(talk, [client.get()]) == [(409, b"")]
    talk.say(client, b"still there")
    assert client.got in (["still there"], [b"still there"])


def test_credentials_are_refreshed_where_they_expire(talk: CoreTalk) -> None:
    client = CoreClient(talk, admission=Admission(expires_in=60)).start()
    assert talk.json(client.negotiated)["tokenLifetimeSeconds"] == 60
    talk.pass_time(50)
    newer = talk.open("/echo/refresh", f"id={client.token}", method="POST", admission=Admission(expires_in=120))
    assert talk.json(newer) == {"tokenLifetimeSeconds": 120}
    talk.pass_time(100)
    assert talk.endpoint.is_connected(client.id)
    talk.pass_time(30)
    assert str(talk.reason) == "aborted"
    known = CoreClient(talk).start()
    assert talk.status(talk.open("/echo/refresh", f"id={known.token}", method="POST")) == 404


def test_classic_clients_are_served_at_the_same_path(talk: CoreTalk, transport: str) -> None:
    core = CoreClient(talk, transport).start()
    classic = Client(talk, transport).start()
    talk.broadcast("hello")
    assert classic.take() == ["hello"]
    assert core.got in (["hello"], [b"hello"])


def test_connections_are_not_taken_over_by_the_other_dialect(talk: CoreTalk) -> None:
    core, classic = CoreClient(talk), Client(talk)
    assert statuses(talk, [talk.open("/echo", f"id={classic.id}")]) == [UNKNOWN]
    classic.token = core.token
    assert talk.status(classic.attach("connect")) == 400


# Transports that are off --------------------------------------------------------------------------


def test_transports_that_are_off_are_neither_offered_nor_given(talk: CoreTalk) -> None:
    offered = talk.json(talk.open("/polled/negotiate", "negotiateVersion=1", method="POST"))
    assert [one["transport"] for one in offered["availableTransports"]] == ["LongPolling", "ServerSentEvents"]
    exchange = talk.open("/polled", f"id={offered['connectionToken']}", upgrade=True)
    text = b"WebSockets transport not supported by this end point type"
    assert statuses(talk, [exchange]) == [(404, text)]
    assert statuses(talk, [talk.open("/polled", upgrade=True)]) == [(404, text)]
    assert talk.told(Connected) == []


def test_classic_clients_are_not_given_them_either(talk: CoreTalk) -> None:
    offered = talk.json(talk.open("/polled/negotiate", "clientProtocol=2.1"))
    assert offered["TryWebSockets"] is False
    query = f"transport={WS}&clientProtocol=2.1&connectionToken={quote(offered['ConnectionToken'])}"
    exchange = talk.open("/polled/connect", query, upgrade=True)
    assert statuses(talk, [exchange]) == [(400, b"Protocol error: Unknown transport.")]


def test_a_transport_that_nobody_knows_is_told_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"smoke.*: there are webSockets"):
        Route("/echo", transports=("smoke",))
