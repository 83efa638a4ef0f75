"""The CPU time of the writer of the index for an image set of CT slices, from the bytes that AHI sends to the commit.

python -m bench.index_writing [--sets 300] [--instances 100]

MariaDB runs beside it on the same cores; its time does not count. The memory is that of the process after a tenth of
the image sets, and after all.
"""

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ahi.image_sets.image_set import metadata_document
from bench.opening import Figure
from bench.table import markdown
from index.writing.writer import IndexWriter
from tests.servers import mysql_server

AIM_MS = 20.0
_STORE = "d" * 32
_UPDATED = datetime(2026, 1, 1, tzinfo=timezone.utc)
_SERIES_OF_STUDY = 3
_PRIVATE = range(0x1000, 0x101E)


def answer(number: int, instances: int) -> bytes:
    """The metadata of a CT series as AHI sends it; three of them are of one study, six of one patient."""
    study, series = f"1.2.826.0.1.{number // _SERIES_OF_STUDY}", f"1.2.826.0.1.{number // _SERIES_OF_STUDY}.{number}"
    document = {
        "SchemaVersion": "1.1",
        "DatastoreID": _STORE,
        "ImageSetID": f"{number:032x}",
        "Patient": {"DICOM": {"PatientID": f"P{number // 6}", "PatientName": f"DOE{number // 6}^JANE^^^",
                              "PatientBirthDate": "19700101", "PatientSex": "F"}},
        "Study": {
            "DICOM": {"StudyInstanceUID": study, "StudyDate": "20260110", "StudyTime": "101112.25",
                      "AccessionNumber": f"A{number // _SERIES_OF_STUDY}", "StudyDescription": "CT THORAX",
                      "ReferringPhysicianName": "ROE^RICHARD"},
            "Series": {
                series: {
                    "DICOM": {"SeriesInstanceUID": series, "Modality": "CT", "SeriesNumber": str(number % 9),
                              "SeriesDescription": "THORAX 1.25 B31", "Manufacturer": "ACME", "StationName": "CT1",
                              "InstitutionName": "GENERAL HOSPITAL", "BodyPartExamined": "CHEST",
                              "ProtocolName": "THORAX ROUTINE"},
                    "Instances": {f"{series}.{at}": _instance(f"{series}.{at}", number, at) for at in range(instances)},
                }
            },
        },
    }  # fmt: skip
    return gzip.compress(json.dumps(document).encode())


def _instance(uid: str, number: int, at: int) -> dict[str, Any]:
    moment = f"1011{at % 60:02}.{number % 1000:03}"
    elements = {
        "SOPInstanceUID": uid, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "InstanceNumber": str(at + 1),
        "AcquisitionDate": "20260110", "AcquisitionTime": moment,
        "ContentDate": "20260110", "ContentTime": moment, "PhotometricInterpretation": "MONOCHROME2", "Rows": 512,
        "Columns": 512, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
        "RescaleSlope": "1", "RescaleIntercept": "-1024", "WindowCenter": ["40", "400"], "WindowWidth": ["400", "2000"],
        "SamplesPerPixel": 1, "ImagePositionPatient": ["-150.0", "-150.0", str(at * 1.25)], "KVP": "120",
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"], "PixelSpacing": ["0.58", "0.58"],
        "SliceThickness": "1.25", "SliceLocation": str(at * 1.25), "ExposureTime": "500", "XRayTubeCurrent": "300",
        "FilterType": "BODY", "ConvolutionKernel": "B31", "PatientPosition": "HFS", "TableHeight": "150",
        **{f"0019{element:04X}": str(element) for element in _PRIVATE},
    }  # fmt: skip
    levels = [{"Width": 16 << level, "Height": 16 << level, "Checksum": at * level} for level in range(6)]
    frame = {"ID": f"{number * 10_000 + at:032x}", "PixelDataChecksumFromBaseToFullResolution": levels,
             "MinPixelValue": -1024, "MaxPixelValue": 3071, "FrameSizeInBytes": 524288}  # fmt: skip
    return {
        "DICOM": elements,
        "DICOMVRs": {f"0019{element:04X}": "DS" for element in _PRIVATE},
        "StoredTransferSyntaxUID": "1.2.840.10008.1.2.4.202",
        "ImageFrames": [frame],
    }


def measure(sets: int, instances: int) -> list[Figure]:
    """Figures of so many image sets, written one after the other."""
    server = mysql_server()
    try:
        writer = IndexWriter(server.new_database())
        writer.create_or_migrate()
        cpu = wall = 0.0
        memory: list[float] = []
        for number in range(sets):
            blob = answer(number, instances)
            begun = time.process_time(), time.perf_counter()
            metadata = metadata_document(blob)
            writer.put(_STORE, metadata, 1, True, _UPDATED + timedelta(seconds=number))
            cpu, wall = cpu + time.process_time() - begun[0], wall + time.perf_counter() - begun[1]
            if number + 1 in (max(1, sets // 10), sets):
                memory.append(_memory_mb())
        writer.close()
    finally:
        server.close()
    return [
        Figure(f"image set of {instances} CT slices, CPU", 1000 * cpu / sets, "ms", at_most=AIM_MS),
        Figure("the same, on the clock", 1000 * wall / sets, "ms"),
        Figure("memory after a tenth", memory[0], "MB"),
        Figure("memory after all", memory[-1], "MB", at_most=memory[0] + 16),
    ]


def _memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--instances", type=int, default=100)
    options = parser.parse_args(arguments)
    meaning = {True: "met", False: "missed", None: "-"}
    rows = [
        (one.line, one.value, one.unit, one.at_most or "-", meaning[one.met])
        for one in measure(options.sets, options.instances)
    ]
    print(markdown(("line", "found", "unit", "aim", ""), rows))


if __name__ == "__main__":
    main()
