"""What the service tells of itself: logs, figures and traces. Every layer but the core may use it."""

from app.telemetry.logs import configure_logs, drop_echoes

__all__ = ["configure_logs", "drop_echoes"]
