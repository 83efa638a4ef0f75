"""The rights of a caller in the part of the archive that is in scope."""

from dataclasses import dataclass
from enum import Enum

from db.scope import Scope


class Right(Enum):
    """One kind of access, by its word in the access rules."""

    READ = "read"
    STORE = "store"
    DELETE = "delete"
    OPERATE = "operate"
    SHARE = "share"


READING = frozenset({Right.READ})
"""The rights of a rule that does not name any."""

ALL_RIGHTS = frozenset(Right)


@dataclass(frozen=True)
class Grant:
    """The scope and the rights of a caller below an AE title."""

    scope: Scope
    rights: frozenset[Right]
