"""The state of everything that the service depends on and consists of, as rows of the page. Runs in the web processes.

Nothing is asked: the rows come from what the processes have noted. So they are there at once, whatever hangs.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from app.console.readings import read_size
from app.console.texts import Texts
from app.service_status import ServiceStatus
from app.services import Services
from app.telemetry.replacements import Reason
from runtime.outage import Outage
from runtime.shared_metrics import Metric
from store.spool.spool import OLD_SECONDS

GOOD, WARN, BAD, OFF = "good", "warn", "bad", "quiet"

_REASONS = {Reason.DIED: "status_died", Reason.HUNG: "status_hung", Reason.MEMORY: "status_grew"}
_SECONDS = {"status_days": 86_400, "status_hours": 3600, "status_minutes": 60}


@dataclass(frozen=True)
class Fact:
    """A row: the key of its name, one of GOOD, WARN, BAD and OFF, the state in words, and details."""

    name: str
    level: str
    state: str
    details: str = ""


class Facts:
    """Makes the rows."""

    def __init__(self, services: Services, status: ServiceStatus, texts: Texts) -> None:
        self._services, self._settings = services, services.settings
        self._status, self._texts = status, texts

    def rows(self, now: float) -> list[Fact]:
        """All rows; `now` is a time of the monotonic clock."""
        return [
            self._service(now),
            self._index(),
            self._ahi(),
            *self._store(),
            self._cache(),
            self._fetchers(),
            self._audit(),
            *self._traces(),
            *self._replaced(),
        ]

    def _service(self, now: float) -> Fact:
        since = self.duration(now - self._status.started_at)
        details = self._texts(
            "status_service_details",
            processes=self._settings.web_processes,
            connections=self._total(Metric.CLIENT_CONNECTIONS),
        )
        return Fact("status_service", GOOD, self._texts("status_runs", duration=since), details)

    def _index(self) -> Fact:
        most = self._settings.web_processes * self._settings.db_pool_size + 1
        in_use = self._total(Metric.INDEX_CONNECTIONS_IN_USE)
        details = self._texts("status_index_details", kind=self._services.index.kind, number=in_use, most=most)
        return self._dependency("status_index", self._status.index_outage, details)

    def _ahi(self) -> Fact:
        details = self._texts(
            "status_ahi_details",
            region=self._settings.aws_default_region or "",
            again=self._number(Metric.AHI_RETRIES),
            throttled=self._number(Metric.AHI_THROTTLES),
        )
        if self._settings.embedded:
            details = self._texts.status_ahi_embedded
        return self._dependency("status_ahi", self._status.ahi_outage, details)

    def _store(self) -> Iterator[Fact]:
        if not self._settings.store:
            return
        entries, age_seconds = self._total(Metric.SPOOL_ENTRIES), self._total(Metric.SPOOL_AGE_SECONDS)
        refused = self._total(Metric.SPOOL_REFUSED) + self._total(Metric.SPOOL_UNKNOWN)
        details = self._texts("status_spool_details", number=f"{entries:,}", refused=f"{refused:,}")
        if self._total(Metric.SPOOL_UNREADABLE):
            yield Fact("status_spool", BAD, self._texts.status_spool_unreadable, details)
        elif age_seconds > OLD_SECONDS or refused:
            yield Fact("status_spool", WARN, self._texts.status_look, details)
        else:
            yield Fact("status_spool", GOOD, self._texts.status_good, details)

    def _cache(self) -> Fact:
        damaged, refused = self._total(Metric.CACHE_DAMAGED), self._total(Metric.CACHE_REFUSED)
        try:
            free_bytes = shutil.disk_usage(self._settings.cache_root).free
        except OSError as error:
            return Fact("status_cache", BAD, self._texts.status_cache_unreadable, error.strerror or "")
        details = self._texts(
            "status_cache_details",
            free=read_size(free_bytes),
            most=read_size(self._settings.cache_max_bytes),
            written=read_size(self._total(Metric.CACHE_WRITTEN_BYTES)),
            evicted=read_size(self._total(Metric.CACHE_EVICTED_BYTES)),
            refused=f"{refused:,}",
            damaged=f"{damaged:,}",
        )
        if free_bytes < self._settings.cache_min_free_bytes:
            return Fact("status_cache", WARN, self._texts.status_cache_full, details)
        return Fact("status_cache", GOOD, self._texts.status_good, details)

    def _fetchers(self) -> Fact:
        details = self._texts(
            "status_fetchers_details",
            number=self._settings.frame_fetchers,
            running=self._number(Metric.JOBS_RUNNING),
            waiting=self._number(Metric.JOBS_QUEUED),
            done=self._number(Metric.JOBS_DONE),
            refused=self._number(Metric.JOBS_REFUSED),
        )
        return Fact("status_fetchers", GOOD, self._texts.status_good, details)

    def _audit(self) -> Fact:
        if self._settings.audit == "none":
            return Fact("status_audit", OFF, self._texts.status_off, self._texts.status_audit_off)
        details = self._texts("status_audit_details", kind=self._settings.audit)
        if self._total(Metric.AUDIT_FAILING):
            return Fact("status_audit", BAD, self._texts.status_audit_failing, details)
        return Fact("status_audit", GOOD, self._texts.status_good, details)

    def _traces(self) -> Iterator[Fact]:
        if self._status.traces_outage:
            yield self._dependency("status_traces", self._status.traces_outage, "")

    def _replaced(self) -> Iterator[Fact]:
        """The processes that were replaced; one row for all."""
        found = [
            self._texts("status_replaced_one", process=kind.value, number=number, reason=self._texts(_REASONS[reason]))
            for (kind, reason), number in self._status.replacements.totals().items()
            if number
        ]
        level, state = (WARN, self._texts.status_look) if found else (GOOD, self._texts.status_good)
        yield Fact("status_replaced", level, state, ", ".join(found) or self._texts.status_replaced_none)

    def _dependency(self, name: str, outage: Outage, details: str) -> Fact:
        seconds = outage.seconds
        if seconds is None:
            return Fact(name, GOOD, self._texts.status_good, details)
        return Fact(name, BAD, self._texts("status_away", duration=self.duration(seconds)), details)

    def duration(self, seconds: float) -> str:
        """A duration in words, in the largest unit of which there is one."""
        for key, length in _SECONDS.items():
            if seconds >= length:
                return self._texts(key, number=int(seconds // length))
        return self._texts("status_seconds", number=int(max(0.0, seconds)))

    def _total(self, metric: Metric) -> int:
        return self._status.counters.total(metric)

    def _number(self, metric: Metric) -> str:
        return f"{self._total(metric):,}"
