"""The compiled statements that are kept: few and small ones, so that no search makes a process grow."""

from typing import Any

from sqlalchemy.util import LRUCache

MOST = 64
"""When there are half as many more, those that were not used for longest go."""

MOST_PARAMETERS = 64
"""Of a statement that is kept. A parameter takes some 5 KB; usual searches have 10 to 50."""

_MOST_VALUES = 32
"""Of one parameter: a statement is kept with the values of its first use."""


class StatementCache(LRUCache[Any, Any]):
    """SQLAlchemy's, which leaves out what is large: that is compiled whenever it is asked for."""

    def __init__(self) -> None:
        super().__init__(MOST)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        if len(compiled.binds) <= MOST_PARAMETERS and not any(map(_is_long, compiled.binds.values())):
            super().__setitem__(key, compiled)


def _is_long(parameter: Any) -> bool:
    return isinstance(parameter.value, list | tuple) and len(parameter.value) > _MOST_VALUES
