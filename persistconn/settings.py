"""Each limit and time-out, with its default, unit and reason.

Durations are seconds and sizes are bytes, unless the field says otherwise.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from .errors import ConfigurationError

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server allows and how long it waits.

    >>> from persistconn import Settings
    >>> Settings(keep_alive=5).keep_alive_timeout
    10.0
    """

    # Connections and time -----------------------------------------------------------------------
    keep_alive: float | None = 10.0
    """How often a streaming transport gets a sign of life; None sends none. Clients call a connection
    lost after twice this. The default follows a shorter `disconnect_timeout` down to a third of it."""
    disconnect_timeout: float = 30.0
    """How long a connection without a transport may take to come back before it is disconnected."""
    disconnect_threshold: float = 5.0
    """Added to `disconnect_timeout` on streaming transports: a client notices a loss later than we do."""
    connection_timeout: float = 110.0
    """How long a classic long poll is held open before it is answered empty."""
    transport_connect_timeout: float = 5.0
    """Told to classic clients: how long to wait for a transport's first message before falling back."""
    long_poll_delay: float = 0.0
    """Told to classic clients: how long to wait between two long polls."""
    poll_timeout: float = 90.0
    """How long an ASP.NET Core long poll is held open."""
    ping_interval: float = 15.0
    """How often an idle ASP.NET Core connection gets a ping."""
    client_timeout: float = 30.0
    """An ASP.NET Core client that sends nothing for this long is disconnected."""
    handshake_timeout: float = 15.0
    """How long an ASP.NET Core client may take from negotiating to its transport, and then for its handshake."""
    groups_token_lifetime: float | None = None
    """How long a groups token is good for; None means 10 × `disconnect_timeout`."""
    write_deadline: float = 10.0
    """A transport that takes nothing for this long is handled by `slow_policy`."""
    slow_policy: Literal["disconnect", "skip"] = "disconnect"
    """What happens to a reader that fell out of the ring or past `write_deadline`: end it, or tell the
    application how much it missed and go on."""
    max_connections: int = 100_000
    """Connections of this process; one more is answered 503 with Retry-After."""
    max_groups: int = 1_000
    """Groups one connection may be in: their names travel in its groups token."""
    ended_ids: int = 10_000
    """How many ended connection ids are remembered, so that a late request does not revive one."""

    # Messages -----------------------------------------------------------------------------------
    max_message_size: int | None = 65_536
    """Largest message a client may send; more is answered 413 or 1009. None means no limit."""
    inbox_messages: int = 64
    """Messages of one connection that may wait for `on_received`; then its socket is not read, or 429."""
    send_high_water: int = 256
    """`connection.send` waits while more messages than this wait for the client."""
    send_high_water_bytes: int = 262_144
    """The same, in bytes."""
    batch_messages: int = 5_000
    """Most messages in one envelope."""
    batch_bytes: int = 1_048_576
    """An envelope gets no further message once it holds this much."""
    ring_messages: int = 1_000
    """Recent messages kept per topic at least, for those who come back, unless bytes or age forbid."""
    ring_bytes: int = 4_194_304
    """Most bytes kept per topic."""
    ring_age: float = 120.0
    """Messages older than this are forgotten."""
    total_ring_bytes: int = 268_435_456
    """Most bytes kept by all topics together; the oldest messages of all go first."""
    max_parallel_calls: int = 1
    """Hub methods of one connection that may run at once; with 1 they take turns, in order."""
    max_call_rate: float = 0.0
    """Calls a second that one client may make, with a second's worth at once; 0 sets no limit. The caller is told."""
    max_call_arguments: int = 64
    """Arguments of one call of a hub's method; more is an error to the caller."""
    max_argument_size: int | None = None
    """Bytes of one argument's JSON; more is an error to the caller. None: `max_message_size` is limit enough."""
    max_state_size: int = 4_096
    """Bytes of the state that a client sends with each call; more fails the call, as on the genuine server."""

    # Features -----------------------------------------------------------------------------------
    jsonp: bool = False
    """Answer JSONP. Off, because it gives the connection token to any page that asks."""
    detailed_errors: bool = False
    """Tell clients the text of unexpected exceptions. For development."""
    allow_stateful_reconnect: bool = False
    """Let ASP.NET Core clients resume with a replay buffer."""

    # HTTP and sockets ---------------------------------------------------------------------------
    max_head_size: int = 65_536
    """Request line and headers; groups tokens travel in the URL, so this is generous."""
    max_headers: int = 100
    """Header lines of a request."""
    max_body_size: int | None = None
    """Largest body of a request; more is answered 413. None: enough for a message that comes urlencoded, and at least
    1 MiB, because ASP.NET Core clients send all that waits as one body; no limit if `max_message_size` is None."""
    max_chunks: int = 1_024
    """Chunks of a request body."""
    max_fragments: int = 1_024
    """Fragments of one WebSocket message."""
    max_control_frames: int = 64
    """Pings and pongs a WebSocket peer may send between two data frames or in `keep_alive` seconds."""
    head_timeout: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_timeout: float = 30.0
    """From the end of the headers to the end of the body."""
    idle_timeout: float = 75.0
    """An HTTP connection without a request is closed after this."""
    close_timeout: float = 2.0
    """How long we wait for the peer's half of a close before the socket goes."""
    drain_notice: float = 0.0
    """How long `health()` says `draining`, while everything goes on, before shutting down begins: time for a load
    balancer to send newcomers elsewhere."""
    drain_timeout: float = 8.0
    """How long shutting down may take before what is left is cut; and closing what a call of a hub depends on."""
    drain_on_signal: bool = True
    """On an ASGI server, hold SIGTERM and SIGINT back from it until clients are told; it would tell the app last."""
    max_sockets: int = 0
    """Open sockets; one more is answered 503 with Retry-After. 0: as many as the system allows."""
    tcp_user_timeout: float = 20.0
    """Unacknowledged bytes make TCP give up after this, where the system can (Linux); 0 leaves it alone."""

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            self._require(_fits(getattr(self, name), kind), name, f"it must be {_described(kind)}")
        self._require(self.disconnect_timeout >= 6, "disconnect_timeout", "it must be at least 6 seconds")
        most = self.disconnect_timeout / 3
        default = type(self).__dataclass_fields__["keep_alive"].default
        if self.keep_alive is not None:
            if self.keep_alive is default and self.keep_alive > most:
                object.__setattr__(self, "keep_alive", most)  # as in .NET: who shortens one need not set the other
            self._require(
                2 <= self.keep_alive <= most,
                "keep_alive",
                f"it must be at least 2 seconds and at most a third of disconnect_timeout, {most:g}; None turns it off",
            )
        if self.max_message_size is not None:
            self._require(self.max_message_size >= 1, "max_message_size", "it must be at least 1 byte; None lifts it")
        if self.max_body_size is not None:
            self._require(self.max_body_size >= 1, "max_body_size", "it must be at least 1 byte")
        self._require(self.ring_messages >= 32, "ring_messages", "it must be at least 32")
        for name in _POSITIVE:
            self._require(getattr(self, name) > 0, name, "it must be greater than 0")
        for name in _NOT_NEGATIVE:
            self._require(getattr(self, name) >= 0, name, "it must not be negative")
        lifetime = self.groups_token_lifetime
        if lifetime is not None:
            self._require(
                lifetime >= 2 * self.disconnect_timeout,
                "groups_token_lifetime",
                "it must be at least twice disconnect_timeout, or a client that is away would lose its groups",
            )

    def _require(self, good: bool, name: str, what_to_do: str) -> None:
        if not good:
            raise ConfigurationError(f"{name} is {getattr(self, name)!r}: {what_to_do}")

    @property
    def keep_alive_timeout(self) -> float | None:
        """Told to classic clients: after this long without a sign of life the connection is lost."""
        return None if self.keep_alive is None else 2.0 * self.keep_alive

    @property
    def groups_lifetime(self) -> float:
        """How long a groups token is good for, in seconds."""
        if self.groups_token_lifetime is None:
            return 10.0 * self.disconnect_timeout
        return self.groups_token_lifetime

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read every `PERSISTCONN_<FIELD>` of `environ` (by default the process's environment).

        Raises ConfigurationError for a name that is no setting and for a value of the wrong type.

        >>> from persistconn import Settings
        >>> Settings.from_env({"PERSISTCONN_KEEP_ALIVE": "5", "PERSISTCONN_JSONP": "yes"}).keep_alive
        5.0
        """
        environ = os.environ if environ is None else environ
        kinds = _kinds()
        prefix = "PERSISTCONN_"
        given: dict[str, object] = {}
        for name, text in environ.items():
            if not name.startswith(prefix):
                continue
            field = name.removeprefix(prefix).lower()
            if field not in kinds:
                known = ", ".join(prefix + f.name.upper() for f in fields(cls))
                raise ConfigurationError(f"{name} is not a setting; there are {known}")
            given[field] = _parse(name, text, kinds[field])
        return cls(**given)  # type: ignore[arg-type]  # each value was parsed by its field's own type


_POSITIVE = (
    "connection_timeout",
    "transport_connect_timeout",
    "poll_timeout",
    "ping_interval",
    "client_timeout",
    "handshake_timeout",
    "write_deadline",
    "max_connections",
    "max_groups",
    "ended_ids",
    "inbox_messages",
    "send_high_water",
    "send_high_water_bytes",
    "batch_messages",
    "batch_bytes",
    "ring_bytes",
    "ring_age",
    "total_ring_bytes",
    "max_parallel_calls",
    "max_call_arguments",
    "max_state_size",
    "max_head_size",
    "max_headers",
    "max_chunks",
    "max_fragments",
    "max_control_frames",
    "head_timeout",
    "body_timeout",
    "idle_timeout",
    "close_timeout",
    "drain_timeout",
)
_NOT_NEGATIVE = (
    "disconnect_threshold",
    "drain_notice",
    "long_poll_delay",
    "max_call_rate",
    "max_sockets",
    "tcp_user_timeout",
)


@cache
def _kinds() -> Mapping[str, Any]:
    """The type of each setting."""
    return typing.get_type_hints(Settings)


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) or (kind,)


def _fits(value: object, kind: Any) -> bool:
    """The value has the type; a whole number is a number too, but True is none."""
    options = _options(kind)
    if value is None:
        return type(None) in options
    if isinstance(value, bool):
        return bool in options
    if isinstance(value, int):
        return int in options or float in options
    return type(value) in options or value in options


def _described(kind: Any) -> str:
    options = _options(kind)
    words = {bool: "True or False", int: "a whole number", float: "a number", type(None): "None"}
    return " or ".join(words.get(option, repr(option)) for option in options)


_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}


def _parse(name: str, text: str, kind: object) -> object:
    options = set(typing.get_args(kind)) or {kind}
    word = text.strip().lower()
    if type(None) in options and word in ("", "none"):
        return None
    if bool in options:
        if word in _YES | _NO:
            return word in _YES
        raise ConfigurationError(f"{name} is {text!r}: use yes or no")
    for number in (int, float):
        if number in options:
            try:
                return number(word)
            except ValueError:
                raise ConfigurationError(f"{name} is {text!r}: it must be a number") from None
    return text.strip()
