"""Faults that an index may have, looked up in the index and remembered for a short time."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ahi.cache.timed import cached_for
from ahi.retrieval.studies import Studies
from db.engine import Database
from qido.parse.attributes import BY_TAG, SearchAttribute
from qido.plan import doubtful_rows
from runtime.single_flight import SingleFlight, ended

_FACTS_SECONDS = 2.0
_SHARED_SECONDS = 120.0  # with a million image sets the look-up takes some seconds
_PATIENCE_SECONDS = 3.0
_MOST_CUT = 50
"""More studies with values that did not fit are taken as their rows have them: each search would read all of them."""
IDENTITY = (BY_TAG["00100020"], BY_TAG["00100021"])
PatientIdentity = tuple[str | None, ...]


@dataclass(frozen=True)
class IndexFacts:
    """Facts that put rows in doubt: keys of patients without ID, and whether there are series of several image sets and
    several data stores.
    """

    nameless: frozenset[int]
    several: bool
    datastores: bool


@dataclass(frozen=True)
class OwnFacts:
    """Facts of own tables that put rows in doubt.

    `cut` are the keys of studies with values that did not fit their columns. `in_several` are the rows of each study in
    several data stores: the data stores by the keys of the rows.
    """

    cut: frozenset[int]
    in_several: Mapping[str, Mapping[int, str]]


@dataclass(frozen=True)
class _InSeveral:
    rows: Mapping[str, Mapping[int, str]]
    seconds: float


class IndexChecks:
    """Looks up in the index what may be wrong in it, and remembers it for 2 seconds; slow look-ups for 2 minutes."""

    def __init__(self, database: Database, studies: Studies) -> None:
        self._database = database
        self.studies = studies
        self.by_image_set = database.kind == "sqlite"  # a small index, in which conflicts may not be noted
        self._facts = cached_for(_FACTS_SECONDS, self._look)
        self._shared = SingleFlight(self._look_for_shared)
        self._own = cached_for(_FACTS_SECONDS, self._look_in_own)
        self._in_several = SingleFlight(self._look_for_several)
        self._several_lately = _InSeveral({}, 0.0)
        self._shared_lately: Mapping[int, PatientIdentity] = {}

    def facts(self) -> IndexFacts:
        """The facts of the last 2 seconds."""
        return self._facts()

    def shared(self) -> Mapping[int, PatientIdentity]:
        """The ID and issuer of patients who have image sets in several data stores, by their keys.

        They are those of some minutes ago, or none yet, if the index takes more than 3 seconds. That is safe: results
        are compared with their image sets all the same (`verified_search.verified`).
        """
        flight = self._shared.latest(_SHARED_SECONDS)
        if ended(flight, _PATIENCE_SECONDS) and not flight.exception():
            self._shared_lately = flight.result()
        return self._shared_lately

    def own_facts(self) -> OwnFacts:
        """The facts of own tables, of the last 2 seconds.

        To look for studies in several data stores takes some time in a large index, and is repeated after 30 times as
        long. Until then those that were found count.
        """
        cut, datastores = self._own()
        if not datastores:
            return OwnFacts(cut, {})
        flight = self._in_several.latest(max(_FACTS_SECONDS, 30 * self._several_lately.seconds))
        if ended(flight, _PATIENCE_SECONDS) and not flight.exception():
            self._several_lately = flight.result()
        return OwnFacts(cut, self._several_lately.rows)

    def _look_in_own(self) -> tuple[frozenset[int], bool]:
        """The studies with values that did not fit, unless there are too many to read, and whether there are several
        data stores.
        """
        first, last = self._database.rows(doubtful_rows.datastores())[0]
        noted = self._database.rows(doubtful_rows.with_values_that_did_not_fit(_MOST_CUT + 1))
        cut = frozenset(key for (key,) in noted)
        return cut if len(cut) <= _MOST_CUT else frozenset(), first != last

    def _look_for_several(self) -> _InSeveral:
        started = time.monotonic()
        found: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for key, uid, store in self._database.rows(doubtful_rows.in_several_datastores()):
            found[uid][key] = store
        return _InSeveral(found, time.monotonic() - started)

    def _look(self) -> IndexFacts:
        several, first, last = self._database.rows(doubtful_rows.facts(self.by_image_set))[0]
        nameless = frozenset(key for (key,) in self._database.rows(doubtful_rows.nameless()))
        return IndexFacts(nameless, bool(several), first != last)

    def _look_for_shared(self) -> Mapping[int, PatientIdentity]:
        rows = self._database.rows(doubtful_rows.patients_in_datastores())
        return {key: tuple(map(known_text, IDENTITY, ([patient_id], [issuer]))) for key, patient_id, issuer in rows}


def known_text(attribute: SearchAttribute, found: Sequence[object]) -> str | None:
    """The text of an attribute; None for the texts that mean "absent" in the index."""
    texts = [str(value).strip() for value in found if value is not None]
    return next((text for text in texts if text not in attribute.placeholders), None)
