"""Faults that an index may have, looked up in the index and remembered for a short time."""

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


class IndexChecks:
    """Looks up in the index what may be wrong in it, and remembers it for 2 seconds; slow look-ups for 2 minutes."""

    def __init__(self, database: Database, studies: Studies) -> None:
        self._database = database
        self.studies = studies
        self.by_image_set = database.kind == "sqlite"  # a small index, in which conflicts may not be noted
        self._facts = cached_for(_FACTS_SECONDS, self._look)
        self._shared = SingleFlight(self._look_for_shared)
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
