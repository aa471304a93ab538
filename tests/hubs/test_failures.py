"""What clients are told, word for word: their own tests compare these."""

from __future__ import annotations

import pytest

from persistconn.hubs import failures

TEXTS = [
    (failures.protocol_unknown("foo"), "The protocol 'foo' is not supported."),
    (failures.version_unknown(9, "json"), "The server does not support version 9 of the 'json' protocol."),
    (
        failures.no_binary_here("messagepack"),
        "Cannot use the 'messagepack' protocol on the current transport. "
        "The transport does not support 'Binary' transfer format.",
    ),
    (failures.HANDSHAKE_CANCELED, "Handshake was canceled."),
    (failures.handshake_broken(), "An unexpected error occurred during connection handshake."),
    (
        failures.method_missing("X"),
        "Failed to invoke 'X' due to an error on the server. HubException: Method does not exist.",
    ),
    (failures.arguments_wrong("X"), "Failed to invoke 'X' due to an error on the server."),
    (
        failures.arguments_wrong(
            "X", failures.cause_of(failures.wrong_count(1, 2), "InvalidDataException", detailed=True)
        ),
        "Failed to invoke 'X' due to an error on the server. "
        "InvalidDataException: Invocation provides 1 argument(s) but target expects 2.",
    ),
    (
        failures.arguments_wrong("X", failures.cause_of(failures.BINDING, "InvalidDataException", detailed=True)),
        "Failed to invoke 'X' due to an error on the server. InvalidDataException: Error binding arguments. Make sure "
        "that the types of the provided values match the types of the hub method being invoked.",
    ),
    (failures.method_failed("X"), "An unexpected error occurred invoking 'X' on the server."),
    (
        failures.method_failed("X", failures.cause_of(KeyError("k"), detailed=True)),
        "An unexpected error occurred invoking 'X' on the server. KeyError: 'k'",
    ),
    (
        failures.wrong_stream_count("Ingest", 1, 0),
        "An unexpected error occurred invoking 'Ingest' on the server. "
        "HubException: Client sent 1 stream(s), Hub method expects 0.",
    ),
    (failures.method_unauthorized("X"), "Failed to invoke 'X' because user is unauthorized"),
    (
        failures.only_a_stream("X"),
        "The client attempted to invoke the streaming 'X' method with a non-streaming invocation.",
    ),
    (
        failures.not_a_stream("X"),
        "The client attempted to invoke the non-streaming 'X' method with a streaming invocation.",
    ),
    (failures.stream_failed(), "An error occurred on the server while streaming results."),
    (
        failures.no_stream_given("X"),
        "The value returned by the streaming method 'X' is not a ChannelReader<> or IAsyncEnumerable<>.",
    ),
    (failures.id_in_use("1"), "Invocation ID '1' is already in use."),
    (failures.closed(), "Connection closed with an error."),
    (
        failures.too_large(32768),
        "The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.",
    ),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_each_text_is_the_genuine_one(text: str, expected: str) -> None:
    assert text == expected


def test_the_cause_is_told_when_it_was_deliberate_or_details_are_wanted() -> None:
    error = ValueError("no such room")
    assert failures.cause_of(error) == ""
    assert failures.cause_of(error, deliberate=True) == "HubException: no such room"
    assert failures.cause_of(error, detailed=True) == "ValueError: no such room"
    assert failures.cause_of("why", "IOException", detailed=True) == "IOException: why"
