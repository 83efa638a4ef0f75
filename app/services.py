"""The parts of one web process, made once and handed to every installer. Runs in the web processes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ahi.cache.cache import Cache
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.bad_frames import BadFrames
from ahi.retrieval.encoded_answers import EncodedAnswers
from ahi.retrieval.frames import Frames
from ahi.retrieval.located_image_sets import ImageSets
from ahi.retrieval.lookahead import FrameLookahead, PrefetchBudget
from ahi.retrieval.metadata_reader import MetadataReader
from ahi.retrieval.previous_versions import PreviousVersions
from ahi.retrieval.studies import IndexHint, Studies
from ahi.workers.pool import FetcherPool
from app.audit.queue import AuditQueue
from app.auth.configure import open_gate
from app.auth.gate import Gate
from app.deleted_image_sets import DeletedRowFilter
from app.lazy_writer import LazyWriter
from app.middleware.rate_limiter import RateLimiter
from app.request_state import (
    current_public_root,
    current_scope,
    current_sender,
    note_outcomes,
    note_sop_classes,
    note_unchecked,
    note_unreadable,
)
from app.service_roots import ServiceRoot, all_roots
from app.service_status import ServiceStatus
from app.session_state import SessionState
from app.setting_parsers import ANSWER_STORED, EXPLICIT_LE, STORED
from app.settings import Settings
from app.store_scope import RequestStoreScope
from app.telemetry.request_metrics import ProcessRequestMetrics
from db.engine import Database
from db.image_sets import find_datastore_ids, find_image_sets
from db.scope import EVERYTHING, Scope
from dicomweb.negotiation import FileChoice
from dicomweb.transfer_syntax import FrameEncoding
from dicomweb.uids import is_well_formed
from qido.image_sets.archive import Archive
from qido.image_sets.index_checks import IndexChecks
from runtime.changes import Changes
from runtime.shared_metrics import ProcessMetrics
from store.outcome import Sender
from store.routes import Forwarder, StoreService
from store.spool.spool import Spool
from wado.locate import Locator
from wado.rendered.rendered_images import RenderedImages

if TYPE_CHECKING:  # loads OpenTelemetry, which only a service with traces needs
    from app.telemetry.spans import Spans

_ENCODINGS = {STORED: FrameEncoding.STORED, EXPLICIT_LE: FrameEncoding.NATIVE}


@dataclass(frozen=True)
class Monitoring:
    """The counters, traces and audit of one process; None for each that the settings do not ask for.

    `status` is of all processes; None in a process without others.
    """

    process_metrics: ProcessMetrics | None = None
    request_metrics: ProcessRequestMetrics | None = None
    audit_queue: AuditQueue | None = None
    spans: "Spans | None" = None
    status: ServiceStatus | None = None


@dataclass(frozen=True)
class Services:
    """Everything that the routes and the middleware of one web process use.

    `archive` answers searches, `locator` finds instances to retrieve. The prefetch process listens at
    `prefetch_socket`, "" if there is none. `session_state` is what all processes share of the sessions of people.
    `gate` has the logins and the access rules. `index_writer` has the login that writes to the index; None without one.
    All parts are safe to share between threads.
    """

    settings: Settings
    index: Database
    fetchers: FetcherPool
    monitoring: Monitoring
    rate_limiter: RateLimiter | None
    prefetch_socket: str
    roots: tuple[ServiceRoot, ...]
    frames: Frames
    encoded_answers: EncodedAnswers
    lookahead: FrameLookahead
    rendered_images: RenderedImages
    bad_frames: BadFrames
    studies: Studies
    locator: Locator
    archive: Archive
    deleted_rows: DeletedRowFilter
    store: StoreService | None
    session_state: SessionState
    gate: Gate
    index_writer: LazyWriter | None

    @classmethod
    def of(
        cls,
        settings: Settings,
        index: Database,
        fetchers: FetcherPool,
        monitoring: Monitoring | None = None,
        *,
        rate_limiter: RateLimiter | None = None,
        prefetch_socket: str = "",
        forwarder: Forwarder | None = None,
        changes: Changes | None = None,
        session_state: SessionState | None = None,
        index_writer: LazyWriter | None = None,
    ) -> "Services":
        """Make the parts of a process from its settings, its index and its fetchers.

        Without a `forwarder`, nothing can be stored. SettingsError if a file of users, tokens or rules cannot be used.
        """
        session_state = (session_state or SessionState()).with_secret(settings)
        monitoring = monitoring or Monitoring()
        bounds = (settings.cache_max_bytes, settings.cache_min_free_bytes)
        cache = Cache(settings.cache_root, *bounds, monitoring.process_metrics)
        fresh_seconds = settings.image_set_fresh_seconds
        image_sets = ImageSets(
            fetchers, cache, fresh_seconds=fresh_seconds, note_unchecked=note_unchecked, changes=changes
        )
        studies = Studies(hints_of(index), partial(find_datastore_ids, index), image_sets, fetchers, changes=changes)
        previous_versions = PreviousVersions(fetchers, cache, seconds=settings.image_set_old_seconds)
        lookahead = FrameLookahead(fetchers, cache, _lookahead_budget(settings))
        return cls(
            settings,
            index,
            fetchers,
            monitoring,
            rate_limiter,
            prefetch_socket,
            roots=all_roots(settings),
            frames=Frames(fetchers, cache),
            encoded_answers=EncodedAnswers(cache),
            lookahead=lookahead,
            rendered_images=RenderedImages(fetchers, cache, lookahead),
            bad_frames=BadFrames(cache),
            studies=studies,
            locator=Locator(studies, previous_versions, current_scope, note_sop_classes, note_unreadable),
            archive=_archive(settings, index, fetchers, image_sets, studies),
            deleted_rows=DeletedRowFilter(index, DeletedImageSets(cache)),
            store=_store(settings, forwarder, studies) if forwarder else None,
            session_state=session_state,
            gate=open_gate(settings, session_state),
            index_writer=index_writer,
        )

    def public_root(self) -> str:
        """The URL of the service root, as the client of the current request reaches it."""
        return current_public_root(self.settings.public_url)

    def search_scope(self) -> Scope:
        """The rows of the index that a search of the current request shows.

        Retrieval does not use it: it asks AHI, which may have an image set that a search hides.
        """
        return current_scope() & self.deleted_rows.scope()

    def may_see(self, study_instance_uid: str, series_instance_uid: str | None) -> bool:
        """Whether the client of the current request may see a study, or one series of it.

        A client who may see everything may name any well-formed UID, also one that the index does not have.
        """
        well_formed = is_well_formed(study_instance_uid)
        well_formed = well_formed and (series_instance_uid is None or is_well_formed(series_instance_uid))
        scope = current_scope()
        return (well_formed and scope == EVERYTHING) or self.studies.has(scope, study_instance_uid, series_instance_uid)


def hints_of(index: Database) -> Callable[[str, str | None], IndexHint]:
    """A function that looks up the image sets of a study or series in the index."""

    def hint(study_instance_uid: str, series_instance_uid: str | None) -> IndexHint:
        rows = find_image_sets(index, study_instance_uid, series_instance_uid)
        keys = tuple(ImageSetKey(row.datastore_id, row.image_set_id) for row in rows.image_sets)
        return IndexHint(keys, rows.known, rows.lossy, rows.complete)

    return hint


def file_choice(settings: Settings) -> FileChoice:
    """The transfer syntaxes that the operator prefers for DICOM objects."""
    return FileChoice(_ENCODINGS[settings.part10_unnamed], _ENCODINGS[settings.part10_any])


def _lookahead_budget(settings: Settings) -> PrefetchBudget:
    return PrefetchBudget(settings.prefetch_frames, min(settings.prefetch_max_bytes, settings.cache_max_bytes // 8))


def _store(settings: Settings, forwarder: Forwarder, studies: Studies) -> StoreService:
    def scope(sender: Sender) -> RequestStoreScope:
        return RequestStoreScope(current_scope(), sender.datastore_id, studies)

    waits = settings.store_answer == ANSWER_STORED
    return StoreService(
        Spool(settings.spool_root, settings.spool_min_free_bytes, lasts=not waits),
        forwarder,
        waits=waits,
        max_bytes=settings.store_max_bytes,
        sender=current_sender,
        scope=scope,
        public_root=partial(current_public_root, settings.public_url),
        note_outcomes=note_outcomes,
    )


def _archive(
    settings: Settings, index: Database, fetchers: FetcherPool, image_sets: ImageSets, studies: Studies
) -> Archive:
    checks = IndexChecks(index, studies) if len(fetchers) else None  # a test without fetchers has nothing but the index
    public_root = partial(current_public_root, settings.public_url)
    reader = MetadataReader(image_sets, fetchers)
    return Archive(index, reader, settings.search_max_image_sets, public_root, checks)
