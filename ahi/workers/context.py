"""The context that each job receives, and how jobs are marked. Runs in the FrameFetcher processes."""

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
"""How many bytes of native pixels a fetcher holds in memory for the next drawing."""

RENDERED_CACHE_BYTES = 2**25
"""How many bytes of pictures a fetcher holds in memory that are not worth a file yet."""


@dataclass(frozen=True)
class JobLimits:
    """How much a job may take on: bytes of a decoded frame, and of the text of an image set's metadata."""

    frame_bytes: int = FRAME_BYTES
    metadata_bytes: int = METADATA_BYTES


@dataclass(frozen=True)
class WorkerContext:
    """What a job has at hand in its fetcher; `native_frame_cache` is by frame ID, `rendered_cache` by cache name."""

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
    """Jobs that a fetcher does when it has nothing else to do, and for whose result nobody waits."""

    def __init__(self) -> None:
        self._take: Callable[[JobCall], bool] | None = None

    def bind(self, take: Callable[[JobCall], bool]) -> None:
        """`take` queues a request, and says whether there was room for it."""
        self._take = take

    def submit(self, job: JobFunction[P, R], *arguments: P.args, **_none: P.kwargs) -> bool:
        """Have a job done later; False where there is too much to do, or no fetcher to do it."""
        return self._take is not None and self._take(JobCall(job, arguments))


def runs_inline(
    says: Callable[Concatenate[WorkerContext, P], bool],
) -> Callable[[JobFunction[P, R]], JobFunction[P, R]]:
    """Mark a job that is over in a few milliseconds where `says` is true of its arguments: no call to AHI, little work.

    A fetcher does such a job before it listens again.
    """

    def marked(job: JobFunction[P, R]) -> JobFunction[P, R]:
        job.is_brief = says  # type: ignore[attr-defined]  # a function may have attributes
        return job

    return marked


def is_run_inline(context: WorkerContext, request: JobCall) -> bool:
    """Whether a fetcher need not listen while it does what is requested."""
    says = getattr(request.job, "is_brief", None)
    try:
        return says is not None and bool(says(context, *request.arguments))
    except Exception:  # the job says itself what is wrong with its arguments, if it is these
        log.exception("it is not known whether a job is brief job=%s", request.job.__name__)
        return False
