"""The rules of the house: who may import whom, what the pure zone is kept free of, how long things may get.

Each rule is a function from one module's source to complaints. The rules are run over the package, and
over small bad snippets, so that we know each of them can fail.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import persistconn

ROOT = Path(__file__).resolve().parent.parent / "persistconn"

# errors, settings ◄ wire ◄ bus ◄ protocol ◄ connection, host, app ◄ drivers ◄ client ◄ hubs ◄ cli
LAYERS = (
    ("errors", "settings"),
    ("wire",),
    ("bus",),
    ("protocol",),
    (
        *("connection", "host", "app"),
        *(
            "asyncio_tasks",
            "callbacks",
            "from_thread",
            "gate",
            "groups",
            "lifetime",
            "outlet",
            "page",
            "sending",
            "statistics",
            "tasks",
        ),
    ),
    ("drivers",),
    ("client", "sync", "publisher", "metrics"),
    ("hubs",),
    ("cli", "__main__"),
    ("testing",),  # imported by nobody
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
ENTRANCE = RANK["client"]
"""From here on upwards modules may use the public names, `from persistconn import …`; below, that would be a cycle."""

PURE = ("errors", "settings", "wire", "bus", "protocol")
PURE_HUBS = (
    *("calls", "classic", "json_text"),
    *("messages", "aspnetcore_json", "aspnetcore_messagepack", "messagepack_values"),
    *("failures", "handshake", "ids", "replay", "session", "stages"),
)
IMPURE = frozenset(
    {
        *("anyio", "asyncio", "sniffio", "trio", "uvloop"),
        *("select", "selectors", "socket", "socketserver", "ssl"),
        *("_thread", "concurrent", "multiprocessing", "signal", "subprocess", "threading"),
        *("os", "random", "secrets", "tempfile", "time", "uuid"),
    }
)
PURE_LIBRARIES = frozenset({"h11", "msgspec", "typing_extensions", "wsproto"})
CLOCKS = frozenset({"now", "utcnow", "today"})
EXCEPTIONS = frozenset({("persistconn.settings", "os")})
"""Settings.from_env is the one place that reads the environment."""

HTTP_LIBRARIES = frozenset({"h11", "wsproto"})
HTTP_MODULES = ("persistconn.protocol.http1", "persistconn.protocol.websocket", "persistconn.testing.socketless")

SEAMS: frozenset[tuple[str, str]] = frozenset(
    ("persistconn.app", f"persistconn.hubs.{room}")
    for room in ("clients", "filters", "hub", "messagepack_values", "mount")
) | {("persistconn.app", "persistconn.drivers.asgi")}
"""App puts the rooms together, so its methods may import what is listed here, (module, target), though it lies
above. Nothing else may, and what nobody uses any more is taken off the list."""

NOT_FOR_DRIVERS = (
    "persistconn.hubs",
    "persistconn.wire.classic",
    "persistconn.wire.aspnetcore",
    "persistconn.wire.dialect",
    "persistconn.wire.transports",
)
WORDS_NOT_FOR_DRIVERS = frozenset(
    {"webSockets", "serverSentEvents", "longPolling", "foreverFrame", "classic", "aspnetcore"}
)

MOST_LINES = 400
MOST_FUNCTION_LINES = 60
LONG_FILES: frozenset[str] = frozenset()
LONG_FUNCTIONS: frozenset[str] = frozenset()
WITHOUT_ALL = frozenset({"persistconn.__main__"})
DRAWERS = frozenset({"utils", "util", "helpers", "helper", "misc", "common", "manager", "managers"})


@dataclass(frozen=True)
class Import:
    """One imported module; `name` is what was taken from it, if anything."""

    target: str
    name: str | None
    line: int
    lazy: bool
    typing_only: bool


@dataclass(frozen=True)
class Module:
    """A module's dotted name and its source, with `known`: the dotted names of all modules."""

    name: str
    source: str
    known: frozenset[str]
    is_package: bool = False

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def room(self) -> str:
        return room_of(self.name)

    @property
    def is_pure(self) -> bool:
        parts = self.name.split(".")
        return self.room in PURE or (self.room == "hubs" and parts[-1] in PURE_HUBS)


def room_of(name: str) -> str:
    return [*name.split("."), ""][1]


def find_modules() -> list[Module]:
    paths: dict[str, Path] = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    known = frozenset(paths)
    return [Module(n, p.read_text("utf-8"), known, p.name == "__init__.py") for n, p in paths.items()]


def imports_of(module: Module) -> list[Import]:
    found: list[Import] = []
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]

    def visit(node: ast.AST, lazy: bool, typing_only: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, None, node.lineno, lazy, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                target, name = (whole, None) if whole in module.known else (source, alias.name)
                found.append(Import(target, name, node.lineno, lazy, typing_only))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, lazy, True)
            for child in node.orelse:
                visit(child, lazy, typing_only)
        else:
            lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                visit(child, lazy, typing_only)

    visit(module.tree, False, False)
    return found


def is_ours(target: str) -> bool:
    return target.partition(".")[0] == "persistconn"


