"""Metrics for Prometheus. Needs the extra `prometheus`.

Names are those of OpenTelemetry as Prometheus spells them: `signalr_server_active_connections`,
`persistconn_messages_sent_total`, `signalr_server_connection_duration_seconds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..app import App
from ..protocol.statistics import Ended
from .instruments import BUCKETS, DURATION, INSTRUMENTS, Instrument, Look, attributes_of

__all__ = ["StatisticsCollector", "add_metrics"]

_UNITS = {"s": "_seconds", "By": "_bytes"}


def _spelt(name: str) -> str:
    return name.replace(".", "_")


class StatisticsCollector(Collector):
    """Reads the statistics of an app whenever it is asked: `REGISTRY.register(StatisticsCollector(app))`.

    `labels` stand on everything, and tell several apps of one registry apart.

    >>> from persistconn import App
    >>> app = App(secret_keys=["a secret of 16 or more"])
    >>> [metric.name for metric in StatisticsCollector(app).collect()]  # nothing else while it does not run
    ['signalr_server_connection_duration_seconds']
    """

    def __init__(self, app: App, *, labels: Mapping[str, str] | None = None) -> None:
        self._look = Look(app)
        self._labels = dict(labels or {})
        self._duration = Histogram(
            _spelt(DURATION.name) + _UNITS[DURATION.unit],
            DURATION.description,
            [*map(_spelt, DURATION.attributes), *self._labels],
            buckets=BUCKETS,
            registry=None,
        )
        app.on_connection_ended(self._note)

    def collect(self) -> Iterable[Metric]:
        """Every metric, as it is now."""
        statistics = self._look()
        if statistics is not None:
            for one in INSTRUMENTS:
                family = self._family(one)
                for attributes, value in one.values(statistics):
                    family.add_metric([*[attributes[name] for name in one.attributes], *self._labels.values()], value)
                yield family
        yield from self._duration.collect()

    def describe(self) -> Iterable[Metric]:
        """The same without values."""
        yield from map(self._family, INSTRUMENTS)
        yield from self._duration.describe()

    def _family(self, one: Instrument) -> CounterMetricFamily | GaugeMetricFamily:
        kind = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
        name = _spelt(one.name) + _UNITS.get(one.unit, "")
        return kind(name, one.description, labels=[*map(_spelt, one.attributes), *self._labels])

    def _note(self, ended: Ended) -> None:
        values = attributes_of(ended)
        labels = [*[values[name] for name in DURATION.attributes], *self._labels.values()]
        self._duration.labels(*labels).observe(ended.duration)


def add_metrics(app: App, path: str = "/metrics", *, registry: CollectorRegistry = REGISTRY) -> None:
    """Answer GET of exactly `path` with all that `registry` has, the statistics of `app` among it.

    Anybody can read it there who can reach the app: let your proxy keep strangers away.

    >>> from persistconn import App
    >>> add_metrics(App(secret_keys=["a secret of 16 or more"]), registry=CollectorRegistry())
    """
    registry.register(StatisticsCollector(app))
    app.add_page(path, lambda request: generate_latest(registry), CONTENT_TYPE_LATEST, {"Cache-Control": "no-store"})
