"""One tree of exceptions; a peer's error carries the answer."""

from __future__ import annotations

from persistconn import errors


def test_everything_is_below_one_root() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.PersistconnError)


def test_a_remote_error_carries_the_answer_to_give() -> None:
    error = errors.RemoteProtocolError("No.", status=413, close_code=1009)
    assert (str(error), error.status, error.close_code) == ("No.", 413, 1009)
    assert (errors.RemoteProtocolError("x").status, errors.RemoteProtocolError("x").close_code) == (400, 1002)
