"""The Store transaction (PS3.18 Section 10.5): receive, check, spool, forward, answer. Runs in the web processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from flask import Blueprint, Response, request

from dicomweb import respond
from dicomweb.errors import UpstreamBusy
from dicomweb.negotiation import Accept
from dicomweb.uids import parse_uid
from runtime.fairness import pausing
from store.answer import choose_media_type, make_answer
from store.forward.waiting import Cancelled, WaitingPage
from store.outcome import Outcome, ReceivedInstance, Sender
from store.receive.body import Stream, receiving
from store.receive.instances import Checks, Result, StoreScope, unique
from store.receive.request import BodyKind, announced_length, check_head
from store.spool.spool import Entry, Spool

NAME = "store"
_RETRY_SECONDS = 30


class Forwarder(Protocol):
    """Takes entries of the spool to the data store."""

    def store(self, entry: Entry) -> Sequence[Outcome]:
        """Wait for the outcome of each instance of an entry, in its order."""

    def notify(self, entry: Entry) -> None:
        """Tell that there is an entry, and do not wait."""

    def waiting(self, first: int, most: int, ae_titles: frozenset[str] | None = None) -> WaitingPage:
        """A page of the entries that wait; UpstreamBusy."""

    def cancel(self, name: str) -> Cancelled:
        """Have an entry that waits deleted; NotFound, Conflict, UpstreamBusy."""


@dataclass(frozen=True)
class StoreService:
    """All that the routes need.

    `waits`: an answer comes when the instances are stored, and else when the spool has them. `sender` and `scope` are
    those of the current request; `sender` raises Forbidden if there is no data store for it. `note_outcomes` takes the
    outcomes of the current request, for the audit.
    """

    spool: Spool
    forwarder: Forwarder
    waits: bool
    max_bytes: int
    sender: Callable[[], Sender]
    scope: Callable[[Sender], StoreScope]
    public_root: Callable[[], str]
    note_outcomes: Callable[[Sequence[Outcome]], None]

    def receive(self, kind: BodyKind, study: str, length_bytes: int, stream: Stream) -> list[Outcome]:
        """Store what is in a body of the current request, and note it for the audit; the outcomes in its order.

        Forbidden if there is no data store for the client, SpoolFull if there is no room for `length_bytes`.
        """
        sender = self.sender()
        self.spool.check_room(length_bytes)
        outcomes = self.store(kind, study, sender, stream)
        self.note_outcomes(outcomes)
        return outcomes

    def store(self, kind: BodyKind, study: str, sender: Sender, stream: Stream) -> list[Outcome]:
        """Receive a body and store what is in it; the outcome of each instance in the order of the body."""
        with pausing(), receiving(self.spool, stream, self.max_bytes) as body:
            results = [*Checks(study, self.scope(sender)).results(body, kind.files(body))]
            instances = unique(results)
            if not instances:
                return _outcomes(results, [], [])
            entry = self.spool.accept(body.path, instances, sender)
            if self.waits:
                return _outcomes(results, instances, self.forwarder.store(entry))
        self.forwarder.notify(entry)
        return _outcomes(results, instances, [Outcome.of(instance) for instance in instances])


def blueprint(service: StoreService) -> Blueprint:
    """The resources to which instances are posted."""
    routes = Blueprint(NAME, __name__)

    @routes.post("/studies")
    @routes.post("/studies/<study>")
    def store(study: str = "") -> Response:
        media_type = choose_media_type(Accept.from_request(request.query_string, request.headers.get("Accept")))
        named = parse_uid(study, "the study") if study else ""
        headers = dict(request.headers)
        kind = check_head(headers, service.max_bytes)
        outcomes = service.receive(kind, named, announced_length(headers), request.environ["wsgi.input"])
        if all(outcome.again for outcome in outcomes):
            raise UpstreamBusy(f"nothing was stored: {outcomes[0].detail or 'try again later'}", _RETRY_SECONDS)
        answer = make_answer(outcomes, media_type, service.public_root(), spooled=not service.waits)
        response = respond.single(answer.body, answer.content_type)
        response.status_code = answer.status
        response.headers["Cache-Control"] = "no-store"
        respond.varies(response, "Accept")
        return respond.warned(response, answer.warnings)

    return routes


def _outcomes(
    results: Sequence[Result], instances: Sequence[ReceivedInstance], stored: Sequence[Outcome]
) -> list[Outcome]:
    """The outcome for each result: that of the data store, if the instance went there."""
    by_uid = {instance.sop_instance_uid: outcome for instance, outcome in zip(instances, stored, strict=True)}
    return [result if isinstance(result, Outcome) else by_uid[result.sop_instance_uid] for result in results]
