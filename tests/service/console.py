"""What the tests of the console share: images, files of forms, and where its pages are."""

from typing import Any

from playwright.sync_api import FilePayload
from pydicom import Dataset

from tests.service.storing import Storing
from tests.store.dicom_files import data_set

WAIT_MILLISECONDS = 45_000


def image(study: int, series: int, number: int, **attributes: Any) -> Dataset:
    """An image of a study and series by their numbers."""
    uid = f"1.2.77.{study}"
    return data_set(
        f"{uid}.{series}.{number}",
        study=uid,
        series=f"{uid}.{series}",
        size=32,
        InstanceNumber=number,
        **{"SpecificCharacterSet": "ISO_IR 192", "SeriesNumber": series, "Modality": "CT", **attributes},
    )


def origin(running: Storing) -> str:
    """The URL of the service without a path."""
    return running.service.root.removesuffix("/aetitle")


def payload(name: str, content: bytes) -> FilePayload:
    """A file for an input of a form."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}
