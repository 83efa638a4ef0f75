"""The sources of a search: the index, and the image sets that it names."""

from collections.abc import Callable
from dataclasses import dataclass

from ahi.retrieval.metadata_reader import MetadataReader
from db.engine import Database
from qido.image_sets.index_checks import IndexChecks


@dataclass(frozen=True)
class Archive:
    """The index and the image sets, as one request may search them.

    `max_image_sets` is the number of image sets that one answer may read, unless its results are within one study or
    series. `public_root` gives the URL of the service for this client. Without `checks` the index counts as right.
    """

    database: Database
    described: MetadataReader
    max_image_sets: int
    public_root: Callable[[], str]
    checks: IndexChecks | None = None
