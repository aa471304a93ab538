"""From the arguments of a call, JSON or MessagePack, to what a method is called with: the types of its parameters
decide."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin

import msgspec

from persistconn import ConfigurationError

from .dependencies import Mark, hints_of, mark_of, source_of
from .opened import Source
from .progress import Progress
from .spelling import renaming, written

__all__ = ["BindingError", "Format", "Parameter", "Signature", "is_stream"]

Format: TypeAlias = Literal["json", "messagepack"]

_REQUIRED: Final = inspect.Parameter.empty
_STREAMS: Final = (AsyncGenerator, AsyncIterable, AsyncIterator)
_WRONG: Final = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading a value may raise that is not as its type says."""
_BYTES: Final = (bytes, bytearray, memoryview)
"""What MessagePack has, and text is not taken for."""


class BindingError(ValueError):
    """The arguments of a call are not those of the method."""


class Parameter:
    """One parameter of a hub's method, and how to read it."""

    # fmt: off
    __slots__ = (
        "_decode", "_decode_messagepack", "_rename", "_rename_messagepack", "annotation", "default", "name", "optional",
    )
    # fmt: on

    def __init__(self, name: str, annotation: Any, *, optional: bool = False, default: Any = None) -> None:
        self.name = name
        self.annotation = annotation
        self.optional = optional
        self.default = default
        self._rename = renaming(annotation)
        self._rename_messagepack = renaming(annotation, messagepack=True)
        hook = _convert_foreign
        self._decode = msgspec.json.Decoder(Any if self._rename else annotation, dec_hook=hook).decode
        self._decode_messagepack = msgspec.msgpack.Decoder(
            Any if self._rename_messagepack else annotation, dec_hook=hook
        ).decode

    def read(self, json: msgspec.Raw) -> Any:
        """The value that is written in JSON. Raises BindingError."""
        try:
            value = self._decode(json)
            if self._rename is None:
                return value
            return msgspec.convert(
                self._rename(value), self.annotation, dec_hook=_convert_foreign, builtin_types=(), str_keys=True
            )
        except _WRONG as error:
            raise BindingError(f"{self.name}: {error}") from None

    def read_messagepack(self, raw: msgspec.Raw) -> Any:
        """The same of MessagePack. Raises BindingError.

        Beside what JSON can say: a member of an enum by its name, and a moment as .NET's DateTimeOffset.
        """
        try:
            value = self._decode_messagepack(raw)
            if self._rename_messagepack is None:
                return value
            value = self._rename_messagepack(value)
            return msgspec.convert(value, self.annotation, dec_hook=_convert_foreign, builtin_types=_BYTES)
        except _WRONG as error:
            raise BindingError(f"{self.name}: {error}") from None

    def reader(self, format: Format) -> Callable[[msgspec.Raw], Any]:
        """How to read a value of this format. It raises BindingError."""
        return self.read if format == "json" else self.read_messagepack

    @property
    def type_name(self) -> str:
        """Its type, as people write it."""
        return written(self.annotation)

    def __str__(self) -> str:
        return f"{self.name}:{self.type_name}"


