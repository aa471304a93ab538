"""MODULE:APP becomes an App, or one sentence that says why it does not."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from persistconn import App

__all__ = ["Refused", "load_app"]


class Refused(click.ClickException):
    """What was asked for cannot be done: one sentence, exit code 2."""

    exit_code = 2


def load_app(target: str) -> App:
    """Import MODULE, also from the current folder, and take APP from it.

    Raises Refused when there is no such module, its import fails, or APP is missing or no App.

    >>> load_app("echo")
    Traceback (most recent call last):
    ...
    persistconn.cli.loading.Refused: 'echo' is not MODULE:APP: write 'echo:app' when echo.py has `app = App()`.
    """
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        stem = module_name.removesuffix(".py").replace("/", ".") or "echo"
        file = stem.replace(".", "/")
        raise Refused(f"{target!r} is not MODULE:APP: write '{stem}:app' when {file}.py has `app = App()`.")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    found = _import(module_name, here)
    for name in path.split("."):
        if not hasattr(found, name):
            raise Refused(f"{module_name} has no {path!r}{_apps_in(found)}.")
        found = getattr(found, name)
    if not isinstance(found, App):
        what = f"the class {found.__name__}" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise Refused(f"{target} is {what}, and no persistconn.App.")
    return found


def _import(name: str, here: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            if name.endswith(".py"):
                raise Refused(f"{name!r} is a file: name the module, '{name.removesuffix('.py')}:app'.") from None
            raise Refused(f"There is no module {error.name!r}, neither in {here} nor installed.") from None
        raise Refused(f"Importing {name} failed{_place(error)}: {error}.") from error
    except SyntaxError as error:
        raise Refused(f"Importing {name} failed: {error.filename}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        raise Refused(f"Importing {name} failed{_place(error)}: {type(error).__name__}: {error}") from error


def _place(error: Exception) -> str:
    """The last line of the user's own code that the error passed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if os.path.isfile(frame.filename)]
    ours = os.path.dirname(os.path.abspath(__file__))
    frames = [frame for frame in frames if not frame.filename.startswith((ours, os.path.dirname(importlib.__file__)))]
    return f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


def _apps_in(module: object) -> str:
    names = (
        [name for name, value in vars(module).items() if isinstance(value, App)] if hasattr(module, "__dict__") else []
    )
    return f"; its apps are: {', '.join(names)}" if names else ""
