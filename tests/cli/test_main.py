"""The command itself."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from click.testing import CliRunner

import persistconn
from persistconn.cli import COMMANDS, main


def test_version():
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"persistconn {persistconn.__version__}\n")


def test_help_names_every_command():
    result = CliRunner().invoke(main, ["-h"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert importlib.import_module(COMMANDS[name]).__all__


def test_an_unknown_command_is_refused():
    result = CliRunner().invoke(main, ["swerve"])
    assert result.exit_code == 2
    assert "No such command 'swerve'" in result.stderr


def test_python_dash_m():
    result = subprocess.run([sys.executable, "-m", "persistconn", "--version"], capture_output=True, text=True)
    assert result.stdout == f"persistconn {persistconn.__version__}\n"
