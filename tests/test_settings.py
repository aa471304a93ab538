"""Settings: defaults that fit together, clear errors for those that do not, and the environment."""

from __future__ import annotations

import os

import pytest

from persistconn import ConfigurationError, Settings


def test_the_defaults_are_those_of_the_genuine_server() -> None:
    settings = Settings()
    assert (settings.keep_alive, settings.keep_alive_timeout) == (10, 20)
    assert (settings.disconnect_timeout, settings.connection_timeout) == (30, 110)
    assert (settings.transport_connect_timeout, settings.long_poll_delay) == (5, 0)
    assert (settings.ring_messages, settings.max_message_size) == (1000, 65_536)
    assert settings.groups_lifetime == 300
    assert Settings(groups_token_lifetime=60).groups_lifetime == 60
    assert Settings(keep_alive=None).keep_alive_timeout is None


def test_who_shortens_the_disconnect_timeout_need_not_set_the_keep_alive() -> None:
    assert Settings(disconnect_timeout=6).keep_alive == 2
    assert Settings(disconnect_timeout=60).keep_alive == 10


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"jsonp": "no"}, "jsonp is 'no': it must be True or False"),
        ({"max_connections": 1.5}, "max_connections is 1.5: it must be a whole number"),
        ({"max_connections": None}, "max_connections is None: it must be a whole number"),
        ({"max_connections": True}, "max_connections is True: it must be a whole number"),
        ({"keep_alive": "5"}, "keep_alive is '5': it must be a number or None"),
        ({"disconnect_timeout": 5}, "disconnect_timeout is 5: it must be at least 6 seconds"),
        ({"keep_alive": 1}, "keep_alive is 1: it must be at least 2 seconds and at most a third"),
        ({"keep_alive": 11}, "a third of disconnect_timeout, 10; None turns it off"),
        ({"max_message_size": 0}, "max_message_size is 0: it must be at least 1 byte; None lifts it"),
        ({"max_body_size": 0}, "max_body_size is 0: it must be at least 1 byte"),
        ({"slow_policy": "shout"}, "slow_policy is 'shout': it must be 'disconnect' or 'skip'"),
        ({"ring_messages": 31}, "ring_messages is 31: it must be at least 32"),
        ({"ring_age": 0}, "ring_age is 0: it must be greater than 0"),
        ({"max_sockets": -1}, "max_sockets is -1: it must not be negative"),
        ({"groups_token_lifetime": 59}, "groups_token_lifetime is 59: it must be at least twice disconnect_timeout"),
    ],
)
def test_a_setting_that_cannot_work_says_which_and_why(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(**wrong)  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_no_limit_on_messages() -> None:
    assert Settings(max_message_size=None).max_message_size is None


def test_the_environment_is_read_by_type() -> None:
    settings = Settings.from_env(
        {
            "PERSISTCONN_DISCONNECT_TIMEOUT": "60",
            "PERSISTCONN_KEEP_ALIVE": "none",
            "PERSISTCONN_MAX_CONNECTIONS": "7",
            "PERSISTCONN_JSONP": "Yes",
            "PERSISTCONN_DETAILED_ERRORS": "off",
            "PERSISTCONN_SLOW_POLICY": " skip ",
            "PERSISTCONN_MAX_MESSAGE_SIZE": "",
            "HOME": "/",
        }
    )
    assert settings == Settings(
        disconnect_timeout=60, keep_alive=None, max_connections=7, jsonp=True, slow_policy="skip", max_message_size=None
    )
    assert isinstance(settings.max_connections, int)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("PERSISTCONN_KEEP_ALIFE", "1", "PERSISTCONN_KEEP_ALIFE is not a setting; there are PERSISTCONN_KEEP_ALIVE"),
        ("PERSISTCONN_JSONP", "maybe", "PERSISTCONN_JSONP is 'maybe': use yes or no"),
        ("PERSISTCONN_MAX_CONNECTIONS", "many", "PERSISTCONN_MAX_CONNECTIONS is 'many': it must be a number"),
        ("PERSISTCONN_DISCONNECT_TIMEOUT", "1", "disconnect_timeout is 1.0: it must be at least 6 seconds"),
    ],
)
def test_an_environment_that_cannot_work_says_which_and_why(name: str, value: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({name: value})
    assert text in str(caught.value)


def test_the_process_has_an_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PERSISTCONN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PERSISTCONN_RING_AGE", "5.5")
    assert Settings.from_env().ring_age == 5.5
