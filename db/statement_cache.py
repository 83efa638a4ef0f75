"""The cache of compiled statements: few and small ones, so that no search makes a process grow.

SQLAlchemy documents the option, but not the cache. `tests/db/test_driver_contracts.py` holds what this needs of it.
"""

from typing import Any

from sqlalchemy.util import LRUCache

MOST = 64
"""The number of statements; when there are half as many more, the least recently used ones are dropped."""

MOST_PARAMETERS = 64
"""The most parameters of a statement in the cache. One takes some 5 KB; usual searches have 10 to 50."""

_MOST_VALUES = 32
"""The most values of one parameter: a statement is cached with the values of its first use."""


class StatementCache(LRUCache[Any, Any]):
    """The cache of SQLAlchemy, without large statements, which are compiled for each use."""

    def __init__(self) -> None:
        super().__init__(MOST)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        if len(compiled.binds) <= MOST_PARAMETERS and not any(map(_is_long, compiled.binds.values())):
            super().__setitem__(key, compiled)


def _is_long(parameter: Any) -> bool:
    return isinstance(parameter.value, list | tuple) and len(parameter.value) > _MOST_VALUES
