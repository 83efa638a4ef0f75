"""What a caller may do with the part of the archive that is in scope."""

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
    """What a caller may see below an AE title, and what may be done with it."""

    scope: Scope
    rights: frozenset[Right]
