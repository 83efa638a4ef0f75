"""Matching keys that are fixed for whoever asks: parsed as those of a search, and met by all that is in scope."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from db import schema
from db.scope import Truth
from dicomweb.attribute_paths import parse_path
from dicomweb.dicom_json import DataSet
from dicomweb.errors import BadRequest
from dicomweb.uids import ill_formed
from qido.image_sets.matching import fulfils, values
from qido.parse.attributes import BY_TAG, MODALITIES_IN_STUDY, MODALITY, Level, Matching, SearchAttribute
from qido.parse.conditions import AnyOf, Match, parse_matches
from qido.plan.sql_conditions import any_of

_WILDCARDS = frozenset("*?")


@dataclass(frozen=True)
class AttributeFilter:
    """`attribute` fulfils at least one of `matches`; a filter of a `db.scope.Scope`."""

    attribute: SearchAttribute
    matches: tuple[Match, ...]

    @property
    def table(self) -> Table:
        """Where the attribute is: that of ModalitiesInStudy is Modality."""
        return schema.series if self.of_some_series else schema.metadata.tables[self.attribute.table]

    @property
    def of_some_series(self) -> bool:
        """ModalitiesInStudy: at least one series has a modality that matches (PS3.4 Section C.3.4)."""
        return self.attribute is MODALITIES_IN_STUDY

    @property
    def tag(self) -> str:
        """That of the attribute."""
        return self.attribute.tag

    def truth(self) -> Truth:
        """The condition on the columns of the table."""
        return any_of(MODALITY if self.of_some_series else self.attribute, self.matches)

    def is_met_by(self, data_set: DataSet) -> bool:
        """The condition on the attributes of an image set. As in the index, an unknown time may be any time."""
        attribute = MODALITY if self.of_some_series else self.attribute
        if attribute.matching is Matching.TIME and not values(data_set.get(attribute.tag, {})):
            return True
        return fulfils(data_set, [AnyOf(attribute, self.matches)])


def parse_filter(name: str, values: Sequence[str]) -> AttributeFilter:
    """The filter of a keyword or tag, of which any of the `values` is to match, each as the key of a search.

    BadRequest if the index has no such attribute of patients, studies or series, or if everything would match.
    """
    path = parse_path(name)
    attribute = BY_TAG.get(path[0]) if len(path) == 1 else None
    if attribute is None or attribute.matching is Matching.NONE or attribute.level is Level.INSTANCE:
        raise BadRequest(f"{name} is not an attribute of patients, studies or series that can be matched")
    found = [parse_matches(attribute, value) for value in values]
    if not found or not all(found):
        raise BadRequest(f"{name} has no text to match, or one that matches everything")
    if attribute.matching is Matching.UID and any(not _WILDCARDS.isdisjoint(value) for value in values):
        raise ill_formed(name)  # it would match nothing, as UIDs have no wildcards
    return AttributeFilter(attribute, tuple(match for matches in found for match in matches))
