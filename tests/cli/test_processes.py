"""What `--reload` looks at."""

from __future__ import annotations

import os

from persistconn.cli.processes import snapshot


def test_python_files_and_nothing_else(tmp_path):
    for name in ("a.py", "b.txt", "pack/c.py", ".hidden/d.py", "node_modules/e.py", "env/pyvenv.cfg", "env/lib/f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    assert sorted(os.path.relpath(path, tmp_path) for path in snapshot(tmp_path)) == ["a.py", "pack/c.py"]


def test_a_file_that_vanishes_meanwhile_is_left_out(tmp_path):
    (tmp_path / "dangling.py").symlink_to(tmp_path / "gone")
    assert snapshot(tmp_path) == {}
