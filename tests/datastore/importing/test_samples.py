"""All that pydicom and pydicom-data ship, imported at once: what goes in, and why the rest does not."""

import gzip
import json
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from datastore.findings import FindingKind
from datastore.importing.importer import ImportReport, import_files
from datastore.importing.samples import sample_files
from datastore.storage.storage import Storage

NO_IDENTITY = "has no SOPClassUID, SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID"
NO_STUDY = "belongs to no study: its SOP class is one of objects without a patient"
DIRECTORY = "is a DICOMDIR, which only lists other files"
CUT = "breaks off before its end"

REFUSED = {
    **dict.fromkeys(("chrSQEncoding.dcm", "chrSQEncoding1.dcm", "empty_charset_LEI.dcm"), NO_IDENTITY),
    **dict.fromkeys(("UN_sequence.dcm", "nested_priv_SQ.dcm", "priv_SQ.dcm"), NO_IDENTITY),
    **dict.fromkeys(("meta_missing_tsyntax.dcm", "no_meta_group_length.dcm"), NO_IDENTITY),
    **dict.fromkeys(("fall.dcm", "hotiron.dcm", "hotmetalblue.dcm", "pet.dcm", "pet20step.dcm"), NO_STUDY),
    **dict.fromkeys(("spring.dcm", "summer.dcm", "winter.dcm"), NO_STUDY),
    **dict.fromkeys(("DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-empty.dcm", "DICOMDIR-implicit"), DIRECTORY),
    **dict.fromkeys(("DICOMDIR-nooffset", "DICOMDIR-nopatient", "DICOMDIR-reordered"), DIRECTORY),
    **dict.fromkeys(("MR_truncated.dcm", "rtplan_truncated.dcm"), CUT),
    "emri_small_jpeg_2k_lossless_too_short.dcm": CUT,
}
"""Every sample that is DICOM and not imported, with its reason."""

STUDY, SERIES = "StudyInstanceUID: it was missing", "SeriesInstanceUID: it was missing"
ICON = "IconImageSequence/1/PixelData: pixels inside of a sequence are not kept"

FOUND = {
    "badVR.dcm": {"NumberOfFrames: it is 15 now"},
    "JPEG2000-embedded-sequence-delimiter.dcm": {"frame 1: the pixel data cannot be decoded (RuntimeError)"},
    "MR_small_padded.dcm": {"PixelData: 128 bytes after the last frame"},
    **dict.fromkeys(("MR-SIEMENS-DICOM-WithOverlays.dcm", "examples_overlay.dcm"), {ICON}),
    **dict.fromkeys(("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm"), {STUDY, SERIES}),
    **dict.fromkeys(("SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm"), {STUDY, SERIES}),
}
"""Every sample of which something is told, but for those that replace another one."""

NOT_DICOM = {"zipMR.gz", "no_meta.dcm", "README"}
SECONDS = 120


class Told:
    """An index that looks no further."""

    def put(self, datastore_id: str, image_set: Mapping[str, Any]) -> None:
        assert image_set["DatastoreID"] == datastore_id


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, ImportReport, float]:
    storage = Storage.open(tmp_path_factory.mktemp("samples"))
    start = time.monotonic()
    report = import_files(sample_files(), storage, Told())
    return storage, report, time.monotonic() - start


@pytest.mark.slow
def test_every_sample_is_imported_or_refused_for_a_known_reason(
    imported: tuple[Storage, ImportReport, float], capsys: pytest.CaptureFixture[str]
) -> None:
    _, report, seconds = imported
    refused = {refused.path.name: refused.reason for refused in report.refused}
    with capsys.disabled():
        print(f"\n{report.imported} samples imported in {seconds:.1f} s, {report.skipped_non_dicom} are not DICOM,")  # noqa: T201
        for name, reason in sorted(refused.items()):
            print(f"  refused {name}: {reason}")  # noqa: T201
    assert refused == REFUSED
    told: dict[str, set[str]] = {}
    for found in report.found:
        if found.finding.kind is not FindingKind.INSTANCE_REPLACED:
            told.setdefault(found.path.name, set()).add(str(found.finding))
    assert told == FOUND
    assert report.counts[FindingKind.INSTANCE_REPLACED] == report.replaced
    assert report.skipped_non_dicom == len(NOT_DICOM & {path.name for path in sample_files()}) == len(NOT_DICOM)
    assert report.imported == len(sample_files()) - len(report.refused) - len(NOT_DICOM)


def test_both_packages_are_there() -> None:
    names = {path.name for path in sample_files()}
    assert {"CT_small.dcm", "chrH31.dcm", "liver.dcm", "rtdose.dcm", "waveform_ecg.dcm", "test-SR.dcm"} <= names
    assert len(names) > 200


def test_the_import_is_quick(imported: tuple[Storage, ImportReport, float]) -> None:
    assert imported[2] < SECONDS


def test_every_image_set_can_be_read_as_a_whole(imported: tuple[Storage, ImportReport, float]) -> None:
    """Kept frames have the checksum that their metadata states; every frame is there."""
    storage, report, _ = imported
    count = 0
    for version in storage.image_sets():
        document = json.loads(gzip.decompress(storage.metadata(version.image_set_id)))
        assert document["ImageSetID"] == version.image_set_id
        (series,) = document["Study"]["Series"].values()
        assert len(series["Instances"]) == version.tags["DICOMNumberOfStudyRelatedInstances"]
        for instance in series["Instances"].values():
            for frame in instance["ImageFrames"]:
                stored = storage.frame(version.image_set_id, frame["ID"]).path.read_bytes()
                assert len(stored) == frame["FrameSizeInBytes"]
                if instance["ChecksumType"] == "COMPRESSED":
                    assert zlib.crc32(stored) == frame["PixelDataChecksumFromBaseToFullResolution"][-1]["Checksum"]
                count += 1
    assert report.imported - report.replaced == sum(
        int(version.tags["DICOMNumberOfStudyRelatedInstances"] or 0) for version in storage.image_sets()
    )
    assert count > 100


def test_a_sample_is_a_file_with_a_path_of_its_own() -> None:
    assert all(isinstance(path, Path) and path.is_file() for path in sample_files())
    assert sample_files() == sorted(set(sample_files()))
