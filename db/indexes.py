"""Database indexes that make search and retrieval quick, and that AWS's index project does not create.

`python main.py check`, the documents and the benchmark name them; the embedded data store creates them. Answers are
correct without them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, inspect
from sqlalchemy.engine.interfaces import ReflectedIndex

from db.engine import Database
from db.schema import metadata


@dataclass(frozen=True)
class IndexWanted:
    """An index of `table`; `buys` says what it makes quick. `newest_first` is the order of its columns."""

    name: str
    table: str
    columns: tuple[str, ...]
    buys: str
    newest_first: bool = False

    def create(self, dialect: str) -> str:
        """The statement that creates it, in the SQL of a dialect by SQLAlchemy's name.

        MySQL, MariaDB and SQLite read an index backwards and take NULL for the lowest value: that is newest first with
        the unknown last. PostgreSQL takes NULL for the highest, so the order has to be in the index.
        """
        backwards = " DESC NULLS LAST" if self.newest_first and dialect == "postgresql" else ""
        return f"CREATE INDEX {self.name} ON {self.table} ({', '.join(name + backwards for name in self.columns)})"


WANTED = (
    IndexWanted(
        "study_newest_first",
        "study",
        ("studydate", "studytime", "study_pkey"),
        "the first pages of a search, which are the newest studies; StudyDate",
        newest_first=True,
    ),
    IndexWanted("series_modality", "series", ("modality", "study_pkey"), "ModalitiesInStudy and Modality"),
    IndexWanted("series_of_study", "series", ("study_pkey", "modality"), "ModalitiesInStudy together with another key"),
    IndexWanted("imageset_series", "imageset", ("series_pkey",), "every retrieval; the data stores of `AE_TITLES`"),
)


def missing_indexes(database: Database) -> list[IndexWanted]:
    """The indexes of WANTED that the database does not have, under whatever name.

    UpstreamBusy if the database does not answer, UpstreamFailed if it refuses to list them.
    """
    return database.look(missing_in)


def missing_in(connection: Connection) -> list[IndexWanted]:
    """The indexes of WANTED that are missing, as seen on this connection."""
    inspector = inspect(connection)
    return [wanted for wanted in WANTED if not _is_there(wanted, inspector.get_indexes(wanted.table))]


def create_statements(dialect: str, wanted: Sequence[IndexWanted] = WANTED) -> list[str]:
    """The statements that create the indexes, in the SQL of a dialect."""
    return [index.create(dialect) for index in wanted]


def _is_there(wanted: IndexWanted, indexes: Sequence[ReflectedIndex]) -> bool:
    """Whether an index begins with the columns. InnoDB and SQLite add the primary key to each by themselves."""
    (primary_key,) = metadata.tables[wanted.table].primary_key.columns.keys()
    needed = [name for name in wanted.columns if name != primary_key]
    return any(index["column_names"][: len(needed)] == needed for index in indexes)
