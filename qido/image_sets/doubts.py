"""What a search has in place of rows of the index that may be wrong, and the warnings that belong to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ahi.retrieval.located_image_sets import LocatedImageSet
from db.deleted_image_sets import DeletedRows
from qido.image_sets.index_checks import IndexChecks
from qido.parse.query import Query

UNCHECKED = "Some results could not be checked, and lack what may be of others. Ask for fewer results at once."
LEFT_OUT = "Results that could not be checked have been left out. Ask for fewer results at once."
AT_ANY_TIME = "Some results may be at another time, because they could not be checked. Ask for fewer results at once."


@dataclass(frozen=True)
class Doubts:
    """The image sets, all in scope, that take the place of the `hidden` rows; if `alone`, of all rows.

    Attributes of the patients in `blank` must not come from the index. `warnings` tell what could not be checked.
    """

    image_sets: Sequence[LocatedImageSet]
    hidden: DeletedRows = field(default_factory=DeletedRows)
    alone: bool = False
    blank: frozenset[int] = frozenset()
    warnings: tuple[str, ...] = ()


def of_study(checks: IndexChecks, query: Query, study: str) -> Doubts:
    """Have the image sets of a study take the place of all rows."""
    readable = checks.studies.find_readable(query.scope, study)
    return Doubts(readable.image_sets, alone=True, warnings=(LEFT_OUT,) if readable.errors else ())