class Signature:
    """The parameters of a hub's method that come from the client.

    >>> def add(self, a: int, b: int = 1) -> int: ...
    >>> signature = Signature(add)
    >>> signature.bind([msgspec.Raw(b"2")]), str(signature)
    ([2], '(a:int, b:int):int')
    """

    __slots__ = ("_places", "_rest", "least", "most", "needs", "parameters", "progress", "returns", "uploads")

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = hints_of(function)
        self.returns = hints.get("return", Any)
        self.parameters: list[Parameter] = []
        self.uploads: list[tuple[int, Parameter]] = []
        """What takes a stream that the client uploads: where it stands among all, and how its items are read."""
        self.progress: str | None = None
        """The parameter that reports progress, which is no client's."""
        self.needs: dict[str, Source] = {}
        """What is marked with Depends, which is no client's either."""
        self._places: list[tuple[int, str]] = []
        """Where of that stands among all parameters what may be given by position."""
        self._rest: Parameter | None = None
        """What `*args` takes."""
        for at, given in enumerate(list(inspect.signature(function).parameters.values())[1:]):
            annotation = hints.get(given.name, Any)
            mark = mark_of(annotation, given.default)
            if mark is not None:
                self._add_need(at, given, mark)
            elif annotation is Progress or get_origin(annotation) is Progress:
                if given.kind is given.POSITIONAL_ONLY:
                    raise ConfigurationError(f"parameter {given.name}: Progress must not stand before /")
                self.progress = given.name
            elif given.kind is given.VAR_POSITIONAL:
                if self.progress is not None:
                    raise ConfigurationError(f"parameter {self.progress}: Progress must stand behind *{given.name}")
                self._rest = _parameter(given.name, annotation, optional=True)
            elif given.kind in (given.POSITIONAL_ONLY, given.POSITIONAL_OR_KEYWORD) and self.progress is None:
                if is_stream(annotation):
                    (item,) = get_args(annotation)[:1] or (Any,)
                    place = len(self.parameters) + len(self.uploads)
                    self.uploads.append((place, _parameter(given.name, item, optional=False)))
                    continue
                optional = given.default is not _REQUIRED
                self.parameters.append(_parameter(given.name, annotation, optional=optional, default=given.default))
            elif given.default is _REQUIRED and given.kind is not given.VAR_KEYWORD:
                raise ConfigurationError(
                    f"parameter {given.name}: arguments come by position, so it must stand before * and Progress, "
                    "or have a default"
                )
        self.least = sum(not one.optional for one in self.parameters)
        self.most = None if self._rest is not None else len(self.parameters)

    def _add_need(self, at: int, given: inspect.Parameter, mark: Mark) -> None:
        if given.kind is given.POSITIONAL_ONLY:
            raise ConfigurationError(f"parameter {given.name}: what is marked with Depends must not stand before /")
        try:
            self.needs[given.name] = source_of(mark)
        except ConfigurationError as error:
            raise ConfigurationError(f"parameter {given.name}: {error}") from None
        if given.kind is given.POSITIONAL_OR_KEYWORD:
            self._places.append((at, given.name))

    def takes(self, count: int) -> bool:
        """So many arguments are right."""
        return self.least <= count and (self.most is None or count <= self.most)

    def bind(self, arguments: Sequence[msgspec.Raw], format: Format = "json", uploads: Sequence[Any] = ()) -> list[Any]:
        """What to call the method with, `uploads` in the places of its streams. BindingError names the parameter.

        >>> def pay(self, price: float) -> None: ...
        >>> Signature(pay).bind([msgspec.Raw(bytes([42]))], "messagepack")
        [42.0]
        """
        if format == "messagepack":
            known = [one.read_messagepack(raw) for one, raw in zip(self.parameters, arguments, strict=False)]
        else:
            known = [one.read(raw) for one, raw in zip(self.parameters, arguments, strict=False)]
        rest = [] if self._rest is None else arguments[len(self.parameters) :]
        if uploads:  # all have their place, so nothing in front of them may be left out
            known += [one.default for one in self.parameters[len(known) :]]
            for (place, _), upload in zip(self.uploads, uploads, strict=True):
                known.insert(place, upload)
        if self._rest is not None:
            read = self._rest.reader(format)
            known += [read(raw) for raw in rest]
        return known

    def complete(self, arguments: Sequence[Any], given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The client's arguments with what the method needs in between, as far as they go; the rest by name."""
        known, named = list(arguments), dict(given)
        for at, name in self._places:
            if at > len(known):
                break  # behind something that the client has left out
            known.insert(at, named.pop(name))
        return known, named

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.parameters))}):{written(self.returns)}"


def _parameter(name: str, annotation: Any, *, optional: bool, default: Any = None) -> Parameter:
    try:
        return Parameter(name, annotation, optional=optional, default=default)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigurationError(f"parameter {name} cannot be read from JSON: {error}") from None


# Foreign types ----------------------------------------------------------------------------------


def _convert_foreign(type: Any, value: Any) -> Any:
    """Models of pydantic, without importing it."""
    if type is object:
        return value
    return type.model_validate(value)


def is_stream(type: Any) -> bool:
    """It is an asynchronous iterator or iterable, of whatever."""
    return (get_origin(type) or type) in _STREAMS
