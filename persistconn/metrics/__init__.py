"""What `App.statistics()` says, for OpenTelemetry (`metrics.otel`) and for Prometheus (`metrics.prometheus`).

Each module needs the extra of its name, and is imported by who wants it. Nothing is paid per message: what is counted
anyway is read when somebody asks, and only the end of a connection is told.
"""

from __future__ import annotations

__all__: list[str] = []
