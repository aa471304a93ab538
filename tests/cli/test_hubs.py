"""`persistconn hubs`: the script as a file."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner, Result

from persistconn.cli import main

APP = """
from persistconn import App, ConfigurationError

class Stub(App):
    scripts = {}

    def hub_scripts(self):
        if self.scripts is None:
            raise ConfigurationError("hub 'Hub' would be $.connection.hub")
        return self.scripts

none, one, two, bad = Stub(), Stub(), Stub(), Stub()
one.scripts = {"/signalr": "größe();\\n"}
two.scripts = {"/b": "b();", "/a/": "a();\\n"}
bad.scripts = None
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a module of apps; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "apps_with_hubs.py").write_text(APP)
    yield tmp_path
    sys.modules.pop("apps_with_hubs", None)


def run(app: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["hubs", f"apps_with_hubs:{app}", *options])


def refusal(app: str, *options: str) -> str:
    result = run(app, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr.removeprefix("Error: ").strip()


def test_a_file(folder):
    result = run("one", "--out", "hubs.js")
    assert (result.exit_code, result.output) == (0, "hubs.js: the hubs at /signalr (11 bytes)\n")
    assert (folder / "hubs.js").read_bytes() == "größe();\n".encode()


def test_the_standard_output(folder):
    result = run("one", "--out", "-")
    assert (result.exit_code, result.stdout_bytes) == (0, "größe();\n".encode())


@pytest.mark.parametrize(("path", "text"), [("/a", "a();\n"), ("/b/", "b();\n")])
def test_one_of_several(folder, path, text):
    assert run("two", "--path", path, "--out", "-").stdout == text


def test_several_and_none_chosen():
    assert refusal("two", "--out", "-") == (
        "apps_with_hubs:two has hubs at several paths: choose one of /a/, /b with --path."
    )


def test_a_path_without_hubs():
    assert refusal("one", "--out", "-", "--path", "/rt") == "apps_with_hubs:one has no hubs at /rt, but at /signalr."


def test_no_hubs():
    assert refusal("none", "--out", "-") == "apps_with_hubs:none has no hubs: it needs app.add_hubs(…)."


def test_hubs_that_cannot_be_written():
    assert refusal("bad", "--out", "-") == "hub 'Hub' would be $.connection.hub"


def test_a_file_that_cannot_be_written(folder):
    assert "nowhere" in refusal("one", "--out", "nowhere/hubs.js")


def test_typescript(folder):
    assert refusal("one", "--out", "hubs.ts").startswith("hubs.ts is TypeScript")


def test_check(folder):
    result = run("one", "--out", "hubs.js", "--check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "hubs.js is not there: write it with `persistconn hubs`, without --check.\n"
    assert not (folder / "hubs.js").exists()
    run("one", "--out", "hubs.js")
    result = run("one", "--out", "hubs.js", "--check")
    assert (result.exit_code, result.stdout) == (0, "hubs.js is up to date\n")
    (folder / "hubs.js").write_text("old();\n")
    result = run("one", "--out", "hubs.js", "--check")
    assert (result.exit_code, "is not what the app has now" in result.stderr) == (1, True)
    assert (folder / "hubs.js").read_text() == "old();\n"


def test_check_needs_a_file():
    assert refusal("one", "--out", "-", "--check") == "--check compares a file: it cannot go with --out -."
