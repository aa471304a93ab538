"""What an App refuses: in its own words, and before anything is served."""

from __future__ import annotations

from typing import Any

import pytest

from persistconn import App, ConfigurationError, PersistconnError, PersistentConnection


def test_settings_are_no_dictionary() -> None:
    with pytest.raises(ConfigurationError, match=r"settings is dict: it must be Settings"):
        App(settings={"keep_alive": 5})  # type: ignore[arg-type]  # on purpose


def test_one_key_is_not_a_list_of_keys() -> None:
    with pytest.raises(ConfigurationError, match="must be a list of keys"):
        App(secret_keys="a secret of 16 or more")


def test_one_dialect_may_be_given_by_its_name() -> None:
    App(dialects="classic").add_connection("/talk", PersistentConnection(), dialects="classic")
    with pytest.raises(ConfigurationError, match="there are 'classic' and 'aspnetcore'"):
        App(dialects="klingon")


def test_a_page_needs_a_path_and_bytes() -> None:
    app = App()
    with pytest.raises(ConfigurationError, match="must begin with /"):
        app.add_page("page", b"", "text/html")
    text: Any = "words"
    with pytest.raises(TypeError, match="body is str: it must be bytes"):
        app.add_page("/", text, "text/html")


async def test_from_thread_on_the_event_loop_does_not_wait_for_itself() -> None:
    app = App(secret_keys=["a secret of 16 or more"])
    talk = PersistentConnection()
    app.add_connection("/talk", talk)
    async with app.running():
        with pytest.raises(PersistconnError, match="await the function instead"):
            app.from_thread.run(talk.broadcast, "words")
