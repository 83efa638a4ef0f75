"""The instances of an index as DICOM files without pixels, to give other servers the same data."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import Engine, Row, select

from db.schema import instance, patient, series, study

_COLUMNS = {  # keyword: column of the index
    "PatientID": patient.c.patientid,
    "PatientName": patient.c.patientname,
    "PatientBirthDate": patient.c.patientbirthdate,
    "PatientSex": patient.c.patientsex,
    "StudyInstanceUID": study.c.studyinstanceuid,
    "AccessionNumber": study.c.accessionnumber,
    "StudyID": study.c.studyid,
    "StudyDate": study.c.studydate,
    "StudyTime": study.c.studytime,
    "StudyDescription": study.c.studydescription,
    "ReferringPhysicianName": study.c.referringphysicianname,
    "SeriesInstanceUID": series.c.seriesinstanceuid,
    "Modality": series.c.modality,
    "SeriesNumber": series.c.seriesnumber,
    "SeriesDescription": series.c.seriesdescription,
    "SOPInstanceUID": instance.c.sopinstanceuid,
    "SOPClassUID": instance.c.sopclassuid,
    "InstanceNumber": instance.c.instancenumber,
    "Rows": instance.c.rows,
    "Columns": instance.c.columns,
}


def dicom_files(index: Engine) -> Iterator[bytes]:
    """A file for each instance of the index."""
    joined = instance.join(series).join(study).join(patient)
    with index.connect() as connection:
        for row in connection.execute(select(*_COLUMNS.values()).select_from(joined)):
            yield _file(row)


def _file(row: Row[Any]) -> bytes:
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in zip(_COLUMNS, row, strict=True):
        setattr(data_set, keyword, "" if value in (None, "None") else value)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    file = BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()
