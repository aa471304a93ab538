"""Tokens: only what we signed is read, for the purpose, route, connection and user it was signed for."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import ConfigurationError
from persistconn.wire.tokens import GroupsToken, Signer, Tokens, new_aspnetcore_id, new_connection_id, new_epoch

KEY = b"0123456789abcdef"
OLD_KEY = b"an older key of some length"
SIGNER = Signer([KEY])
TOKENS = Tokens(SIGNER)

any_text = st.text(st.characters(codec=None, categories=None) | st.characters(categories=["Cs"]), max_size=40)


# Signer -----------------------------------------------------------------------------------------


@given(any_text, st.lists(any_text, max_size=6))
def test_what_was_signed_is_read_again(purpose: str, fields: list[str]) -> None:
    token = SIGNER.sign(purpose, *fields)
    assert re.fullmatch("[A-Za-z0-9_-]*", token)
    assert SIGNER.verify(purpose, token) == tuple(fields)


@given(any_text, any_text, st.lists(any_text, max_size=3))
def test_a_token_is_worth_nothing_for_another_purpose(purpose: str, other: str, fields: list[str]) -> None:
    verified = SIGNER.verify(other, SIGNER.sign(purpose, *fields))
    assert (verified is not None) == (purpose == other)


@given(st.lists(any_text, max_size=3), st.lists(any_text, max_size=3))
def test_different_fields_give_different_tokens(one: list[str], other: list[str]) -> None:
    assert (SIGNER.sign("p", *one) == SIGNER.sign("p", *other)) == (one == other)


def test_a_field_cannot_slip_into_the_purpose() -> None:
    assert SIGNER.sign("ab", "c") != SIGNER.sign("a", "bc")
    assert SIGNER.verify("a", SIGNER.sign("a\x00b")) is None


@given(any_text | st.text("ABCabc-_=+/ 0", max_size=60) | st.binary(max_size=80).map(lambda b: b.hex()))
def test_garbage_is_nothing(token: str) -> None:
    assert SIGNER.verify("p", token) is None


@given(st.data())
def test_no_character_of_a_token_can_be_changed(data: st.DataObject) -> None:
    token = SIGNER.sign("p", "id1", "ann")
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=+/.\n"))
    changed = token[:at] + letter + token[at + 1 :]
    assert (SIGNER.verify("p", changed) is not None) == (changed == token)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token + "é",
        lambda token: token[:5] + "*" + token[5:],
        lambda token: token * 2000,
        lambda token: "A",
        lambda token: "AAAA",
        lambda token: "",
    ],
)
def test_one_token_has_one_spelling(spoil: object) -> None:
    token = SIGNER.sign("p", "id1", "ann")
    assert callable(spoil)
    assert SIGNER.verify("p", spoil(token)) is None


def test_a_token_has_a_tag_of_128_bits() -> None:
    tag = hmac.digest(KEY, b"\x00\x00\x00\x01p" + b"\x00\x00\x00\x01x", "sha256")[:16]
    assert SIGNER.sign("p", "x") == urlsafe_b64encode(b"\x00\x00\x00\x01x" + tag).rstrip(b"=").decode()


def test_the_first_key_signs_and_all_verify() -> None:
    both = Signer([KEY, OLD_KEY])
    assert both.sign("p", "x") == SIGNER.sign("p", "x")
    assert both.verify("p", Signer([OLD_KEY]).sign("p", "x")) == ("x",)
    assert SIGNER.verify("p", Signer([OLD_KEY]).sign("p", "x")) is None


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ([], "secret_keys is empty"),
        ([KEY, b"short"], r"secret_keys\[1\] must be at least 16 bytes"),
        (["a text of more than 16"], r"secret_keys\[0\] must be at least 16 bytes"),
        (KEY, "must be a list of keys"),
        ("0123456789abcdef", "must be a list of keys"),
    ],
)
def test_keys_that_cannot_work_are_refused(keys: list[bytes], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Signer(keys)


# Ids --------------------------------------------------------------------------------------------


@given(st.binary(min_size=16, max_size=16))
def test_a_connection_id_is_a_random_guid(chance: bytes) -> None:
    made = new_connection_id(lambda count: chance[:count])
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made)


@given(st.binary(min_size=16, max_size=16))
def test_an_id_of_aspnetcore_can_stand_in_a_url_as_it_is(chance: bytes) -> None:
    made = new_aspnetcore_id(lambda count: chance[:count])
    assert re.fullmatch("[A-Za-z0-9_-]{22}", made)
    assert urlsafe_b64decode(made + "==") == chance


@given(st.binary(min_size=8, max_size=8))
def test_an_epoch_goes_into_a_url_as_it_is(chance: bytes) -> None:
    assert re.fullmatch("[a-z2-7]{8}", new_epoch(lambda count: chance[:count]))


def test_epochs_differ_with_chance() -> None:
    assert new_epoch(lambda count: bytes(range(count))) == "abcdefgh"


# The connection token ---------------------------------------------------------------------------


@given(st.sampled_from(["", "/echo"]), any_text, any_text | st.none())
def test_a_connection_token_tells_id_and_user(route: str, connection_id: str, user: str | None) -> None:
    token = TOKENS.connection(route, connection_id, user)
    assert TOKENS.read_connection(route, token) == (connection_id, user or "")


def test_a_connection_token_is_good_on_its_route_only() -> None:
    assert TOKENS.read_connection("/chat", TOKENS.connection("/echo", "id1", "ann")) is None


def test_a_groups_token_is_no_connection_token() -> None:
    assert TOKENS.read_connection("/echo", TOKENS.groups("/echo", "id1", None, [], 1, 50.0)) is None
    assert TOKENS.read_groups("/echo", "id1", None, TOKENS.connection("/echo", "id1", None), 0.0) is None


def test_a_token_that_is_known_is_read_as_strictly_as_one_that_is_not() -> None:
    token = TOKENS.connection("/echo", "id1", "ann")
    for tokens in (TOKENS, Tokens(SIGNER)):  # one has made it, the other sees it for the first time
        for _ in range(2):
            assert tokens.read_connection("/echo", token) == ("id1", "ann")
            for at in range(len(token)):
                changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
                assert tokens.read_connection("/echo", changed) is None
            for wrong in (token[:-1], token + "A", token + "=", token[:-1] + "é", token[-22:], ""):
                assert tokens.read_connection("/echo", wrong) is None
            assert tokens.read_connection("/chat", token) is None


def test_tokens_are_remembered_within_bounds() -> None:
    tokens = Tokens(SIGNER)
    made = [tokens.connection("/echo", f"id{n}", "x" * (n % 400)) for n in range(1500)]
    for n, token in enumerate(made):
        assert tokens.read_connection("/echo", token) == (f"id{n}", "x" * (n % 400))


# The groups token -------------------------------------------------------------------------------


@given(st.lists(any_text, max_size=5), st.integers(0, 2**63), st.floats(1, 1e10))
def test_a_groups_token_tells_the_groups_until_it_expires(groups: list[str], version: int, expires: float) -> None:
    token = TOKENS.groups("/echo", "id1", "ann", groups, version, expires)
    expected = GroupsToken(tuple(groups), version)
    assert TOKENS.read_groups("/echo", "id1", "ann", token, expires - 1) == expected
    assert TOKENS.read_groups("/echo", "id1", "ann", token, expires + 1) is None


def test_a_groups_token_ends_at_its_moment() -> None:
    token = TOKENS.groups("/echo", "id1", None, ["blue"], 3, 100.0)
    assert TOKENS.read_groups("/echo", "id1", None, token, 99.999) == GroupsToken(("blue",), 3)
    assert TOKENS.read_groups("/echo", "id1", None, token, 100.0) is None


@pytest.mark.parametrize(
    ("route", "connection_id", "user"),
    [("/chat", "id1", "ann"), ("/echo", "id2", "ann"), ("/echo", "id1", "bob"), ("/echo", "id1", None)],
)
def test_somebody_elses_groups_are_nothing(route: str, connection_id: str, user: str | None) -> None:
    token = TOKENS.groups("/echo", "id1", "ann", ["blue"], 1, 100.0)
    assert TOKENS.read_groups(route, connection_id, user, token, 0.0) is None


def test_the_users_name_ignores_case() -> None:
    token = TOKENS.groups("/echo", "id1", "Ann", ["blue"], 1, 100.0)
    assert TOKENS.read_groups("/echo", "id1", "aNN", token, 0.0) == GroupsToken(("blue",), 1)


def test_garbage_has_no_groups() -> None:
    assert TOKENS.read_groups("/echo", "id1", None, "garbage", 0.0) is None
