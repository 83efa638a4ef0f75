"""An archive with everything that the service can be asked for: all sample images, and a small clinic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datastore.embedded import Embedded
from tests.service.ahi import Ahi
from tests.service.archive import write_samples
from tests.service.clinic import Clinic, write_clinic

Uids = tuple[str, str, str]
"""Of a study, a series and an instance."""


@dataclass(frozen=True)
class Archive:
    """A data store on disk with its index; `instances` are all that it has, in the order of their import."""

    root: Path
    clinic: Clinic
    instances: Sequence[Uids]

    def environment(self, ahi: Ahi) -> Mapping[str, str]:
        """The settings of a proxy in front of this archive, which `ahi` serves."""
        return Embedded(self.root).environment(ahi.port)


def make_archive(folder: Path) -> Archive:
    """Write the files and import them, which takes some 5 seconds."""
    (folder / "samples").mkdir(parents=True)
    (folder / "clinic").mkdir()
    samples, clinic = write_samples(folder / "samples"), write_clinic(folder / "clinic")
    Embedded(folder / "data").fill([folder / "samples", folder / "clinic"])
    of_clinic = [(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID) for one in clinic.instances]
    return Archive(folder / "data", clinic, [*(sample.uids for sample in samples), *of_clinic])
