"""Metrics for OpenTelemetry. Needs the extra `otel`, which is only the API: who runs the SDK decides what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from .. import __version__
from ..app import App
from ..protocol.statistics import Ended
from .instruments import BUCKETS, DURATION, INSTRUMENTS, Instrument, attributes_of, read

__all__ = ["instrument"]


def instrument(
    app: App, *, meter_provider: MeterProvider | None = None, attributes: Mapping[str, str] | None = None
) -> None:
    """Let OpenTelemetry read the statistics of `app`, with `attributes` on everything, from now on.

    Call it once, before or while the app is served. Without a `meter_provider` the global one is asked.

    >>> from opentelemetry.metrics import NoOpMeterProvider
    >>> from persistconn import App
    >>> instrument(App(secret_keys=["a secret of 16 or more"]), meter_provider=NoOpMeterProvider())
    """
    meter = get_meter("persistconn", __version__, meter_provider)
    always = dict(attributes or {})
    for one in INSTRUMENTS:
        create = meter.create_observable_counter
        if one.kind == "gauge":
            create = meter.create_observable_up_down_counter
        create(one.name, [_observer(app, one, always)], unit=one.unit, description=one.description)
    duration = meter.create_histogram(
        *(DURATION.name, DURATION.unit, DURATION.description), explicit_bucket_boundaries_advisory=BUCKETS
    )

    def note(ended: Ended) -> None:
        duration.record(ended.duration, {**attributes_of(ended), **always})

    app.on_connection_ended(note)


def _observer(
    app: App, instrument: Instrument, always: Mapping[str, str]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        statistics = read(app)
        if statistics is None:
            return []
        return [Observation(value, {**attributes, **always}) for attributes, value in instrument.values(statistics)]

    return observe
