"""Late messages are dropped; ids of calls, uploads and results do not get in each other's way."""

from __future__ import annotations

from msgspec import Raw

from persistconn.hubs.ids import Ids
from persistconn.hubs.messages import Cancel, Completion, Invocation, StreamItem
from persistconn.hubs.stages import UploadEnd

ITEM = Raw(b"1")


def test_a_stream_ends_before_its_id_is_used_again() -> None:
    ids = Ids()
    ticks = Invocation("Ticks", [], "1", is_stream=True)
    assert ids.place(Cancel("1")) is None
    assert ids.admit(ticks) and not ids.admit(ticks)
    assert ids.place(Cancel("1")) == Cancel("1")
    ids.end_stream("1")
    assert ids.place(Cancel("1")) is None
    assert ids.admit(ticks)


def test_plain_calls_may_share_an_id() -> None:
    ids = Ids()
    assert ids.admit(Invocation("Add", [], "1")) and ids.admit(Invocation("Add", [], "1"))
    assert ids.place(Cancel("1")) is None


def test_an_upload_takes_items_until_either_side_ends_it() -> None:
    ids = Ids()
    assert ids.place(StreamItem("2", ITEM)) is None
    ids.admit(Invocation("Ingest", [], "3", stream_ids=("1", "2")))
    assert ids.place(StreamItem("2", ITEM)) == StreamItem("2", ITEM)
    assert ids.place(Completion("2", error="no more")) == UploadEnd("2", "no more")
    assert ids.place(StreamItem("2", ITEM)) is None
    ids.end_uploads(["1", "2"])
    assert ids.place(StreamItem("1", ITEM)) is None
    assert ids.place(Completion("1")) is None


def test_a_result_comes_once() -> None:
    ids = Ids()
    first, second = ids.expect_result(), ids.expect_result()
    assert (first, second) == ("s1", "s2")
    assert ids.place(Completion("s1", ITEM)) == Completion("s1", ITEM)
    assert ids.place(Completion("s1", ITEM)) is None
    ids.forget_result("s2")
    assert ids.place(Completion("s2", ITEM)) is None


def test_an_upload_comes_before_a_result_of_the_same_id() -> None:
    ids = Ids()
    ids.expect_result()
    ids.admit(Invocation("Ingest", [], stream_ids=("s1",)))
    assert ids.place(Completion("s1", ITEM)) == UploadEnd("s1", None)
    assert ids.place(Completion("s1", ITEM)) == Completion("s1", ITEM)
