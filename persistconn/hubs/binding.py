"""From the arguments of a call, JSON or MessagePack, to what a method is called with: the types of its parameters
decide."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect as shapes

from persistconn import ConfigurationError

from .progress import Progress

__all__ = ["BindingError", "Format", "Parameter", "Signature", "is_stream"]

Format: TypeAlias = Literal["json", "messagepack"]
Renaming: TypeAlias = Callable[[Any], Any]

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
        self._rename = _renaming(annotation, _Spelling())
        self._rename_messagepack = _renaming(annotation, _MessagePackSpelling())
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
        return _written(self.annotation)

    def __str__(self) -> str:
        return f"{self.name}:{self.type_name}"


class Signature:
    """The parameters of a hub's method that come from the client.

    >>> def add(self, a: int, b: int = 1) -> int: ...
    >>> signature = Signature(add)
    >>> signature.bind([msgspec.Raw(b"2")]), str(signature)
    ([2], '(a:int, b:int):int')
    """

    __slots__ = ("_rest", "least", "most", "parameters", "progress", "returns", "uploads")

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = _hints(function)
        self.returns = hints.get("return", Any)
        self.parameters: list[Parameter] = []
        self.uploads: list[tuple[int, Parameter]] = []
        """What takes a stream that the client uploads: where it stands among all, and how its items are read."""
        self.progress: str | None = None
        """The parameter that reports progress, which is no client's."""
        self._rest: Parameter | None = None
        """What `*args` takes."""
        for given in list(inspect.signature(function).parameters.values())[1:]:
            annotation = hints.get(given.name, Any)
            if annotation is Progress or get_origin(annotation) is Progress:
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

    def takes(self, count: int) -> bool:
        """So many arguments are right."""
        return self.least <= count and (self.most is None or count <= self.most)

    def bind(
        self, arguments: Sequence[msgspec.Raw], format: Format = "json", uploads: Sequence[Any] = ()
    ) -> list[Any]:
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

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.parameters))}):{_written(self.returns)}"


def _parameter(name: str, annotation: Any, *, optional: bool, default: Any = None) -> Parameter:
    try:
        return Parameter(name, annotation, optional=optional, default=default)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigurationError(f"parameter {name} cannot be read from JSON: {error}") from None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:  # whatever its annotations do
        raise ConfigurationError(
            f"the types of its parameters cannot be found: {error}; they must be names of the module, at run time"
        ) from None


def _written(annotation: Any) -> str:
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).removeprefix("typing.")


# Foreign types ----------------------------------------------------------------------------------


def _convert_foreign(type: Any, value: Any) -> Any:
    """Models of pydantic, without importing it."""
    if type is object:
        return value
    return type.model_validate(value)


def is_stream(type: Any) -> bool:
    """It is an asynchronous iterator or iterable, of whatever."""
    return (get_origin(type) or type) in _STREAMS


# Names of fields --------------------------------------------------------------------------------


def _renaming(annotation: Any, spelling: _Spelling) -> Renaming | None:
    """How to spell the names in a decoded value as its type does; None: there is nothing to spell.

    `objId`, `ObjId` and `OBJ_ID` all mean the field `obj_id`: each side keeps the style of its language.
    Raises TypeError for a type that no JSON can become.
    """
    return spelling.of(shapes.type_info(annotation))


