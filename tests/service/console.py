"""What the tests of the console share: images, files of forms, and where its pages are."""

import secrets
from io import BytesIO
from typing import Any

from playwright.sync_api import FilePayload
from pydicom import Dataset

from index.writing.writer import IndexWriter
from store.outcome import FailureReason, Outcome, Sender
from store.spool.spool import Entry, Spool
from tests.service.storing import Storing
from tests.store.dicom_files import data_set
from tests.store.forward.live import received

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


def put_aside(running: Storing, content: bytes, detail: str = "AHI refuses it", user: str = "anna") -> str:
    """A store request that AHI has refused, as the forwarder puts it aside; its name."""
    made = Spool(running.folder / "made")  # the forwarder would take it from the queue of its own spool
    made.open()
    entry = spooled(running, content, user, made)
    refusal = Outcome.of(entry.manifest.instances[0], failure=FailureReason.CANNOT_UNDERSTAND, detail=detail)
    made.refuse(entry, [refusal])
    running.spool.layout.adopt(made.layout.refused / entry.name)
    return entry.name


def spooled(running: Storing, content: bytes, user: str = "anna", spool: Spool | None = None) -> Entry:
    """A store request in the spool of which nobody has told the forwarder; it finds it."""
    spool = spool or running.spool
    body = spool.incoming / secrets.token_hex(8)
    body.write_bytes(content)
    sender = Sender(user, "aetitle", running.environment["STORE_DATASTORE_ID"])
    return spool.accept(body, [received(content, 0)], sender)


def index_writer(running: Storing) -> IndexWriter:
    """What writes to the index of the service."""
    return IndexWriter(running.environment["INDEX_WRITE_URL"])


def saved(made: Dataset) -> bytes:
    """The bytes of a DICOM file with the file meta information that a data set has."""
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    file = BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()
