"""The context that every job receives, and the jobs that need no thread of their own. Runs in the FrameFetchers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar

from ahi.cache.cache import Cache
from ahi.cache.lru import LRUCache
from ahi.client.calls import AhiClient
from ahi.client.searches import ImageSetSearches
from ahi.codecs.frames import FRAME_BYTES
from ahi.codecs.pixel_memory import PixelMemory
from ahi.image_sets.image_set import METADATA_BYTES
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.scheduler import JobCall
from ahi.workers.shared_runs import SharedRuns
from ahi.workers.verification import Verification

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

NATIVE_CACHE_BYTES = 2**26
"""Native pixels that a FrameFetcher keeps in memory for the next rendering."""

RENDERED_CACHE_BYTES = 2**25
"""Rendered images that a FrameFetcher keeps in memory before they are worth a file."""


@dataclass(frozen=True)
class JobLimits:
    """The largest inputs of a job: bytes of a decoded frame, and of the text of an image set's metadata."""

    frame_bytes: int = FRAME_BYTES
    metadata_bytes: int = METADATA_BYTES


@dataclass(frozen=True)
class WorkerContext:
    """The services of a FrameFetcher. Keys: frame IDs in `native_frame_cache`, cache names in `rendered_cache`."""

    client: AhiClient
    cache: Cache
    versions: VersionCache
    limits: JobLimits = JobLimits()
    pixel_memory: PixelMemory = field(default_factory=lambda: PixelMemory(FRAME_BYTES))
    verification: Verification = field(default_factory=Verification)
    background: "BackgroundJobs" = field(default_factory=lambda: BackgroundJobs())
    shared_runs: SharedRuns = field(default_factory=SharedRuns)
    searches: ImageSetSearches = field(default_factory=ImageSetSearches)
    native_frame_cache: LRUCache[str, bytes] = field(default_factory=lambda: LRUCache(NATIVE_CACHE_BYTES))
    rendered_cache: LRUCache[str, bytes] = field(default_factory=lambda: LRUCache(RENDERED_CACHE_BYTES))


JobFunction = Callable[Concatenate[WorkerContext, P], R]


class BackgroundJobs:
    """Jobs that a FrameFetcher runs when it has nothing else to do. Nobody waits for their results."""

    def __init__(self) -> None:
        self._submit: Callable[[JobCall], bool] | None = None

    def bind(self, submit: Callable[[JobCall], bool]) -> None:
        """`submit` queues a call and returns whether there was room for it."""
        self._submit = submit

    def submit(self, job: JobFunction[P, R], *arguments: P.args, **_none: P.kwargs) -> bool:
        """Run a job later. Return False when too many jobs are queued, or no FrameFetcher is running."""
        return self._submit is not None and self._submit(JobCall(job, arguments))


def runs_inline(
    predicate: Callable[Concatenate[WorkerContext, P], bool],
) -> Callable[[JobFunction[P, R]], JobFunction[P, R]]:
    """Mark a job that ends within a few milliseconds where `predicate` is true of its arguments, without AHI.

    The leader of a FrameFetcher runs such a job itself, before it listens again.
    """

    def mark(job: JobFunction[P, R]) -> JobFunction[P, R]:
        job.runs_inline_if = predicate  # type: ignore[attr-defined]  # a function may have attributes
        return job

    return mark


def is_run_inline(context: WorkerContext, call: JobCall) -> bool:
    """Whether the leader runs a call itself."""
    predicate = getattr(call.job, "runs_inline_if", None)
    try:
        return predicate is not None and bool(predicate(context, *call.arguments))
    except Exception:  # wrong arguments are reported by the job itself
        log.exception("it is not known whether a job runs inline job=%s", call.job.__name__)
        return False
