"""The upload dialog of OHIF, and images for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dicomweb_client import DICOMwebClient
from playwright.sync_api import Page, expect
from pydicom import Dataset

from tests.store.dicom_files import data_set, encoded

WAIT_MILLISECONDS = 90_000


def images_of_a_study(study: str = "1.2.99") -> list[Dataset]:
    """Four images of one series."""
    common = {"study": study, "series": f"{study}.1", "PatientName": "UPLOADED^ANN"}
    return [data_set(f"{study}.1.{number}", **common, size=128 + number) for number in range(4)]


def files_of(folder: Path, images: list[Dataset]) -> list[Path]:
    """Write images into a folder; their paths."""
    paths = [folder / f"{image.SOPInstanceUID}.dcm" for image in images]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encoded(image))
    return paths


@dataclass(frozen=True)
class Uploading:
    """OHIF's work list with the button Upload, and the root of the service that stores. `headers` are of its user."""

    root: str
    page: Page
    headers: Mapping[str, str] = field(default_factory=dict)

    def upload(self, *files: Path) -> list[int]:
        """Give files to the dialog, and wait until it is done with all; the statuses of the store requests, sorted."""
        answers: list[int] = []
        self.page.on(
            "response",
            lambda answer: answers.append(answer.status) if answer.request.method == "POST" else None,
        )
        self.page.get_by_role("button", name="Upload").click()
        with self.page.expect_file_chooser() as chosen:
            self.page.get_by_role("button", name="Add files").click()
        chosen.value.set_files(files)
        expect(self.page.get_by_text(f"{len(files)} files completed.", exact=True)).to_be_visible(
            timeout=WAIT_MILLISECONDS
        )
        return sorted(answers)

    def shown(self) -> list[str]:
        """The lines of the dialog: its title and result, each file with the reason if it failed, and the button."""
        return self.page.get_by_role("dialog").inner_text().split("\n")

    def check_stored(self, images: list[Dataset]) -> None:
        """The work list has their study after the dialog, and the service gives each pixel back."""
        (study,) = {image.StudyInstanceUID for image in images}
        close, _cross = self.page.get_by_role("dialog").get_by_role("button", name="Close", exact=True).all()
        close.click()
        name = str(images[0].PatientName).replace("^", ", ")
        expect(self.page.get_by_text(name).first).to_be_visible(timeout=WAIT_MILLISECONDS)
        client = DICOMwebClient(self.root, headers=dict(self.headers))
        listed = [one["0020000D"]["Value"][0] for one in client.search_for_studies()]
        assert listed.count(study) == 1
        received = {one.SOPInstanceUID: one.pixel_array for one in client.retrieve_study(study)}
        assert received.keys() == {image.SOPInstanceUID for image in images}
        for image in images:
            assert np.array_equal(received[image.SOPInstanceUID], image.pixel_array)
