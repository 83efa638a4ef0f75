"""Row filters: match keys that limit what a caller may see, parsed like those of a search."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from db import schema
from db.scope import Truth
from dicomweb.attribute_paths import parse_path
from dicomweb.dicom_json import DataSet
from dicomweb.errors import BadRequest
from dicomweb.uids import ill_formed
from qido.image_sets.matching import fulfils
from qido.parse.attributes import BY_TAG, MODALITIES_IN_STUDY, MODALITY, Level, Matching, SearchAttribute
from qido.parse.conditions import AnyOf, Match, parse_matches
from qido.plan.sql_conditions import any_of

_WILDCARDS = frozenset("*?")


@dataclass(frozen=True)
class AttributeFilter:
    """A filter of a `db.scope.Scope`: at least one of `matches` must fit the attribute."""

    attribute: SearchAttribute
    matches: tuple[Match, ...]

    @property
    def table(self) -> Table:
        """The table of the attribute. ModalitiesInStudy is compared with Modality in the table of series."""
        return schema.series if self.of_some_series else schema.metadata.tables[self.attribute.table]

    @property
    def of_some_series(self) -> bool:
        """Whether it is on ModalitiesInStudy: at least one series has a modality that matches (PS3.4 Section C.3.4)."""
        return self.attribute is MODALITIES_IN_STUDY

    @property
    def tag(self) -> str:
        """The tag of the attribute."""
        return self.attribute.tag

    def truth(self) -> Truth:
        """The condition on the columns of the table."""
        return any_of(MODALITY if self.of_some_series else self.attribute, self.matches)

    def is_met_by(self, data_set: DataSet) -> bool:
        """Whether an image set fulfils the condition."""
        attribute = MODALITY if self.of_some_series else self.attribute
        return fulfils(data_set, [AnyOf(attribute, self.matches)])


def parse_filter(name: str, values: Sequence[str]) -> AttributeFilter:
    """Parse a filter: a keyword or tag, and values like those of a match key, one of which must match.

    BadRequest if it is not an indexed attribute of patients, studies or series, or if everything would match.
    """
    path = parse_path(name)
    attribute = BY_TAG.get(path[0]) if len(path) == 1 else None
    if attribute is None or attribute.matching is Matching.NONE or attribute.level is Level.INSTANCE:
        raise BadRequest(f"{name} is not an attribute of patients, studies or series that can be matched")
    found = [parse_matches(attribute, value) for value in values]
    if not found or not all(found):
        raise BadRequest(f"{name} has no text to match, or one that matches everything")
    if attribute.matching is Matching.UID and any(not _WILDCARDS.isdisjoint(value) for value in values):
        raise ill_formed(name)  # UIDs have no wildcards, so it would match nothing
    return AttributeFilter(attribute, tuple(match for matches in found for match in matches))
