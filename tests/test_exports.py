"""The public names: pinned, resolvable, documented."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import inspect
import pkgutil
import subprocess
import sys
import types
import typing
from collections.abc import Iterator

import pytest

import persistconn

PUBLIC = [
    "App",
    "ConfigurationError",
    "Connection",
    "ConnectionClosed",
    "DisconnectReason",
    "Format",
    "Group",
    "Groups",
    "Identity",
    "LocalProtocolError",
    "Payload",
    "PersistconnError",
    "PersistentConnection",
    "ProtocolError",
    "Redirect",
    "Refusal",
    "RemoteProtocolError",
    "Replay",
    "Reply",
    "Request",
    "Settings",
    "__version__",
    "serve",
]


def all_modules() -> Iterator[str]:
    yield "persistconn"
    for found in pkgutil.walk_packages(persistconn.__path__, "persistconn."):
        if found.name != "persistconn.__main__":
            yield found.name


MODULES = list(all_modules())


def test_what_persistconn_exports():
    assert sorted(persistconn.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(persistconn))


def test_an_unknown_name_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = persistconn.nothing


def test_the_version_is_the_one_that_is_installed():
    assert persistconn.__version__ == importlib.metadata.version("persistconn")


def test_the_package_says_that_it_is_typed():
    assert importlib.resources.files("persistconn").joinpath("py.typed").is_file()


@pytest.mark.parametrize("name", MODULES)
def test_every_listed_name_resolves_once(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    assert [listed for listed in names if not hasattr(module, listed)] == []


def needs_docstring(value: object) -> bool:
    return isinstance(value, type | types.FunctionType) and str(value.__module__).startswith("persistconn")


def public_members(owner: type) -> Iterator[tuple[str, object]]:
    for name, value in vars(owner).items():
        if not name.startswith("_") and isinstance(value, types.FunctionType | property | classmethod | staticmethod):
            yield name, value


def undocumented(name: str, value: object) -> Iterator[str]:
    """A name, and each public method of a class, has a docstring (its own or the one it overrides)."""
    if not needs_docstring(value):
        return
    if not inspect.getdoc(value):
        yield name
    if isinstance(value, type):
        for member, _ in public_members(value):
            if not inspect.getdoc(getattr(value, member)) and not typing.is_typeddict(value):
                yield f"{name}.{member}"


@pytest.mark.parametrize("name", MODULES)
def test_every_listed_name_is_documented(name):
    module = importlib.import_module(name)
    listed = {listed: getattr(module, listed) for listed in getattr(module, "__all__", [])}
    assert [missing for key, value in listed.items() for missing in undocumented(key, value)] == []


def test_the_check_for_docstrings_can_fail():
    class Bare:
        def method(self) -> None: ...

    Bare.__module__ = "persistconn.bare"
    assert list(undocumented("Bare", Bare)) == ["Bare", "Bare.method"]


def test_importing_persistconn_imports_little():
    """`import persistconn` is cheap: names come when they are used."""
    script = "import sys, persistconn; print(*sorted({'anyio', 'asyncio', 'h11', 'click'} & {*sys.modules}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
