"""Metrics for OpenTelemetry. Needs the extra `otel`, which is only the API: what comes of it is for an SDK to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from .. import __version__
from ..app import App
from ..protocol.statistics import Ended
from .instruments import BUCKETS, DURATION, INSTRUMENTS, Instrument, Look, attributes_of

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
    look = Look(app)
    for one in INSTRUMENTS:
        named = {"name": one.name, "unit": one.unit, "description": one.description}
        if one.kind == "counter":
            meter.create_observable_counter(callbacks=[_observer(look, one, always)], **named)
        else:
            meter.create_observable_up_down_counter(callbacks=[_observer(look, one, always)], **named)
    duration = meter.create_histogram(
        *(DURATION.name, DURATION.unit, DURATION.description), explicit_bucket_boundaries_advisory=BUCKETS
    )

    def note(ended: Ended) -> None:
        duration.record(ended.duration, {**attributes_of(ended), **always})

    app.on_connection_ended(note)


def _observer(
    look: Look, instrument: Instrument, always: Mapping[str, str]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        statistics = look()
        if statistics is None:
            return []
        return [Observation(value, {**attributes, **always}) for attributes, value in instrument.values(statistics)]

    return observe
