"""The events of store requests: when a client is answered, and when what nobody waited for has its outcome."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from app.audit.event import Event, EventKind
from app.audit.queue import AuditQueue
from store.outcome import Outcome, Sender

FORWARDED = "forwarded"
"""The resource of an event that no request is answered with: the forwarder has stored what was accepted before."""

_MOST_INSTANCES = 200  # of one message about instances that were sent: a datagram has 64 KiB


def store_events(event: Event, outcomes: Iterable[Outcome]) -> list[Event]:
    """An event for the instances of each study and each outcome; the event itself if no instance was received."""
    groups: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for outcome in outcomes:
        key = (outcome.study_instance_uid, int(outcome.failure or 0))
        groups.setdefault(key, []).append((outcome.sop_class_uid, outcome.sop_instance_uid))
    return [
        replace(event, study_instance_uid=study, reason=reason, stored=tuple(instances[at : at + _MOST_INSTANCES]))
        for (study, reason), instances in groups.items()
        for at in range(0, len(instances), _MOST_INSTANCES)
    ] or [event]


def note_forwarded(trail: AuditQueue | None) -> Callable[[Sender, Sequence[Outcome]], None]:
    """A function that adds outcomes of which no client is told to the audit trail, if there is one."""

    def note(sender: Sender, outcomes: Sequence[Outcome]) -> None:
        event = Event(EventKind.STORE, user=sender.user, ae_title=sender.ae_title, resource=FORWARDED)
        if trail:
            for one in store_events(event, outcomes):
                trail.note(one)

    return note
