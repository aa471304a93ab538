"""Values as MessagePack: with Python's names, or with those that .NET clients look for (hub protocol §5.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import msgspec

__all__ = ["DOTNET", "PYTHON", "Conventions", "pascal_case", "write_messagepack"]


class Conventions(msgspec.Struct, frozen=True, kw_only=True):
    """What fields and enums are called in MessagePack.

    .NET clients match the names of fields case-sensitively, in Pascal case, and expect the names of enums: give them
    `DOTNET`. JavaScript and Python clients take whatever comes: `PYTHON` is the default, and like our JSON. What comes
    in may be spelled either way, always.

    >>> DOTNET
    Conventions(pascal_case=True, enum_names=True)
    """

    pascal_case: bool = False
    """`obj_id` is written `ObjId`. Fields that were renamed on purpose, and keys of dicts, are left alone."""
    enum_names: bool = False
    """`Color.DARK_RED` is written "DarkRed", and not as its value."""


PYTHON: Final = Conventions()
DOTNET: Final = Conventions(pascal_case=True, enum_names=True)

_NAIVE: Final = re.compile(rb"-\d\dT\d\d:\d\d:\d\d")


def write_messagepack(value: Any, conventions: Conventions = PYTHON) -> bytes:
    """A value as MessagePack. Raises TypeError for what has no form: integers beyond 64 bits, half a character.

    Bytes are bytes, UUID and Decimal text. Moments are timestamps (type -1), and a naive one counts as UTC: a timestamp
    has no room for "local time, who knows where", the clock of a server is as good as always UTC, and .NET does
    the same with a DateTime whose kind is unspecified.

    >>> write_messagepack({"when": datetime(2024, 1, 2, 3, 4, 5)}).hex(" ")
    '81 a4 77 68 65 6e d6 ff 65 93 7d 25'
    >>> write_messagepack({"obj_id": 1}, DOTNET) == write_messagepack({"obj_id": 1})  # a dict's keys are its own
    True
    """
    try:
        if conventions is not PYTHON and conventions != PYTHON:
            value = _spelt(value, conventions)
        written = _encode(value)
        if _NAIVE.search(written):  # which msgspec writes as text
            written = _encode(_spelt(value, PYTHON))
    except (NotImplementedError, ArithmeticError, ValueError, RecursionError) as error:
        raise TypeError(f"A value has no form in MessagePack: {error}") from error
    return written


def pascal_case(name: str) -> str:
    """The name as .NET spells it.

    >>> pascal_case("obj_id"), pascal_case("DARK_RED"), pascal_case("ObjVal"), pascal_case("x")
    ('ObjId', 'DarkRed', 'ObjVal', 'X')
    """
    return "".join(_capitalized(part) for part in name.split("_"))


def _capitalized(part: str) -> str:
    return part[:1].upper() + (part[1:].lower() if part.isupper() else part[1:])


def _foreign(value: Any) -> Any:
    """Models of pydantic, without importing it."""
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise NotImplementedError(f"{type(value).__name__} is not a type it knows")
    return dump(mode="python", by_alias=True)


_encode: Final = msgspec.msgpack.Encoder(enc_hook=_foreign).encode


# Spelling: what msgspec does not do by itself ---------------------------------------------------


def _spelt(value: Any, how: Conventions) -> Any:
    """The value, made of lists, dicts and scalars, with zones and names as they are to be."""
    match value:
        case Enum():
            return pascal_case(value.name) if how.enum_names else value
        case str() | int() | float() | bytes() | None:
            return value
        case datetime(tzinfo=None):
            return value.replace(tzinfo=UTC)
        case dict():
            return {key: _spelt(one, how) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_spelt(one, how) for one in value]
        case msgspec.Struct():
            return _spelt_struct(value, how)
    found = _fields_of(value, how)
    return value if found is None else _named(found, how)


def _named(found: Iterable[tuple[str, Any]], how: Conventions) -> dict[str, Any]:
    return {name: _spelt(one, how) for name, one in found if one is not msgspec.UNSET}


def _spelt_struct(value: msgspec.Struct, how: Conventions) -> Any:
    config, kind = value.__struct_config__, type(value)
    if config.array_like:
        tag = [] if config.tag is None else [config.tag]
        return tag + [_spelt(getattr(value, name), how) for name in kind.__struct_fields__]
    named = {} if config.tag is None or config.tag_field is None else {config.tag_field: config.tag}
    both = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return named | _named(((_name(name, wire, how), getattr(value, name)) for name, wire in both), how)


def _name(name: str, wire: str, how: Conventions) -> str:
    return pascal_case(name) if how.pascal_case and name == wire else wire


def _fields_of(value: Any, how: Conventions) -> Iterable[tuple[str, Any]] | None:
    """The fields of a dataclass, an attrs class or a model of pydantic; None: it is none of these."""
    kind = type(value)
    if is_dataclass(kind):
        names = [field.name for field in fields(kind)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    elif hasattr(kind, "model_fields") and how == PYTHON:
        return _foreign(value).items()  # type: ignore[no-any-return]  # as pydantic itself writes it
    elif hasattr(kind, "model_fields"):
        aliases = {name: field.alias or name for name, field in kind.model_fields.items()}
        return [(_name(name, wire, how), getattr(value, name)) for name, wire in aliases.items()]
    else:
        return None
    return [(_name(name, name, how), getattr(value, name)) for name in names]
