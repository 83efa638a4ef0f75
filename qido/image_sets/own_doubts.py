"""The rows of own tables that do not answer a search, and the image sets that take their place.

A study in several data stores has a row in each, but is one result. Values that were cut to fit their columns cannot be
compared. All other rows are right.
"""

from collections.abc import Sequence

from db.deleted_image_sets import DeletedRows
from db.scope import Scope
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from qido.image_sets.archive import Archive
from qido.image_sets.doubts import LEFT_OUT, UNCHECKED, Doubts, of_study
from qido.image_sets.index_checks import IndexChecks, OwnFacts
from qido.image_sets.study_reading import read_studies
from qido.parse.attributes import Level
from qido.parse.query import Query
from qido.plan import doubtful_rows


def find(archive: Archive, checks: IndexChecks, query: Query, study: str | None, series: str | None) -> Doubts | None:
    """Find what is in doubt for a query, which may name one study or one series; None if nothing is.

    Patients are never in doubt, because each data store has its own.
    """
    filtered = bool(query.scope.filters)
    if query.level is Level.PATIENT and not filtered:
        return None
    facts = checks.own_facts()
    several = _in_several(facts, query.scope)
    if study is not None:
        named = {key for key, uid in _keys_named(archive, study)} if several or facts.cut else set()
        return of_study(checks, query, study) if filtered or named & _all(several, facts) else None
    if series is not None:
        keys = archive.database.rows(doubtful_rows.studies_with_series(series)) if several or facts.cut else ()
        if filtered or not _all(several, facts).isdisjoint(key for (key,) in keys):
            return Doubts(checks.studies.of_series(query.scope, series), alone=True)
        return None
    if query.level is Level.PATIENT or not (several or facts.cut):
        return None
    try:
        return _anywhere(archive, checks, query, facts, several, archive.max_image_sets)
    except (UpstreamBusy, UpstreamFailed):  # AHI cannot be asked
        return _anywhere(archive, checks, query, facts, several, 0)


def _in_several(facts: OwnFacts, scope: Scope) -> list[Sequence[int]]:
    """The rows of each study that is in several data stores of the scope."""
    rows = ([key for key, store in of.items() if scope.has_datastore(store)] for of in facts.in_several.values())
    return [of for of in rows if len(of) > 1]


def _all(several: Sequence[Sequence[int]], facts: OwnFacts) -> frozenset[int]:
    return facts.cut.union(*several)


def _keys_named(archive: Archive, study: str) -> Sequence[tuple[int, str]]:
    uids = archive.database.index_kind.held_uids(study)
    return [(key, uid) for key, uid in archive.database.rows(doubtful_rows.studies_named(uids))]


def _anywhere(
    archive: Archive,
    checks: IndexChecks,
    query: Query,
    facts: OwnFacts,
    several: Sequence[Sequence[int]],
    max_image_sets: int,
) -> Doubts | None:
    """Find what is in doubt for a search of the whole archive; reads up to `max_image_sets` image sets, twice.

    Of a study that cannot be read, the first row stands for all.
    """
    keys = sorted(key for of in several for key in of)
    fitting = doubtful_rows.fulfilling(keys, query.conditions, query.scope)
    asked = [key for (key,) in archive.database.rows(fitting)] if keys else []
    asked = list(dict.fromkeys((*sorted(facts.cut), *asked)))
    if not asked:
        return None
    read = read_studies(archive, asked, archive.max_image_sets, max_image_sets)
    image_sets = [
        image_set
        for study, of_study in read.by_study.items()
        for image_set in checks.studies.seen(query.scope, study, list(of_study.values()))
    ]
    studies = read.keys - read.bare
    hidden = DeletedRows(
        frozenset(key for study in studies for key in read.parts[study].rows),
        frozenset(key for study in studies for key in read.parts[study].series),
        studies | {key for of in several for key in sorted(of)[1:]},
        frozenset(),
    )
    warnings = [UNCHECKED] if read.unchecked else []
    warnings += [] if read.complete else [LEFT_OUT]
    return Doubts(image_sets, hidden, warnings=tuple(warnings))