def one_direction(module: Module) -> Iterator[str]:
    """A module imports only from its own room or from those to the left of it, for types too."""
    if module.name == "persistconn":
        return  # the public face: it names everything, and imports it when asked for
    for found in imports_of(module):
        if not is_ours(found.target):
            continue
        if found.target == "persistconn":
            if RANK[module.room] < ENTRANCE:
                yield f"{module.name}:{found.line} imports from persistconn itself"
        elif room_of(found.target) not in RANK:
            yield f"{module.name}:{found.line} imports {found.target}, which is in no layer"
        elif RANK[room_of(found.target)] > RANK[module.room]:
            if not (found.lazy or found.typing_only) or (module.name, found.target) not in SEAMS:
                yield f"{module.name}:{found.line} imports {found.target}, which lies above it"


def every_module_has_a_layer(module: Module) -> Iterator[str]:
    if module.name != "persistconn" and module.room not in RANK:
        yield f"{module.name} is in no layer"
    if set(module.name.split(".")) & DRAWERS:
        yield f"{module.name} is a drawer: name it after its one responsibility"


def pure_zone(module: Module) -> Iterator[str]:
    """No I/O, clock or chance in the pure zone; h11 and wsproto where the bytes of HTTP are read and written."""
    for found in imports_of(module):
        top = found.target.partition(".")[0]
        if top in HTTP_LIBRARIES and not module.name.startswith(HTTP_MODULES):
            yield f"{module.name}:{found.line} imports {top}"
        if not module.is_pure or is_ours(found.target):
            continue
        if top in IMPURE and (module.name, top) not in EXCEPTIONS:
            yield f"{module.name}:{found.line} imports {top} in the pure zone"
        elif top not in sys.stdlib_module_names and top not in PURE_LIBRARIES:
            yield f"{module.name}:{found.line} imports {top}, a foreign library, in the pure zone"
    if module.is_pure:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in CLOCKS and "date" in ast.unparse(node.value):
                yield f"{module.name}:{node.lineno} reads a clock in the pure zone"


def hubs_use_the_public_face(module: Module) -> Iterator[str]:
    """Hubs are a guest: whatever they can do, anyone's layer on top can."""
    if module.room != "hubs":
        return
    for found in imports_of(module):
        if not is_ours(found.target) or room_of(found.target) == "hubs":
            continue
        if found.target != "persistconn" or found.name not in persistconn.__all__:
            name = f"{found.target}.{found.name}" if found.name else found.target
            yield f"{module.name}:{found.line} uses {name}, which persistconn does not export"


def drivers_decide_nothing(module: Module) -> Iterator[str]:
    """A driver moves bytes; which dialect or transport they belong to is not its business."""
    if module.room != "drivers":
        return
    for found in imports_of(module):
        if found.target.startswith(NOT_FOR_DRIVERS):
            yield f"{module.name}:{found.line} imports {found.target}: drivers know no dialect, transport or hub"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in WORDS_NOT_FOR_DRIVERS:
            yield f"{module.name}:{node.lineno} names {node.value!r}: drivers know no dialect or transport"


def nothing_grows_too_long(module: Module) -> Iterator[str]:
    lines = len(module.source.splitlines())
    if lines > MOST_LINES and module.name not in LONG_FILES:
        yield f"{module.name} has {lines} lines, over {MOST_LINES}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            about = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
            length = (node.end_lineno or 0) - node.lineno + 1 - about
            if length > MOST_FUNCTION_LINES and f"{module.name}.{node.name}" not in LONG_FUNCTIONS:
                yield f"{module.name}.{node.name} has {length} lines, over {MOST_FUNCTION_LINES}"


def says_what_it_is_and_shows(module: Module) -> Iterator[str]:
    """The first line names the responsibility; `__all__` says what is public."""
    if not ast.get_docstring(module.tree):
        yield f"{module.name} does not say what it is for"
    assigned = {
        target.id
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    empty = module.is_package and len(module.tree.body) <= 1
    if "__all__" not in assigned and not empty and module.name not in WITHOUT_ALL:
        yield f"{module.name} has no __all__"


def no_excuses(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.source.splitlines(), 1):
        for excuse in ("# pragma: no cover", "TODO", "FIXME"):
            if excuse in line:
                yield f"{module.name}:{number} says {excuse}"


RULES = (
    one_direction,
    every_module_has_a_layer,
    pure_zone,
    hubs_use_the_public_face,
    drivers_decide_nothing,
    nothing_grows_too_long,
    says_what_it_is_and_shows,
    no_excuses,
)
MODULES = find_modules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule):
    assert [complaint for module in MODULES for complaint in rule(module)] == []


