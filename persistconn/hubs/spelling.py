"""Names of fields, as the type of a parameter has them, whatever the style of the side that wrote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final, TypeAlias, get_args

from msgspec import inspect as shapes

__all__ = ["Renaming", "renaming", "written"]

Renaming: TypeAlias = Callable[[Any], Any]


def renaming(annotation: Any, *, messagepack: bool = False) -> Renaming | None:
    """How to spell the names in a decoded value as its type does; None: there is nothing to spell.

    `objId`, `ObjId` and `OBJ_ID` all mean the field `obj_id`: each side keeps the style of its language.
    Raises TypeError for a type that no JSON can become.

    >>> from dataclasses import dataclass
    >>> Item = dataclass(type("Item", (), {"__annotations__": {"obj_id": int}}))
    >>> spell = renaming(Item)
    >>> spell({"ObjId": 1}), renaming(list[int])
    ({'obj_id': 1}, None)
    """
    spelling = _MessagePackSpelling() if messagepack else _Spelling()
    return spelling.of(shapes.type_info(annotation))


def written(annotation: Any) -> str:
    """A type, as people write it.

    >>> written(int), written(None), written(list[int])
    ('int', 'None', 'list[int]')
    """
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).removeprefix("typing.")


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
            raise TypeError(f"nothing can make a {written(cls)} of it")
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
