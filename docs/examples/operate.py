"""An app that can be watched: health, metrics, and log lines that name the connection."""

import logging

from prometheus_client import REGISTRY, CollectorRegistry

from persistconn import App, Connection, PersistentConnection
from persistconn.metrics.otel import instrument
from persistconn.metrics.prometheus import add_metrics

logger = logging.getLogger("chat")


class Chat(PersistentConnection):
    async def on_received(self, connection: Connection, data: str) -> None:
        logger.info("a message of %d characters", len(data), extra=connection.log_extra)
        await self.broadcast(data)


def make_app(registry: CollectorRegistry = REGISTRY) -> App:
    app = App()
    app.add_connection("/chat", Chat())
    app.add_health()  # at /health
    add_metrics(app, registry=registry)  # at /metrics
    instrument(app)  # for whatever SDK of OpenTelemetry is set up
    return app


def log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter(
            "%(levelname)s %(name)s [%(connection_id)s %(transport)s %(route)s] %(message)s",
            defaults={"connection_id": "-", "transport": "-", "route": "-"},  # of records about nothing of the kind
        )
    )
    for name in ("chat", "persistconn"):
        logging.getLogger(name).addHandler(handler)


class WithoutQueries(logging.Filter):
    """Takes what stands behind the `?` out of addresses: tokens, ids, messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                value.partition("?")[0] if isinstance(value, str) and value.startswith("/") else value
                for value in record.args
            )
        return True


def keep_queries_out_of_uvicorns_log() -> None:
    for name in ("uvicorn.access", "uvicorn.error"):  # the second one tells of WebSockets
        logging.getLogger(name).addFilter(WithoutQueries())
