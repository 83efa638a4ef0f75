"""The results of `python main.py index`: a table, JSON, or a line of a log."""

from collections.abc import Iterator, Sequence

from index.compare import Comparison, Kind
from index.reconcile import Applied

_MOST_LINES = 20


def as_json(found: Sequence[Comparison], applied: Applied | None) -> dict[str, object]:
    """The object that `--json` prints. `repaired` counts outcomes, null if nothing was repaired."""
    repaired = {outcome.name.lower(): number for outcome, number in applied.outcomes.items()} if applied else None
    return {
        "datastores": [
            {
                "datastore": comparison.datastore_id,
                "in_ahi": comparison.in_ahi,
                **{kind.value: comparison.counts[kind] for kind in Kind},
                "put_aside": comparison.put_aside,
                "image_sets": [
                    {
                        "image_set": one.image_set_id,
                        "difference": one.kind.value,
                        "version_in_ahi": one.listed.version if one.listed else None,
                        "version_in_index": _version(one.recorded),
                    }
                    for one in comparison.examples
                ],
            }
            for comparison in found
        ],
        "repaired": repaired,
    }


def _version(recorded: object) -> int | None:
    revision = getattr(recorded, "revision", None)
    return revision.version if revision else None


def table(found: Sequence[Comparison]) -> Iterator[str]:
    """The lines of a table, and the first differences of each data store."""
    columns = ("in AHI", *(kind.value for kind in Kind), "put aside")
    yield f"{'data store':<32} " + " ".join(f"{column:>10}" for column in columns)
    for comparison in found:
        numbers = (comparison.in_ahi, *(comparison.counts[kind] for kind in Kind), comparison.put_aside)
        yield f"{comparison.datastore_id:<32} " + " ".join(f"{number:>10}" for number in numbers)
    for comparison in found:
        for one in comparison.examples[:_MOST_LINES]:
            yield f"{one.kind.value:<8} {one.image_set_id}"
        if comparison.total > _MOST_LINES:
            yield f"and {comparison.total - _MOST_LINES:,} others; --json names up to a thousand"


def summary(applied: Applied) -> str:
    """The outcome of all image sets, in one line."""
    counted = [f"{number:,} {outcome.value}" for outcome, number in applied.outcomes.items() if number]
    if applied.locked:
        counted.append(f"{applied.locked:,} left for the next run, because AHI is writing them")
    return f"image sets: {'; '.join(counted) or 'nothing to do'}"


def differing(total: int) -> str:
    """The outcome of a comparison without repair."""
    return f"{total:,} image sets differ"


def log_line(comparison: Comparison) -> str:
    """The numbers of a data store, in one line of a log."""
    counts = " ".join(f"{kind.value}={comparison.counts[kind]}" for kind in Kind)
    return f"datastore={comparison.datastore_id} in_ahi={comparison.in_ahi} {counts}"
