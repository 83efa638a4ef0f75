"""AE titles: names in paths, each of which shows a part of the archive. Runs in every process, with the settings."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.scope import Scope
from dicomweb.errors import BadRequest
from qido.image_sets.row_filters import AttributeFilter, parse_filter

DEFAULT = "aetitle"

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,15}\Z")  # of AE (PS3.5 Section 6.2), without escapes
_DATASTORE_ID = re.compile(r"[0-9a-z]{32}\Z")
_RESERVED = {"link", "dcm4chee-arc", "console", "viewer"}
_MEMBERS = {"datastores", "filter"}


@dataclass(frozen=True)
class AeTitle:
    """One AE title."""

    name: str
    """The name in paths: 1 to 16 letters, digits, `.`, `_` and `-`; the first is no dot."""
    scope: Scope
    """The part of the archive that is visible below it."""
    store: str | None = None
    """The ID of the data store to which instances are stored below it; None if AE_TITLES does not say."""

    def target(self, usual: str | None) -> str | None:
        """The data store to which instances are stored: the one that it names, or its only one, or the `usual` one.

        None if there is none, or if it is not visible.
        """
        ids = self.scope.datastore_ids
        target = self.store or (next(iter(ids)) if ids and len(ids) == 1 else usual)
        return target if target and self.scope.has_datastore(target) else None


def parse_ae_titles(text: str) -> tuple[AeTitle, ...]:
    """Parse a JSON object by name: `{"research": {"datastores": ["..."], "filter": {"Modality": "MR"}}}`.

    `store` is the data store to which instances are stored. Without `datastores` all data stores are visible. Each
    value of `filter` is a text or a list of texts, one of which must match as in a search. ValueError says in one line
    what is wrong.
    """
    try:
        document = json.loads(text, object_pairs_hook=_each_once)
    except (json.JSONDecodeError, RecursionError):  # the latter for JSON that is nested thousands of times
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("is not a JSON object with a member for each AE title")
    return tuple(_ae_title(name, members) for name, members in document.items())


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"has {repeated[:32]!r} twice")
    return dict(pairs)


def _ae_title(name: str, members: Any) -> AeTitle:
    if name in _RESERVED:
        raise ValueError(f"has a name that is reserved: {name}")
    if not _NAME.match(name):
        raise ValueError(f"has a name that is not 1 to 16 letters, digits, `-`, `_`, and `.` but first: {name[:32]!r}")
    if not isinstance(members, dict) or not members.keys() <= _MEMBERS | {"store"}:
        raise ValueError(f"has other members than datastores, filter and store for {name}")
    scope = parse_scope(name, {member: value for member, value in members.items() if member != "store"})
    return AeTitle(name, scope, _store(name, members["store"], scope) if "store" in members else None)


def _store(name: str, value: Any, scope: Scope) -> str:
    if not isinstance(value, str) or not _DATASTORE_ID.match(value):
        raise ValueError(f"has a store that is not the ID of a data store for {name}")
    if not scope.has_datastore(value):
        raise ValueError(f"stores to a data store that is not visible for {name}")
    return value


def parse_datastore_id(text: str) -> str:
    """Check the ID of a data store."""
    if not _DATASTORE_ID.match(text):
        raise ValueError("is not the ID of a data store: 32 digits and lower-case letters")
    return text


def parse_scope(name: str, members: Any) -> Scope:
    """Parse an object with `datastores` and `filter`, which may be missing; ValueError names `name` and the problem."""
    if not isinstance(members, dict) or not members.keys() <= _MEMBERS:
        raise ValueError(f"has other members than {' and '.join(sorted(_MEMBERS))} for {name}")
    filters = members.get("filter", {})
    if not isinstance(filters, dict):
        raise ValueError(f"has a filter that is not an object of keywords and values for {name}")
    datastore_ids = frozenset(_datastore_ids(name, members["datastores"])) if "datastores" in members else None
    return Scope(datastore_ids, tuple(_filter(name, *pair) for pair in filters.items()))


def _datastore_ids(name: str, value: Any) -> Sequence[str]:
    texts = _texts(value)
    if not texts or not all(map(_DATASTORE_ID.match, texts)):
        raise ValueError(f"has datastores that are not IDs of 32 digits and lower-case letters for {name}")
    return texts


def _filter(name: str, keyword: str, value: Any) -> AttributeFilter:
    try:
        return parse_filter(keyword, _texts(value))
    except BadRequest as error:
        raise ValueError(f"has a wrong filter for {name}: {error}") from None


def _texts(value: Any) -> Sequence[str]:
    """A text or a list of texts as a list; empty for anything else."""
    texts = value if isinstance(value, list) else [value]
    return texts if all(isinstance(text, str) for text in texts) else ()
