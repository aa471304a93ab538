"""MODULE:APP, and what is said when it is none."""

from __future__ import annotations

import sys

import pytest

from persistconn import App
from persistconn.cli.loading import Refused, load_app


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def refusal(target: str) -> str:
    with pytest.raises(Refused) as caught:
        load_app(target)
    assert caught.value.exit_code == 2
    return caught.value.message


def test_an_app_in_the_current_folder(folder):
    (folder / "one_app.py").write_text("from persistconn import App\napp = App()\n")
    assert isinstance(load_app("one_app:app"), App)


def test_an_app_in_a_package_and_inside_an_object(folder):
    (folder / "pack").mkdir()
    (folder / "pack" / "inner.py").write_text(
        "from types import SimpleNamespace\nfrom persistconn import App\nsite = SimpleNamespace(app=App())\n"
    )
    assert isinstance(load_app("pack.inner:site.app"), App)


@pytest.mark.parametrize("target", ["echo", "echo:", ":app", "echo.py"])
def test_not_module_and_app(folder, target):
    assert refusal(target).startswith(f"{target!r} is not MODULE:APP: write 'echo:app' when echo.py has")


def test_a_file_instead_of_a_module(folder):
    (folder / "echo.py").write_text("")
    assert refusal("echo.py:app") == "'echo.py' is a file: name the module, 'echo:app'."


def test_no_such_module(folder):
    assert refusal("nowhere_at_all:app") == f"There is no module 'nowhere_at_all', neither in {folder} nor installed."


def test_a_module_that_imports_what_is_not_there(folder):
    (folder / "lacking.py").write_text("\nimport nowhere_at_all\n")
    place = folder / "lacking.py"
    assert refusal("lacking:app") == f"Importing lacking failed in {place}, line 2: No module named 'nowhere_at_all'."


def test_a_module_that_fails(folder):
    (folder / "failing.py").write_text("x = {}\nx['y']\n")
    assert refusal("failing:app") == f"Importing failing failed in {folder / 'failing.py'}, line 2: KeyError: 'y'"


def test_a_module_that_is_no_python(folder):
    (folder / "garbled.py").write_text("x = 1\ndef (\n")
    assert refusal("garbled:app").startswith(f"Importing garbled failed: {folder / 'garbled.py'}, line 2: ")


def test_a_name_that_is_not_there(folder):
    (folder / "named.py").write_text("from persistconn import App\nchat = App()\n")
    (folder / "bare.py").write_text("")
    assert refusal("named:app") == "named has no 'app'; its apps are: chat."
    assert refusal("bare:app") == "bare has no 'app'."


def test_something_that_is_no_app(folder):
    (folder / "other.py").write_text("from persistconn import App\ndef make(): return App()\n")
    assert refusal("other:make") == "other:make is of type function, and no persistconn.App."
    assert refusal("other:App") == "other:App is the class App, and no persistconn.App."
