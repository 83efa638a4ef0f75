"""The rate of small searches, study by PatientID, beside the plugin of Orthanc on the same data.

python -m bench.small_searches [--studies 300] [--instances 1] [--seconds 10]
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from bench.closed_loop import Rate, closed_loop
from bench.dicom_files import dicom_files
from bench.index import DATABASE, index_server
from bench.orthanc import running_orthanc
from bench.table import markdown
from db.indexes import create_statements
from db.schema import patient
from tests.servers import engine_of
from tests.service.process import Service

CONNECTIONS = (1, 8)
_PATHS = 100


@contextmanager
def running_service(index_url: str) -> Iterator[str]:
    """Run the service on an index, as an operator does; gives its root."""
    environment = {
        "DATABASE_URL": index_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": "http://127.0.0.1:9",  # nothing listens there: no search calls AHI
        "FRAME_FETCHERS": "1",  # no search needs them
        "LOG_LEVEL": "WARNING",
    }
    with tempfile.TemporaryDirectory(prefix="bench-service-") as folder:
        service = Service(Path(folder), environment, healthy=False)
        try:
            yield service.root
        finally:
            service.stop()


def compare(studies: int, instances: int, seconds: float) -> list[tuple[str, int, Rate, Rate]]:
    """The rates of the service and of Orthanc for each number of connections. Studies have 6 times `instances`."""
    with index_server(studies, None, print, instances=instances) as server, engine_of(server.url(DATABASE)) as engine:
        server.execute(f"USE {DATABASE}", *create_statements("mysql"))
        with engine.connect() as connection:
            ids = connection.scalars(select(patient.c.patientid).where(patient.c.patientid != "NO_PID").limit(_PATHS))
            paths = [f"/studies?PatientID={patient_id}" for patient_id in ids]
        with running_service(server.url(DATABASE)) as ours, running_orthanc() as orthanc:
            orthanc.store(dicom_files(engine))
            found = []
            for connections in CONNECTIONS:
                ours_rate, theirs = (_warm(root, paths, connections, seconds) for root in (ours, orthanc.root))
                found.append(("study by PatientID", connections, ours_rate, theirs))
            return found


def _warm(root: str, paths: Sequence[str], connections: int, seconds: float) -> Rate:
    closed_loop(root, paths, connections=connections, seconds=1)
    return closed_loop(root, paths, connections=connections, seconds=seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--instances", type=int, default=1, help="times 6 in each study, on average")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    rows = [
        (name, connections, ours.per_second, theirs.per_second, ours.per_second / theirs.per_second,
         ours.median_ms, theirs.median_ms, ours.bad + theirs.bad)
        for name, connections, ours, theirs in compare(options.studies, options.instances, options.seconds)
    ]  # fmt: skip
    print(
        markdown(("search", "connections", "service /s", "Orthanc /s", "ratio", "p50 ms", "Orthanc p50", "bad"), rows)
    )


if __name__ == "__main__":
    main()