class _Spelling:
    """Makes renamings, one per class, however often or recursively it occurs."""

    def __init__(self) -> None:
        self._known: dict[int, Renaming] = {}
        """By the identity of a shape, which is one per type, or of a model."""
        self._kept: list[shapes.Type] = []
        """So that identities stay."""

    def of(self, shape: shapes.Type) -> Renaming | None:
        match shape:
            case shapes.StructType() | shapes.DataclassType() | shapes.TypedDictType():
                return self._fields(shape)
            case shapes.NamedTupleType():
                return self._positions(shape)
            case shapes.CustomType(cls=cls):
                return self._foreign(cls)
            case shapes.Metadata(type=inner):
                return self.of(inner)
            case shapes.UnionType(types=types):
                return self._one_of(types)
            case shapes.DictType(value_type=inner):
                return _values(self.of(inner))
            case shapes.TupleType(item_types=inners):
                renames = [self.of(inner) for inner in inners]
                return _each(renames) if any(renames) else None
            case shapes.ListType() | shapes.SetType() | shapes.FrozenSetType() | shapes.VarTupleType():
                return _items(self.of(shape.item_type))
            case _:
                return None

    def _fields(self, shape: shapes.StructType | shapes.DataclassType | shapes.TypedDictType) -> Renaming | None:
        if isinstance(shape, shapes.StructType) and shape.array_like:
            return self._positions(shape)
        found = self._known.get(id(shape))
        if found is None:
            found = self._known[id(shape)] = fields = _Fields()
            if isinstance(shape, shapes.StructType):
                fields.tag = shape.tag_field
            fields.learn({field.encode_name: self.of(field.type) for field in shape.fields})
        return found

    def _positions(self, shape: shapes.StructType | shapes.NamedTupleType) -> Renaming:
        found = self._known.get(id(shape))
        if found is None:
            tag = [None] if isinstance(shape, shapes.StructType) and shape.tag is not None else []
            inners: list[Renaming | None] = []
            found = self._known[id(shape)] = _each(inners)
            inners += [*tag, *[self.of(field.type) for field in shape.fields]]
        return found

    def _foreign(self, cls: Any) -> Renaming | None:
        if not hasattr(cls, "model_validate"):
            if cls is object:
                return None
            raise TypeError(f"nothing can make a {_written(cls)} of it")
        found = self._known.get(id(cls))
        if found is None:
            found = self._known[id(cls)] = fields = _Fields()
            names = {} if hasattr(cls, "__pydantic_root_model__") and cls.__pydantic_root_model__ else cls.model_fields
            fields.learn({field.alias or name: self._within_foreign(field.annotation) for name, field in names.items()})
        return found

    def _within_foreign(self, annotation: Any) -> Renaming | None:
        try:
            shape = shapes.type_info(annotation)
            self._kept.append(shape)
            return self.of(shape)
        except TypeError:  # the model knows what to do with it
            return None

    def _one_of(self, types: Sequence[shapes.Type]) -> Renaming | None:
        """Of several Structs the tag decides; else one at the most is an object, one a list."""
        structs = {one.tag: self.of(one) for one in types if isinstance(one, shapes.StructType) and one.tag is not None}
        others = [self.of(one) for one in types if not isinstance(one, shapes.StructType)]
        plain = [self.of(one) for one in types if isinstance(one, shapes.StructType) and one.tag is None]
        tag = next((one.tag_field for one in types if isinstance(one, shapes.StructType) and one.tag_field), None)

        def rename(value: Any) -> Any:
            tagged = value.get(tag) if tag is not None and _is_dict(value) else None
            chosen = structs.get(tagged) if isinstance(tagged, str | int) else None
            for one in [chosen] if chosen is not None else [*plain, *others]:
                value = one(value) if one is not None else value
            return value

        return rename if structs or any([*others, *plain]) else None


class _Fields:
    """Renames the keys of objects of one class, and what is in them."""

    __slots__ = ("_inner", "_names", "tag")

    def __init__(self) -> None:
        self.tag: str | None = None
        self.learn({})

    def learn(self, inner: dict[str, Renaming | None]) -> None:
        self._inner = inner
        self._names = {_plain(name): name for name in inner}

    def __call__(self, value: Any) -> Any:
        if not _is_dict(value):
            return value
        given: dict[str, Any] = value
        spelt: dict[str, Any] = {}
        for key, one in given.items():
            name = key if key in self._inner or key == self.tag else self._names.get(_plain(key), key)
            if name != key and name in value:
                continue  # the exact spelling is there as well
            rename = self._inner.get(name)
            spelt[name] = one if rename is None else rename(one)
        return spelt


class _MessagePackSpelling(_Spelling):
    """The same, and what .NET clients write differently there (ASP.NET Core hub protocol §5.3)."""

    def of(self, shape: shapes.Type) -> Renaming | None:
        match shape:
            case shapes.EnumType(cls=cls):
                return _members(cls)
            case shapes.DateTimeType():
                return _moment
            case _:
                return super().of(shape)


def _members(kind: type[Enum]) -> Renaming:
    """Takes a name for the member's value, unless it is a value."""
    names = {_plain(name): member.value for name, member in kind.__members__.items()}
    values = [member.value for member in kind]

    def rename(value: Any) -> Any:
        return names.get(_plain(value), value) if isinstance(value, str) and value not in values else value

    return rename


def _moment(value: Any) -> Any:
    """DateTimeOffset is the time on the clock, as if that were in UTC, and the minutes that clock is ahead."""
    match value:
        case [datetime() as clock, int(ahead)] if abs(ahead) < _DAY:
            return clock.replace(tzinfo=timezone(timedelta(minutes=ahead)))
        case _:
            return value


_DAY: Final = 24 * 60


def _plain(name: Any) -> str:
    return name.replace("_", "").lower() if isinstance(name, str) else ""


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _values(rename: Renaming | None) -> Renaming | None:
    if rename is None:
        return None
    return lambda value: {key: rename(one) for key, one in value.items()} if _is_dict(value) else value


def _items(rename: Renaming | None) -> Renaming | None:
    if rename is None:
        return None
    return lambda value: [rename(one) for one in value] if isinstance(value, list) else value


def _each(renames: Sequence[Renaming | None]) -> Renaming:
    def rename(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        head = [one if how is None else how(one) for one, how in zip(value, renames, strict=False)]
        return head + value[len(renames) :]

    return rename
