"""The state of the request that this thread answers, kept in `flask.g`. Runs in the web processes.

The gate sets `g.principal`, `g.rights`, `g.root`, `g.root_rule` and `g.scope`; for a share link, `g.link`.
Stores add notes for the middleware that runs later.
"""

import logging
from collections import Counter
from collections.abc import Sequence

from flask import g, has_request_context, request

from db.scope import Scope
from dicomweb.errors import Forbidden, ProxyError
from dicomweb.public_root import PublicRoot
from store.outcome import Outcome, Sender
from wado.locate import LocatedInstance

log = logging.getLogger(__name__)


def current_scope() -> Scope:
    """The part of the archive that the client may see below the root of the request."""
    scope: Scope = g.scope
    return scope


def current_public_root(public_url: str | None) -> str:
    """The URL of the service root, as this client reaches it."""
    return PublicRoot(public_url, g.root.path).of(request.environ)


def current_sender() -> Sender:
    """The client that stores, and the data store for it; Forbidden if there is none."""
    target: str | None = g.root.store_datastore_id
    if target is None or not current_scope().has_datastore(target):
        raise Forbidden("nothing can be stored here: no data store is set for this path, or you may not see it")
    return Sender(g.principal.user, g.root.ae_title, target)


def note_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Keep what has become of the instances that were received, for the audit."""
    g.store_outcomes = outcomes


def note_operation(operation: str, targets: Sequence[str], status: int) -> None:
    """Note what an operator does, to what, and with which status, for the audit. Names tell nothing of patients."""
    g.audit_subject, g.operation_status = " ".join((operation, *targets)), status


def note_sop_classes(located: Sequence[LocatedInstance]) -> None:
    """Count the SOP classes of the instances that the request is about, for the audit."""
    g.setdefault("sop_classes", Counter()).update(one.prepared.sop_class_uid for one in located)


def note_unchecked() -> None:
    """Note that AHI did not tell the latest version of an image set; nothing outside of a request."""
    if has_request_context():
        g.unchecked = True


def note_unreadable(errors: Sequence[ProxyError]) -> None:
    """Log that some image sets cannot be read, and note it for the Warning header."""
    log.warning("image sets left out count=%d reason=%s", len(errors), errors[0])
    if has_request_context():
        g.unreadable = f"left out, as they cannot be read: {len(errors)} image sets: {errors[0]}"


def current_root_rule() -> str:
    """The URL rule of the service root of the request, such as `/aetitle`."""
    rule: str = g.root_rule
    return rule
