"""Tokens that only we can make and anybody may carry, and the ids they are about.

A token is its fields in clear and a tag over them, the purpose included, in base64url. It holds no secret, it
cannot be changed, and one made for a purpose is worth nothing for another (spec: Tokens and identity).
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

import msgspec

from ..errors import ConfigurationError

__all__ = ["GroupsToken", "Signer", "Tokens", "new_aspnetcore_id", "new_connection_id", "new_epoch"]

_TAG: Final = 16  # bytes: 128 bits are beyond guessing, and tokens travel in URLs
_LENGTH: Final = 4  # bytes before each field
_SHORTEST_KEY: Final = 16
_LONGEST_TOKEN: Final = 65_536  # as large as a head or a message may be by default


class Signer:
    """Signs fields for a purpose. The first key signs and all of them verify, so a key can be replaced without a break.

    Raises ConfigurationError when there is no key or one is too short.

    >>> signer = Signer([b"sixteen bytes at least"])
    >>> token = signer.sign("greeting", "hello", "world")
    >>> signer.verify("greeting", token)
    ('hello', 'world')
    >>> signer.verify("farewell", token) is None
    True
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        given: object = keys
        if isinstance(given, (bytes, bytearray, str)):  # a type checker would say so, not everybody has one
            raise ConfigurationError("secret_keys must be a list of keys, not one key")
        if not keys:
            raise ConfigurationError("secret_keys is empty: give at least one key of 16 random bytes or more")
        for number, key in enumerate(keys):
            if not isinstance(key, bytes) or len(key) < _SHORTEST_KEY:
                raise ConfigurationError(f"secret_keys[{number}] must be at least {_SHORTEST_KEY} bytes long")
        self._keys = tuple(keys)

    def sign(self, purpose: str, *fields: str) -> str:
        """A token for `fields`, base64url without padding."""
        body = b"".join(map(_prefixed, fields))
        return _to_text(body + _tag(self._keys[0], purpose, body))

    def verify(self, purpose: str, token: str) -> tuple[str, ...] | None:
        """The fields of a token that `sign` made for this purpose, or None for anything else. Never raises."""
        if not token.isascii() or len(token) > _LONGEST_TOKEN:
            return None
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (Base64Error, ValueError):
            return None
        if (
            len(raw) < _TAG or _to_text(raw) != token
        ):  # the decoder skips what it does not know; one token, one spelling
            return None
        body, tag = raw[:-_TAG], raw[-_TAG:]
        genuine = False
        for key in self._keys:
            genuine |= compare_digest(_tag(key, purpose, body), tag)
        return _split(body) if genuine else None


def _to_text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _prefixed(field: str) -> bytes:
    data = field.encode("utf-8", "surrogatepass")  # group names may be any str
    return len(data).to_bytes(_LENGTH, "big") + data


def _tag(key: bytes, purpose: str, body: bytes) -> bytes:
    return hmac.digest(key, _prefixed(purpose) + body, "sha256")[:_TAG]


def _split(body: bytes) -> tuple[str, ...]:
    """What `_prefixed` joined; the tag has been checked, so it is well formed."""
    fields = []
    at = 0
    while at < len(body):
        start = at + _LENGTH
        at = start + int.from_bytes(body[at:start], "big")
        fields.append(body[start:at].decode("utf-8", "surrogatepass"))
    return tuple(fields)


