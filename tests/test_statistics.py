"""What an app says of itself: health, statistics, metrics. Clients of both dialects in one process."""

from __future__ import annotations

import json
import logging
import re
import runpy
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from persistconn import App, ConfigurationError
from persistconn.hubs import Hub, HubError
from persistconn.metrics.instruments import BUCKETS, DURATION, INSTRUMENTS, Look
from persistconn.metrics.otel import instrument
from persistconn.metrics.prometheus import StatisticsCollector, add_metrics
from persistconn.protocol.statistics import Ended
from persistconn.statistics import CallStatistics
from tests.hubs.aspnetcore_line import Rooms, open_house, settle
from tests.hubs.page import house
from tests.line import Line, http

DOCUMENTED = Path(__file__).parents[1] / "docs" / "howto" / "operate.md"


class Desk(Hub):
    async def add(self, a: int, b: int) -> int:
        return a + b

    async def fail(self) -> None:
        raise HubError("on purpose")


async def some_traffic(rooms: Rooms) -> None:
    """A classic page on a WebSocket and one that polls, and a client of ASP.NET Core; the page leaves."""
    page = await rooms.page("desk")
    polling = await rooms.home.page("desk", path="/hub", transport="longPolling")
    client = await rooms.client()
    assert (await page.call("desk", "add", 1, 2))["R"] == 3
    assert "E" in await page.call("desk", "fail")
    assert "R" in await polling.call("desk", "add", 1, 2)
    assert await client.ask("add", 1, 2) == ("result", 3)
    assert (await client.ask("fail"))[0] == "error"
    assert (await client.ask("nothing"))[0] == "error"
    await rooms.app.clients(Desk).all.tell("news")
    await settle()
    await page.stop()
    await settle()


async def get(rooms: Rooms, path: str) -> tuple[int, bytes]:
    line = Line(rooms.home.state)
    line.data_received(http(path))
    await settle()
    head, _, body = line.take().partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_statistics_tell_dialects_transports_and_hubs_apart() -> None:
    ended: list[Ended] = []
    async with open_house(Desk) as rooms:
        rooms.app.on_connection_ended(ended.append)
        await some_traffic(rooms)
        statistics = rooms.app.statistics()
        found = {f"{one.dialect} {one.transport}": one for one in statistics.transports}
        sockets, polls = found["classic webSockets"], found["classic longPolling"]
        core = found["aspnetcore webSockets"]
        assert (sockets.active, sockets.started, sockets.ended) == (0, 1, {"closed": 1})
        assert (polls.active, polls.started, polls.ended) == (1, 1, {})
        assert (core.active, core.started, core.ended) == (1, 1, {})
        assert sockets.messages_in == 2
        assert sockets.messages_out == 3, "two answers and the news"
        assert core.messages_out == 5, "a handshake, three answers and the news"
        assert all(one.bytes_out > one.messages_out for one in (sockets, core))
        assert (statistics.connections, statistics.attached) == (2, 1), "one is between two polls"
        assert statistics.calls == {"/hub/Desk": CallStatistics(6, 3)}
        assert statistics.tasks >= 2
        (end,) = ended
        assert (end.route, end.dialect, end.transport, end.reason) == ("/hub", "classic", "webSockets", "closed")
        assert 0 <= end.duration < 60


async def test_who_fails_when_told_of_an_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(ended: Ended) -> None:
        raise ValueError("on purpose")

    async with open_house(Desk) as rooms:
        rooms.app.on_connection_ended(fail)
        page = await rooms.page("desk")
        await page.stop()
        await settle()
        (record,) = [each for each in caplog.records if "failed" in each.getMessage()]
        assert (record.__dict__["connection_id"], record.__dict__["route"]) == (page.id, "/hub")
        caplog.clear()


async def test_health_is_a_page_that_knows_draining() -> None:
    app = App(secret_keys=["a key for the tests"])
    app.add_health()
    assert app.health()["status"] == "stopped"
    async with open_house(Desk, app=app) as rooms:
        client = await rooms.client()
        status, body = await get(rooms, "/health")
        assert (status, json.loads(body)) == (200, {"status": "running", "connections": 1})
        rooms.home.state.host.announce()
        status, body = await get(rooms, "/health")
        assert (status, json.loads(body)) == (503, {"status": "draining", "connections": 1})
        assert await client.ask("add", 1, 2) == ("result", 3), "all goes on"
        assert (await rooms.home.visitor("desk", path="/hub").negotiate())[0] == 200, "for newcomers, too"
        rooms.home.state.host.drain()
        await settle()
        assert app.health() == {"status": "draining", "connections": 0}
        assert (await rooms.home.visitor("desk", path="/hub").negotiate())[0] == 503


def test_where_health_stands_begins_with_a_slash() -> None:
    with pytest.raises(ConfigurationError, match="must begin with /"):
        App(secret_keys=["a key for the tests"]).add_health("health")


# Metrics ----------------------------------------------------------------------------------------