BAD = [
    (one_direction, "persistconn.wire.x", "from ..bus import post", "lies above it"),
    (one_direction, "persistconn.wire.x", "def f():\n    from persistconn.protocol import y", "lies above it"),
    (one_direction, "persistconn.bus.x", "if TYPE_CHECKING:\n    from ..host import Host", "lies above it"),
    (one_direction, "persistconn.protocol.x", "from .. import host", "lies above it"),
    (one_direction, "persistconn.app", "from .drivers.server import serve", "lies above it"),
    (one_direction, "persistconn.app", "def f():\n    from .cli import main", "lies above it"),
    (one_direction, "persistconn.host", "def f():\n    from .drivers.server import serve", "lies above it"),
    (one_direction, "persistconn.wire.x", "from persistconn import Settings", "itself"),
    (one_direction, "persistconn.wire.x", "from ..nowhere import y", "in no layer"),
    (one_direction, "persistconn.cli.x", "from ..testing import Client", "lies above it"),
    (every_module_has_a_layer, "persistconn.attic.x", "", "in no layer"),
    (every_module_has_a_layer, "persistconn.wire.utils", "", "drawer"),
    (pure_zone, "persistconn.wire.x", "import asyncio", "imports asyncio"),
    (pure_zone, "persistconn.bus.x", "def f():\n    from time import monotonic", "imports time"),
    (pure_zone, "persistconn.protocol.x", "import os.path", "imports os"),
    (pure_zone, "persistconn.errors", "import os", "imports os"),
    (pure_zone, "persistconn.wire.x", "import requests", "foreign library"),
    (pure_zone, "persistconn.hubs.calls", "import uuid", "imports uuid"),
    (pure_zone, "persistconn.wire.x", "import datetime\ndatetime.datetime.now()", "reads a clock"),
    (pure_zone, "persistconn.protocol.server", "import h11", "imports h11"),
    (pure_zone, "persistconn.drivers.x", "from wsproto.events import Ping", "imports wsproto"),
    (hubs_use_the_public_face, "persistconn.hubs.x", "from ..wire.http import Request", "does not export"),
    (hubs_use_the_public_face, "persistconn.hubs.x", "from persistconn import host", "does not export"),
    (drivers_decide_nothing, "persistconn.drivers.x", "from ..wire.classic import C", "know no"),
    (drivers_decide_nothing, "persistconn.drivers.x", "if t == 'longPolling': pass", "know no"),
    (nothing_grows_too_long, "persistconn.x", "x = 1\n" * 401, "401 lines"),
    (nothing_grows_too_long, "persistconn.x", "def f():\n" + "    x = 1\n" * 60, "61 lines"),
    (says_what_it_is_and_shows, "persistconn.x", "__all__ = ['y']", "what it is for"),
    (says_what_it_is_and_shows, "persistconn.x", '"""X."""\ny = 1', "no __all__"),
    (no_excuses, "persistconn.x", "y = 1  # " + "TO" + "DO", "says"),
]


@pytest.mark.parametrize(("rule", "name", "source", "complaint"), BAD)
def test_each_rule_can_fail(rule, name, source, complaint):
    known = frozenset({"persistconn.host", "persistconn.bus.post"})
    assert [complaint in found for found in rule(Module(name, source, known))] == [True]


GOOD = [
    (one_direction, "persistconn.bus.x", "from ..wire.http import Request"),
    (pure_zone, "persistconn.settings", "import os"),
    (pure_zone, "persistconn.protocol.http1_read", "import h11"),
    (pure_zone, "persistconn.drivers.x", "import asyncio"),
    (hubs_use_the_public_face, "persistconn.hubs.x", "from persistconn import App, Settings"),
    (drivers_decide_nothing, "persistconn.drivers.x", "from ..wire.http import Request"),
    (nothing_grows_too_long, "persistconn.x", "def f():\n    '''" + "\n" * 70 + "'''\n    return 1"),
]


@pytest.mark.parametrize(("rule", "name", "source"), GOOD)
def test_no_rule_forbids_too_much(rule, name, source):
    assert list(rule(Module(name, source, frozenset()))) == []


def test_a_seam_is_for_methods_alone(monkeypatch):
    monkeypatch.setitem(globals(), "SEAMS", frozenset({("persistconn.app", "persistconn.drivers.server")}))
    lazy = Module("persistconn.app", "def f():\n    from .drivers.server import serve", frozenset())
    eager = Module("persistconn.app", "from .drivers.server import serve", frozenset())
    assert list(one_direction(lazy)) == []
    assert len(list(one_direction(eager))) == 1


def cycles(graph: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()
    found: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" → ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
    return found


def test_no_module_imports_itself_in_a_circle():
    at_import = {
        module.name: {i.target for i in imports_of(module) if is_ours(i.target) and not i.lazy and not i.typing_only}
        for module in MODULES
    }
    assert cycles(at_import) == []
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b → c → b"]


def test_the_seams_of_app_are_used():
    """A seam nobody uses is a hole."""
    (app,) = [module for module in MODULES if module.name == "persistconn.app"]
    used = {(app.name, i.target) for i in imports_of(app) if (app.name, i.target) in SEAMS}
    assert used == SEAMS


def test_the_core_leaves_the_event_loops_alone():
    loops = "{'asyncio', 'anyio', 'trio', 'socket', 'ssl'}"
    script = f"import sys, persistconn.protocol; print(*sorted({loops} & {{*sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
