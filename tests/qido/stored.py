"""An archive with image sets: imported from DICOM files, served as AHI does, indexed with instances or without."""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from ahi.retrieval.located_image_sets import ImageSets
from ahi.retrieval.metadata_reader import MetadataReader
from datastore.importing.importer import import_files
from datastore.index.filler import IndexFiller
from datastore.serving.faults import Faults
from datastore.storage.storage import Storage
from db.engine import Database
from db.index_kind import IndexKind, find_kind
from db.scope import EVERYTHING, Scope
from dicomweb import respond
from dicomweb.errors import ProxyError
from index.writing.writer import IndexWriter
from qido import routes
from qido.image_sets.archive import Archive
from tests.datastore.made import made, with_pixels, written
from tests.datastore_server import served
from tests.fetcher import fetching
from tests.servers import engine_of

ROOT = "http://proxy.example:8080/aetitle"

_JANE = {"PatientID": "P1", "PatientName": "Doe^Jane", "EthnicGroup": "Martian", "PatientSex": "F"}
_JOE = {"PatientID": "P2", "PatientName": "Döring^Jörg=山田^太郎", "PatientSex": "M"}


def item(**elements: Any) -> Dataset:
    """An item of a sequence."""
    found = Dataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


def _private(data_set: Dataset, block: int, value: str) -> Dataset:
    """With an element of a private creator in a block; (0019,xx01) of PHILIPS is not of this creator."""
    data_set.add_new((0x0019, block), "LO", "ACME 1.0")
    data_set.add_new((0x0019, block << 8 | 0x01), "DS", value)
    return data_set


def _requested(*ids: tuple[str, str]) -> list[Dataset]:
    return [item(ScheduledProcedureStepID=step, RequestedProcedureID=procedure) for step, procedure in ids]


def _ct(number: int, **elements: Any) -> Dataset:
    pixels = np.full((1, 4, 4 + number), number, "<u2")
    usual = {
        **_JANE,
        "SOPClassUID": CTImageStorage,
        "StudyInstanceUID": "1.2.1",
        "StudyDate": "20240110",
        "StudyTime": "101112.25",
        "StudyID": "S1",
        "AccessionNumber": "ACC1",
        "StudyDescription": "Café Thorax",
        "PatientAge": "050Y",
        "SeriesInstanceUID": "1.2.1.1",
        "Modality": "CT",
        "SeriesNumber": "2",
        "RequestAttributesSequence": _requested(("SPS1", "RP1"), ("SPS2", "RP2")),
        "PerformedProcedureStepStartDate": "20240110",
        "PerformedProcedureStepStartTime": "101500.5",
        "SOPInstanceUID": f"1.2.1.1.{number}",
        "InstanceNumber": str(number),
        "SliceThickness": "1.25" if number % 2 else "2.5",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ContentDate": "20240110",
        "ContentTime": f"10{number:02}00.5",
        "AcquisitionDateTime": f"2024011010{number:02}00.5",
        "ContentDescription": f"Schädel {number}",
        "SpecificCharacterSet": "ISO_IR 192",
    }
    return with_pixels(pixels, **{**usual, **elements})


def data_sets() -> list[Dataset]:
    """Three studies. The first: a CT series of four, and a report. The second: of the same patient, two MR images. The
    third: one series, of which AHI makes two image sets, because its instances disagree about the series; the
    primary one has the instance that came first, which is the second one.
    """
    report: dict[str, Any] = {
        **_JANE,
        "StudyInstanceUID": "1.2.1",
        "StudyDate": "20240110",
        "StudyTime": "101112.25",
        "StudyID": "S1",
        "AccessionNumber": "ACC1",
        "StudyDescription": "Café Thorax",
        "PatientAge": "050Y",
        "SeriesInstanceUID": "1.2.1.2",
        "Modality": "SR",
        "SeriesNumber": "10",
        "PerformedProcedureStepStartDate": "20240111",
        "PerformedProcedureStepStartTime": "0900",
        "SOPInstanceUID": "1.2.1.2.1",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11",
        "SpecificCharacterSet": "ISO_IR 192",
        "SliceThickness": None,
    }
    second = {"StudyInstanceUID": "1.2.2", "SeriesInstanceUID": "1.2.2.1", "StudyDate": "20240212", "Modality": "MR",
              "AccessionNumber": "ACC2", "PatientAge": "051Y", "RequestAttributesSequence": None}  # fmt: skip
    third = {**_JOE, "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "StudyDate": "20230101",
             "PatientAge": "030Y", "AccessionNumber": "ACC3", "RequestAttributesSequence": []}  # fmt: skip
    return [
        _private(_ct(1), 0x10, "5"),
        _private(_ct(2), 0x11, "7"),
        _ct(3, ContentTime=None),
        _ct(10, InstanceNumber="10"),
        made(**report),
        _ct(1, **second, SOPInstanceUID="1.2.2.1.1"),
        _ct(2, **second, SOPInstanceUID="1.2.2.1.2"),
        _ct(2, **third, SOPInstanceUID="1.2.3.1.2", OperatorsName="First^In"),
        _ct(1, **third, SOPInstanceUID="1.2.3.1.1", OperatorsName="Late^Too"),
    ]


class _NoIndex:
    def put(self, _datastore_id: str, _image_set: Any) -> None:
        """Indexed later, in several databases."""


def store(files: Sequence[Dataset], folder: Path) -> Storage:
    """A data store of these data sets."""
    paths = [written(data_set, folder / "files" / f"{number}.dcm") for number, data_set in enumerate(files)]
    storage = Storage.open(folder / "store")
    report = import_files(paths, storage, _NoIndex())
    assert report.imported == len(files), report.refused
    return storage


def index(storage: Storage, url: str, *, instances: bool) -> None:
    """Fill an empty index, as its writer does. Own tables always have instances."""
    with engine_of(url) as engine, engine.connect() as connection:
        is_own = find_kind(connection) is IndexKind.OWN
    if is_own:
        _index_own(storage, url)
        return
    filler = IndexFiller(url, populate_instances=instances)
    for version in storage.image_sets():
        blob = gzip.decompress(storage.metadata(version.image_set_id))
        filler.put(storage.datastore.datastore_id, json.loads(blob))
    filler.close()


def _index_own(storage: Storage, url: str) -> None:
    writer = IndexWriter(url)
    for version in storage.image_sets():
        document = json.loads(gzip.decompress(storage.metadata(version.image_set_id)))
        updated_at = datetime.fromtimestamp(version.updated_at, timezone.utc)
        writer.put(storage.datastore.datastore_id, document, version.version, version.is_primary, updated_at)
    writer.close()


@contextmanager
def fetched(
    storage: Storage, folder: Path, faults: Faults | None = None, *, fresh_seconds: float = 600
) -> Iterator[MetadataReader]:
    """The image sets of a storage, through a fetcher and over HTTP."""
    with served(storage, faults) as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        with fetching(folder, fresh_seconds=fresh_seconds) as (fetchers, cache):
            yield MetadataReader(ImageSets(fetchers, cache, fresh_seconds=fresh_seconds), fetchers)


def searching(database: Database, described: MetadataReader, most: int = 100, scope: Scope = EVERYTHING) -> FlaskClient:
    """A client, who may see what is in `scope`, of a service that does nothing but search."""
    app = Flask(__name__, static_folder=None)
    archive = Archive(database, described, most, lambda: ROOT)
    app.register_blueprint(routes.blueprint(archive, lambda: scope), url_prefix="/aetitle")
    app.register_error_handler(ProxyError, respond.problem)
    return app.test_client()