def exported(reader: InMemoryMetricReader) -> dict[str, dict[str, Any]]:
    """Every value that OpenTelemetry has, by name and attributes."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    metrics = [one for resource in data.resource_metrics for scope in resource.scope_metrics for one in scope.metrics]
    return {
        metric.name: {
            " ".join(str(value) for _, value in sorted((point.attributes or {}).items())): point
            for point in metric.data.data_points
        }
        for metric in metrics
    }


async def test_opentelemetry_sees_everything() -> None:
    app = App(secret_keys=["a key for the tests"])
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instrument(app, meter_provider=provider, attributes={"app": "desk"})
    assert exported(reader) == {}, "it does not run"
    async with open_house(Desk, app=app) as rooms:
        await some_traffic(rooms)
        found = exported(reader)
    provider.shutdown()
    assert set(found) >= {one.name for one in INSTRUMENTS if one.name != "persistconn.limit.reactions"}
    active = {attributes: point.value for attributes, point in found["signalr.server.active_connections"].items()}
    assert active == {
        "desk classic web_sockets": 0,
        "desk classic long_polling": 1,
        "desk aspnetcore web_sockets": 1,
    }
    assert found["persistconn.hub.calls.failed"]["desk /hub/Desk"].value == 3
    (duration,) = found[DURATION.name].values()
    assert duration.attributes["signalr.connection.status"] == "normal_closure"
    assert (duration.count, tuple(duration.explicit_bounds)) == (1, BUCKETS)


async def test_prometheus_reads_a_page() -> None:
    app = App(secret_keys=["a key for the tests"])
    registry = prometheus_client.CollectorRegistry()
    add_metrics(app, registry=registry)
    async with open_house(Desk, app=app) as rooms:
        await some_traffic(rooms)
        status, body = await get(rooms, "/metrics")
        assert status == 200
    labels = {"signalr_transport": "web_sockets", "persistconn_dialect": "classic"}
    text = body.decode()
    assert 'signalr_server_active_connections{persistconn_dialect="classic",signalr_transport="long_polling"} 1.0' in (
        "\n".join(_sorted_labels(line) for line in text.splitlines())
    )
    assert "persistconn_messages_sent_total{" in text
    assert "persistconn_transport_sent_bytes_total{" in text
    ended = {"signalr_connection_status": "normal_closure", **labels}
    assert registry.get_sample_value("signalr_server_connection_duration_seconds_count", ended) == 1
    assert registry.get_sample_value("persistconn_tasks") is None, "it runs no more"


def _sorted_labels(line: str) -> str:
    return re.sub(r"\{(.*)\}", lambda found: "{" + ",".join(sorted(found[1].split(","))) + "}", line)


def test_labels_tell_apps_of_one_registry_apart() -> None:
    registry = prometheus_client.CollectorRegistry()
    collector = StatisticsCollector(App(secret_keys=["a key for the tests"]), labels={"app": "desk"})
    registry.register(collector)
    names = {metric.name for metric in collector.describe()}
    assert len(names) == len(INSTRUMENTS) + 1


async def test_one_look_serves_a_whole_collection() -> None:
    now = 0.0
    async with open_house(Desk) as rooms:
        look = Look(rooms.app, lambda: now)
        first = look()
        assert look() is first
        now = 1.0
        assert look() is not first
    assert look() is None


def test_every_metric_is_documented() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\w+) \| `([^`]+)` \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert rows == [(one.name, one.kind, one.unit) for one in (DURATION, *INSTRUMENTS)]


def test_the_filter_leaves_no_query_in_uvicorns_log(caplog: pytest.LogCaptureFixture) -> None:
    example = runpy.run_path(str(DOCUMENTED.parents[1] / "examples" / "operate.py"))
    example["keep_queries_out_of_uvicorns_log"]()
    loggers = [logging.getLogger(name) for name in ("uvicorn.access", "uvicorn.error")]
    try:
        with caplog.at_level(logging.INFO):
            loggers[0].info('%s - "%s %s HTTP/%s" %d', "192.0.2.1:1", "GET", "/rt/poll?token=5ecret", "1.1", 200)
            loggers[1].info('%s - "WebSocket %s" [accepted]', "192.0.2.1:1", "/rt?id=5ecret")
            loggers[1].info("Started server process [%d]", 1)
    finally:
        for logger in loggers:
            logger.filters.clear()
    assert [record.getMessage() for record in caplog.records] == [
        '192.0.2.1:1 - "GET /rt/poll HTTP/1.1" 200',
        '192.0.2.1:1 - "WebSocket /rt" [accepted]',
        "Started server process [1]",
    ]


async def test_the_example_can_be_watched(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(DOCUMENTED.parents[1] / "examples" / "operate.py"))
    app = example["make_app"](prometheus_client.CollectorRegistry())
    async with house(app) as home:
        loggers = [logging.getLogger(name) for name in ("chat", "persistconn")]
        before = {logger: (logger.handlers[:], logger.level) for logger in loggers}
        example["log_to_stderr"]()
        loggers[0].setLevel(logging.INFO)
        try:
            page = await home.page(path="/chat")
            page.say("hello")
            assert await page.heard() == ["hello"]
        finally:
            for logger, (handlers, level) in before.items():
                logger.handlers[:] = handlers
                logger.setLevel(level)
    assert f"INFO chat [{page.id} webSockets /chat] a message of 5 characters" in capsys.readouterr().err
