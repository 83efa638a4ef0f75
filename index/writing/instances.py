"""The rows of instances.

One that several image sets of a series hold is in `instance` once, as the preferred one has it; the others wait in
`instance_duplicate`. All functions run in the transaction of their caller, who has locked the study.
"""

from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import Connection, Table, delete, func, insert, select

from db.index_schema import instance, instance_duplicate
from index.writing.values import Values

_AT_ONCE = 500
_COLUMNS = [column.name for column in instance.columns if column.name != "instance_pkey"]


def write(connection: Connection, table: Table, instances: Mapping[str, Values], parents: Values) -> None:
    """Insert instances, by SOP Instance UID, into one of the two tables. Columns that no instance has are left out."""
    known = [name for name in _COLUMNS if any(values.get(name) is not None for values in instances.values())]
    rows = [
        {**{name: values[name] for name in known}, "sopinstanceuid": uid, **parents}
        for uid, values in instances.items()
    ]  # fmt: skip
    for start in range(0, len(rows), _AT_ONCE):
        connection.execute(insert(table), rows[start : start + _AT_ONCE])


def remove(connection: Connection, imageset_pkey: int) -> None:
    """Delete all that an image set has."""
    for table in (instance, instance_duplicate):
        connection.execute(delete(table).where(table.c.imageset_pkey == imageset_pkey))


def settle(connection: Connection, series_pkey: int, ranking: Iterable[int]) -> None:
    """Have each instance of a series in `instance` as the first image set of a ranking has it that holds it."""
    rank = {imageset_pkey: place for place, imageset_pkey in enumerate(ranking)}
    best: dict[str, int] = {}
    found: dict[Table, list[tuple[int, str, int]]] = {}
    for table in (instance, instance_duplicate):
        (key,) = table.primary_key.columns
        columns = select(key, table.c.sopinstanceuid, table.c.imageset_pkey).where(table.c.series_pkey == series_pkey)
        found[table] = [(row[0], row[1], row[2]) for row in connection.execute(columns)]
        for _, uid, imageset_pkey in found[table]:
            best[uid] = min(best.get(uid, rank[imageset_pkey]), rank[imageset_pkey])
    losers = [key for key, uid, imageset_pkey in found[instance] if rank[imageset_pkey] > best[uid]]
    winners = [key for key, uid, imageset_pkey in found[instance_duplicate] if rank[imageset_pkey] == best[uid]]
    _move(connection, losers, instance, instance_duplicate)
    _move(connection, winners, instance_duplicate, instance)


def count(connection: Connection, series_pkey: int) -> int:
    """The number of instances of a series."""
    of_series = select(func.count()).select_from(instance).where(instance.c.series_pkey == series_pkey)
    return int(connection.scalar(of_series) or 0)


def _move(connection: Connection, keys: list[int], source: Table, target: Table) -> None:
    (key,) = source.primary_key.columns
    for some in _batches(keys):
        moved = select(*(source.c[name] for name in _COLUMNS)).where(key.in_(some))
        connection.execute(insert(target).from_select(_COLUMNS, moved))
        connection.execute(delete(source).where(key.in_(some)))


def _batches(keys: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
