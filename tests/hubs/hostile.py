"""A hub with things worth reaching, and payloads of those who try: right, nearly right, and hostile. All of a seed."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from random import Random
from typing import Any, TypedDict
from uuid import UUID

import msgspec

from persistconn import DisconnectReason
from persistconn.hubs import Hub, HubError, Progress, method_name


@dataclass
class Item:
    obj_id: int
    obj_val: str = ""


@dataclass
class Tree:
    node_name: str
    child_nodes: list[Tree] = field(default_factory=list)


class Options(TypedDict, total=False):
    dark_mode: bool
    items: list[Item]


class Circle(msgspec.Struct, tag="circle"):
    the_radius: float


class Square(msgspec.Struct, tag="square", forbid_unknown_fields=True):
    the_side: float


class Color(Enum):
    red = "r"


class Mixin:
    async def of_mixin(self) -> str:
        RAN.append("of_mixin")
        return "mixin"

    async def _of_mixin(self) -> None:
        RAN.append("!_of_mixin")


RAN: list[str] = []
"""What was called; what must never be begins with an exclamation mark."""


class Target(Hub, Mixin):
    open_list: list[int] = []

    async def add(self, a: int, b: int) -> int:
        RAN.append("add")
        return a + b

    async def echo(self, value: Any) -> Any:
        RAN.append("echo")
        return value

    async def take_item(self, item: Item, more: Item | None = None) -> Item:
        RAN.append("take_item")
        return item

    async def take_tree(self, tree: Tree) -> int:
        RAN.append("take_tree")
        return len(tree.child_nodes)

    async def take_options(self, options: Options, color: Color = Color.red) -> Options:
        RAN.append("take_options")
        return options

    async def take_shape(self, shape: Circle | Square | None) -> Any:
        RAN.append("take_shape")
        return shape

    async def take_many(self, *numbers: float) -> float:
        RAN.append("take_many")
        return sum(numbers)

    async def take_odd(self, when: datetime | None, id: UUID | int, items: dict[int, Item], some: set[Any]) -> int:
        RAN.append("take_odd")
        return len(items) + len(some)

    @method_name("size")
    async def size_one(self, a: Any) -> int:
        RAN.append("size_one")
        return 1

    @method_name("size")
    async def size_two(self, a: Any, b: Any) -> int:
        RAN.append("size_two")
        return 2

    async def keep_state(self, key: str, value: Any) -> Any:
        RAN.append("keep_state")
        self.context.state[key] = value
        return dict(self.context.state)

    async def progress_to(self, end: int, progress: Progress[int]) -> str:
        RAN.append("progress_to")
        for step in range(min(end, 3)):
            await progress.report(step)
        return "done"

    async def refuse(self, message: str, data: Any = None) -> None:
        RAN.append("refuse")
        raise HubError(message, data)

    async def join_group(self, name: str) -> None:
        RAN.append("join_group")
        await self.groups.join(self.context.connection_id, f"group {len(name) % 5}")
        await self.clients.group(f"group {len(name) % 5}").send(name, name)

    # What nobody may call

    async def on_connected(self) -> None:
        RAN.append("on_connected")

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        RAN.append("on_disconnected")

    async def on_rejoining_groups(self, groups: Sequence[str]) -> Sequence[str]:
        RAN.append("!on_rejoining_groups")
        return groups

    async def _private(self, *args: Any) -> None:
        RAN.append("!_private")

    async def __mangled(self, *args: Any) -> None:
        RAN.append("!__mangled")

    def __call__(self, *args: Any) -> None:
        RAN.append("!__call__")

    def __enter__(self, *args: Any) -> None:
        RAN.append("!__enter__")

    @staticmethod
    def fixed(*args: Any) -> None:
        RAN.append("!fixed")

    @classmethod
    def of_class(cls, *args: Any) -> None:
        RAN.append("!of_class")

    @property
    def computed(self) -> str:
        RAN.append("!computed")
        return "secret"

    @functools.cached_property
    def cached(self) -> str:
        RAN.append("!cached")
        return "secret"

    class Inner:
        def __init__(self, *args: Any) -> None:
            RAN.append("!Inner")


class Other(Hub):
    async def hello(self) -> str:
        RAN.append("hello")
        return "hello"


ALLOWED = {
    "add", "echo", "take_item", "take_tree", "take_options", "take_shape", "take_many", "take_odd", "size_one",
    "size_two", "keep_state", "progress_to", "refuse", "join_group", "of_mixin", "hello",
}  # fmt: skip

RIGHT: dict[str, tuple[str, ...]] = {
    "add": ("1", "2"),
    "echo": ('{"a":[1,2.5,null,"ä"]}',),
    "takeItem": ('{"objId":1,"objVal":"a"}', '{"ObjId":2}'),
    "take_tree": ('{"nodeName":"a","childNodes":[{"NodeName":"b"}]}',),
    "TakeOptions": ('{"darkMode":true,"items":[{"OBJ_ID":1}]}', '"r"'),
    "takeShape": ('{"type":"circle","theRadius":1}',),
    "takeMany": ("1", "2", "3.5"),
    "takeOdd": ('"2026-11-26T12:00:00Z"', "5", '{"1":{"objId":1}}', "[1,2]"),
    "SIZE": ("1", "2"),
    "keepState": ('"key"', "[1]"),
    "progressTo": ("2",),
    "refuse": ('"no"', '{"code":4}'),
    "joinGroup": ('"a.b"',),
    "ofMixin": (),
    "hello": (),
}
NAMES = [
    "_private", "__mangled", "_Target__mangled", "__init__", "__call__", "__enter__", "__class__", "__del__",
    "__getattribute__", "__setattr__", "__reduce_ex__", "__init_subclass__", "__class_getitem__", "_staged", "_scene",
    "_of_mixin", "fixed", "of_class", "ofClass", "computed", "cached", "Inner", "open_list", "openList", "clients",
    "groups", "context", "onConnected", "on_connected", "on_disconnected", "OnDisconnected", "on_reconnected",
    "on_rejoining_groups", "mro", "size_one", "sizeOne", "Target.add", "add ", "a\\u0000dd", "", "\\ud800", "ADD\\n",
    "constructor", "toString", "%s%s%n", "{0.__class__}", "x\\r\\n2026 CRITICAL", "Kill", "ﬁxed", "add\\u0300",
]  # fmt: skip
HUBS = ["target", "TARGET", "Target", "tArGeT", "other", "Hub", "target.x", "", "nosuch", "\\ud83d", "Ťarget", "a\\nb"]
VALUES = [
    "null", "true", "false", "0", "-1", "1.5", "-0.0", "1e5", "1E-400", "9007199254740993", "18446744073709551616",
    "1" * 400, "1e308", '""', '"a"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"ä€😀"',
    "[]", "{}", "[[]]", "[{}]", '{"":{}}', '{"a":1,"a":2}', '{"objId":1,"ObjId":"2","obj_id":3}', '{"type":[]}',
    '{"type":{}}', '{"type":"circle"}', '{"type":"square","theSide":1,"more":2}', '{"__class__":"x","__init__":{}}',
    '{"nodeName":"a","childNodes":[{"nodeName":5}]}', '{"objId":null}', '{"1":{}}', '{"x":{"objId":1}}', "[[1],[1]]",
    "[" * 20 + "]" * 20, "[" * 21 + "]" * 21, '{"nodeName":"a","childNodes":[' * 15 + "]}" * 15, '"%s%n{0}"', '"r"',
    '"12345678-1234-5678-1234-567812345678"', '"9999-12-31T23:59:59.999999999Z"', '"' + "x" * 300 + '"',
]  # fmt: skip
WRONG = [
    "NaN", "Infinity", "-Infinity", "1e999", "01", "+1", "1.", ".5", "-", "0x10", "'a'", "undefined", "[1,]", "{a:1}",
    '{"a"}', '"\\x"', '"\x01"', '"', "[", "]", "", "[" * 2_000, "{" * 2_000, "1" * 5_000, '"\\ud8zz"', "/**/1", "tru",
]  # fmt: skip


class Attacker:
    """Makes payloads; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._count = 0
        self._right = list(RIGHT.items())

    def payloads(self, count: int) -> Iterator[str | bytes]:
        kinds = [self._fine, self._nearly, self._hostile, self._named, self._broken, self._binary, self._huge]
        for kind in self._chance.choices(kinds, [30, 25, 20, 14, 8, 2.8, 0.2], k=count):
            yield kind()

    def _id(self) -> str:
        self._count += 1
        return str(self._count) if self._count % 2 else f'"{self._count}"'

    def _said(self, hub: str, method: str, arguments: Sequence[str], more: str = "") -> str:
        return f'{{"H":"{hub}","M":"{method}","A":[{",".join(arguments)}],"I":{self._id()}{more}}}'

    def _fine(self) -> str:
        method, arguments = self._chance.choice(self._right)
        hub = "other" if method == "hello" else "target"
        return self._said(hub, method, arguments, ',"S":{"a":{"b":[1]}}' if self._count % 4 == 0 else "")

    def _nearly(self) -> str:
        choice, chance = self._chance.choice, self._chance.random
        method, right = choice(self._right)
        arguments = list(right)
        for _ in range(choice((0, 1, 1, 2))):
            if arguments and chance() < 0.7:
                arguments[int(chance() * len(arguments))] = choice(VALUES)
            elif arguments and chance() < 0.5:
                arguments.pop()
            else:
                arguments.append(choice(VALUES))
        if chance() < 0.3:
            method = "".join(letter.upper() if chance() < 0.5 else letter for letter in method)
        return self._said(choice(HUBS[:5]), method, arguments)

    def _hostile(self) -> str:
        choice, chance = self._chance.choice, self._chance.random
        values = VALUES if chance() < 0.8 else WRONG
        parts = {
            "H": f'"{choice(HUBS)}"',
            "M": f'"{choice(self._right)[0]}"',
            "A": f"[{choice(VALUES)}]",
            "I": self._id(),
            "S": choice(VALUES),
            choice(("h", "m", "P", "C", "__class__", "")): choice(VALUES),
        }
        parts[choice("HMAIS")] = choice(values)
        if chance() < 0.3:
            parts.pop(choice("HMAIS"))
        said = [f'"{key}":{value}' for key, value in parts.items()]
        if chance() < 0.1:
            said.append(choice(said))
        self._chance.shuffle(said)
        return f"{{{','.join(said)}}}"

    def _named(self) -> str:
        choice = self._chance.choice
        return self._said(choice(HUBS), choice(NAMES), [choice(VALUES) for _ in range(choice((0, 0, 1, 1, 2, 70)))])

    def _broken(self) -> str:
        text = self._fine()
        at = self._chance.randrange(len(text))
        wrong = chr(self._chance.randrange(1, 0x300))
        return choice_of(
            *(self._chance, text[:at], text[at:], text[:at] + wrong + text[at:], text[:at] + text[at + 1 :]),
            *(text + text, json.dumps(text), f"[{text}]"),
        )

    def _binary(self) -> bytes:
        text = bytearray(self._fine().encode())
        for _ in range(self._chance.randrange(4)):
            text[self._chance.randrange(len(text))] = self._chance.randrange(256)
        return bytes(text)

    def _huge(self) -> str:
        big = "x" * 20_000
        return choice_of(
            self._chance,
            f'{{"H":"target","M":"echo","A":[1],"I":"{self._count}{big}"}}',
            f'{{"H":"target","M":"{big}","A":[],"I":{self._id()}}}',
            f'{{"H":"{big}","M":"add","A":[],"I":{self._id()}}}',
            self._said("target", "echo", ["[" * 9_000 + "]" * 9_000]),
            self._said("target", "takeMany", ["1"] * 5_000),
            self._said("target", "keepState", ['"a"', "1"], f',"S":{{"a":"{big}"}}'),
            self._said("target", "echo", [f'{{"a":{"[0]," * 4_000}0}}']),
            self._said("target", "takeOptions", [f"{{{','.join(f'{chr(34)}k{n}{chr(34)}:1' for n in range(2_000))}}}"]),
        )


def choice_of(chance: Random, *those: Any) -> Any:
    return chance.choice(those)
