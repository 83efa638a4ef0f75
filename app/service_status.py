"""What all processes share about how the service does, for the people who run it. Made before the fork."""

import time
from dataclasses import dataclass, field

from app.check_board import CheckBoard
from app.telemetry.history import History
from app.telemetry.replacements import Replacements
from app.telemetry.request_metrics import RequestMetrics
from runtime.outage import Outage
from runtime.shared_metrics import SharedMetrics


@dataclass(frozen=True)
class ServiceStatus:
    """Counters, outages, replaced processes, the history of a day, and the check.

    `traces_outage` is None if traces are not asked for. `started_at` is a time of the monotonic clock.
    """

    counters: SharedMetrics
    requests: RequestMetrics
    index_outage: Outage
    ahi_outage: Outage
    traces_outage: Outage | None = None
    replacements: Replacements = field(default_factory=Replacements)
    history: History = field(default_factory=History)
    check: CheckBoard = field(default_factory=CheckBoard)
    started_at: float = field(default_factory=time.monotonic)

    @classmethod
    def alone(cls) -> "ServiceStatus":
        """The status of a process without others."""
        return cls(SharedMetrics(1), RequestMetrics(1), Outage("index"), Outage("AHI"))