def new_connection_id(entropy: Callable[[int], bytes]) -> str:
    """A random GUID, lower-case and dashed (RFC 9562 §5.4), as classic clients are used to.

    >>> new_connection_id(bytes)
    '00000000-0000-4000-8000-000000000000'
    """
    raw = bytearray(entropy(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def new_aspnetcore_id(entropy: Callable[[int], bytes]) -> str:
    """128 random bits in 22 letters that may stand in a URL as they are: ASP.NET Core clients put them there.

    >>> new_aspnetcore_id(bytes)
    'AAAAAAAAAAAAAAAAAAAAAA'
    """
    return _to_text(entropy(16))


_EPOCH_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"


def new_epoch(entropy: Callable[[int], bytes]) -> str:
    """Eight random letters and digits that tell one life of a process from another, for cursors.

    >>> new_epoch(bytes)
    'aaaaaaaa'
    """
    return "".join(_EPOCH_LETTERS[byte % 32] for byte in entropy(8))


@dataclass(frozen=True, slots=True)
class GroupsToken:
    """What a client brought back about its groups."""

    groups: tuple[str, ...]
    version: int
    """The number its membership had when the token was made: a smaller one is an older state."""


class _Read(msgspec.Struct, frozen=True, gc=False):
    """A connection token that is genuine, and what it says."""

    token: str
    route: str
    connection_id: str
    user: str


_TAG_LETTERS: Final = 22
"""So many letters at the end of a token hold its whole tag."""
_MOST_REMEMBERED: Final = 1_024
_LONGEST_REMEMBERED: Final = 512


class Tokens:
    """The connection token and the groups token of classic, bound to route, connection, user and purpose.

    >>> tokens = Tokens(Signer([b"sixteen bytes at least"]))
    >>> tokens.read_connection("/echo", tokens.connection("/echo", "id1", "ann"))
    ('id1', 'ann')
    >>> tokens.read_connection("/other", tokens.connection("/echo", "id1", "ann")) is None
    True
    """

    __slots__ = ("_read", "_signer")

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._read: dict[str, _Read] = {}
        """Connection tokens that were made or verified not long ago, by what stands in them in clear: a client shows
        its token with every request. The tag is no part of the key, so it is only ever compared in constant time."""

    def connection(self, route: str, connection_id: str, user: str | None) -> str:
        """The token that `negotiate` gives out; anonymous is the user `None` or `""`."""
        token = self._signer.sign(_purpose("connection", route), connection_id, user or "")
        self._remember(_Read(token, route, connection_id, user or ""))
        return token

    def read_connection(self, route: str, token: str) -> tuple[str, str] | None:
        """Connection id and user name (`""` for anonymous) of a connection token, or None if it is not ours."""
        known = self._read.get(token[:-_TAG_LETTERS])
        if known is not None and known.route == route and token.isascii() and compare_digest(known.token, token):
            return known.connection_id, known.user
        match self._signer.verify(_purpose("connection", route), token):
            case (connection_id, user):
                self._remember(_Read(token, route, connection_id, user))
                return connection_id, user
            case _:
                return None

    def _remember(self, read: _Read) -> None:
        if len(read.token) > _LONGEST_REMEMBERED:
            return
        if len(self._read) >= _MOST_REMEMBERED:
            del self._read[next(iter(self._read))]
        self._read[read.token[:-_TAG_LETTERS]] = read

    def groups(
        self, route: str, connection_id: str, user: str | None, groups: Sequence[str], version: int, expires_wall: float
    ) -> str:
        """The token that carries a connection's groups until `expires_wall`, in seconds since 1970."""
        purpose = _groups_purpose(route, connection_id, user)
        return self._signer.sign(purpose, str(version), str(int(expires_wall * 1000)), *groups)

    def read_groups(
        self, route: str, connection_id: str, user: str | None, token: str, wall: float
    ) -> GroupsToken | None:
        """The groups of a token; None if it is not ours, another connection's or user's, or expired at `wall`."""
        match self._signer.verify(_groups_purpose(route, connection_id, user), token):
            case (version, expires, *groups) if wall * 1000 < int(expires):
                return GroupsToken(tuple(groups), int(version))
            case _:
                return None


def _groups_purpose(route: str, connection_id: str, user: str | None) -> str:
    return _purpose("groups", route, connection_id, (user or "").casefold())  # user names ignore case on classic


def _purpose(*parts: str) -> str:
    return "".join(f"{len(part)}:{part}" for part in parts)
