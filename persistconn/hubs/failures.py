"""What a client of ASP.NET Core SignalR is told when something fails, word for word: clients' tests compare these.

Sections (§) are those of the ASP.NET Core hub protocol. Where a text has a `cause`, that is "class: message", made by
`cause_of`, or "" when the client is not to know it.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BINDING",
    "CLIENT_TIMEOUT",
    "CLOSED",
    "HANDSHAKE_CANCELED",
    "INCOMPLETE",
    "OVER_2GB",
    "SEQUENCE_AHEAD",
    "STREAM_BINDING",
    "arguments_wrong",
    "cause_of",
    "closed",
    "handshake_broken",
    "id_in_use",
    "method_failed",
    "method_missing",
    "method_unauthorized",
    "no_binary_here",
    "no_stream_given",
    "not_a_stream",
    "only_a_stream",
    "protocol_unknown",
    "stream_failed",
    "too_large",
    "version_unknown",
    "wrong_count",
    "wrong_stream_count",
]

# Causes -----------------------------------------------------------------------------------------


def cause_of(error: BaseException | str, kind: str = "", *, deliberate: bool = False, detailed: bool = False) -> str:
    """The cause that a client may know: of a deliberate error always, else only with detailed errors (§4.6).

    A deliberate one (HubError) is called HubException, as clients know it. `kind` is the name on the wire of any other.

    >>> cause_of(ValueError("no such room"), deliberate=True)
    'HubException: no such room'
    >>> cause_of(ValueError("no such room")), cause_of(ValueError("no such room"), detailed=True)
    ('', 'ValueError: no such room')
    """
    if deliberate:
        return f"HubException: {error}"
    return f"{kind or type(error).__name__}: {error}" if detailed else ""


def _with(text: str, cause: str) -> str:
    return f"{text} {cause}" if cause else text


# The handshake (§3.4) ---------------------------------------------------------------------------

HANDSHAKE_CANCELED: Final = "Handshake was canceled."
"""It did not come in time, or was larger than a message may be."""


def handshake_broken(cause: str = "") -> str:
    """Nobody can tell what the client asks for.

    >>> handshake_broken()
    'An unexpected error occurred during connection handshake.'
    """
    return _with("An unexpected error occurred during connection handshake.", cause)


def protocol_unknown(name: str) -> str:
    """The client asks for a format that there is not.

    >>> protocol_unknown("foo")
    "The protocol 'foo' is not supported."
    """
    return f"The protocol '{name}' is not supported."


def version_unknown(version: int, name: str) -> str:
    """The client asks for a version that there is not yet.

    >>> version_unknown(9, "json")
    "The server does not support version 9 of the 'json' protocol."
    """
    return f"The server does not support version {version} of the '{name}' protocol."


def no_binary_here(name: str) -> str:
    """The transport carries text only.

    >>> no_binary_here("messagepack")
    "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' trans...
    """
    return (
        f"Cannot use the '{name}' protocol on the current transport. "
        "The transport does not support 'Binary' transfer format."
    )


# Calls (§4.6) -----------------------------------------------------------------------------------

BINDING: Final = (
    "Error binding arguments. Make sure that the types of the provided values match "
    "the types of the hub method being invoked."
)
"""An argument does not fit its parameter: a cause of kind InvalidDataException."""
STREAM_BINDING: Final = "Failed to bind Stream message."
"""An item of an upload does not fit: the stream ends with this error, the connection goes on (§7.5)."""


def method_missing(target: str) -> str:
    """There is no such method.

    >>> method_missing("Shout")
    "Failed to invoke 'Shout' due to an error on the server. HubException: Method does not exist."
    """
    return arguments_wrong(target, "HubException: Method does not exist.")


def arguments_wrong(target: str, cause: str = "") -> str:
    """The arguments are not those of the method.

    >>> arguments_wrong("Add", cause_of(wrong_count(1, 2), "InvalidDataException", detailed=True))
    "Failed to invoke 'Add' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) ...
    """
    return _with(f"Failed to invoke '{target}' due to an error on the server.", cause)


def wrong_count(given: int, expected: int) -> str:
    """The cause, of kind InvalidDataException, of a call with too few or too many arguments.

    >>> wrong_count(1, 2)
    'Invocation provides 1 argument(s) but target expects 2.'
    """
    return f"Invocation provides {given} argument(s) but target expects {expected}."


def wrong_stream_count(target: str, given: int, expected: int) -> str:
    """The call uploads too few or too many streams (§4.5).

    >>> wrong_stream_count("Ingest", 1, 0)
    "An unexpected error occurred invoking 'Ingest' on the server. HubException: Client sent 1 stream(s), Hub metho...
    """
    return method_failed(target, f"HubException: Client sent {given} stream(s), Hub method expects {expected}.")


def method_failed(target: str, cause: str = "") -> str:
    """The method raised.

    >>> method_failed("Multiply")
    "An unexpected error occurred invoking 'Multiply' on the server."
    """
    return _with(f"An unexpected error occurred invoking '{target}' on the server.", cause)


def method_unauthorized(target: str) -> str:
    """The caller may not call this method; without a full stop, as it is.

    >>> method_unauthorized("Ban")
    "Failed to invoke 'Ban' because user is unauthorized"
    """
    return f"Failed to invoke '{target}' because user is unauthorized"


def only_a_stream(target: str) -> str:
    """The method gives a stream, and was called with type 1.

    >>> only_a_stream("Ticks")
    "The client attempted to invoke the streaming 'Ticks' method with a non-streaming invocation."
    """
    return f"The client attempted to invoke the streaming '{target}' method with a non-streaming invocation."


def not_a_stream(target: str) -> str:
    """The method gives no stream, and was called with type 4.

    >>> not_a_stream("Add")
    "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation."
    """
    return f"The client attempted to invoke the non-streaming '{target}' method with a streaming invocation."


def no_stream_given(target: str) -> str:
    """The method should have given a stream, and gave something else.

    >>> no_stream_given("Ticks")
    "The value returned by the streaming method 'Ticks' is not a ChannelReader<> or IAsyncEnumerable<>."
    """
    return f"The value returned by the streaming method '{target}' is not a ChannelReader<> or IAsyncEnumerable<>."


def stream_failed(cause: str = "") -> str:
    """A stream broke after it had begun.

    >>> stream_failed("HubException: out of paper")
    'An error occurred on the server while streaming results. HubException: out of paper'
    """
    return _with("An error occurred on the server while streaming results.", cause)


def id_in_use(id: str) -> str:
    """A stream of this id has not ended yet.

    >>> id_in_use("1")
    "Invocation ID '1' is already in use."
    """
    return f"Invocation ID '{id}' is already in use."


# Closing (§4.7, §8) -----------------------------------------------------------------------------

CLOSED: Final = "Connection closed with an error."
INCOMPLETE: Final = "Connection terminated while reading a message."
CLIENT_TIMEOUT: Final = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
OVER_2GB: Final = "Messages over 2GB in size are not supported."
SEQUENCE_AHEAD: Final = "Sequence ID greater than amount of messages we've received."


def closed(cause: str = "") -> str:
    """The error of a Close message.

    >>> closed(cause_of(too_large(32768), "InvalidDataException", detailed=True))
    'Connection closed with an error. InvalidDataException: The maximum message size of 32768B was exceeded. The ...
    """
    return _with(CLOSED, cause)


def too_large(limit: int) -> str:
    """A message has more than `limit` bytes, framing included.

    >>> too_large(100)
    'The maximum message size of 100B was exceeded. The message size can be configured in AddHubOptions.'
    """
    return f"The maximum message size of {limit}B was exceeded. The message size can be configured in AddHubOptions."
