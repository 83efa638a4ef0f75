"""A service as a newcomer starts it, with all samples."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient

from app.commands.import_files import NOT_WHOLE
from datastore.embedded import Embedded
from tests.servers import MariaDb
from tests.service.ahi import Ahi
from tests.service.archive import Sample, write_samples
from tests.service.clinic import Clinic, write_clinic
from tests.service.process import ROOT, Service
from tests.service.secret import index_in_a_secret


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    """The samples by the name of their source file."""
    return {sample.name: sample for sample in write_samples(tmp_path_factory.mktemp("samples"))}


@pytest.fixture(scope="session")
def datastore_root(samples: dict[str, Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded data store that holds the samples, filled by the command."""
    root = tmp_path_factory.mktemp("embedded")
    folder = next(iter(samples.values())).path.parent
    command = [sys.executable, "main.py", "import", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "DATASTORE_ROOT": str(root)}, check=False)
    assert done.returncode == NOT_WHOLE, "icons among the samples lose their pixels"
    return root


@pytest.fixture(scope="module")
def root(datastore_root: Path) -> Path:
    """The data store that `ahi` serves: the samples, unless a module has a fixture of this name."""
    return datastore_root


@pytest.fixture(scope="module")
def ahi(root: Path) -> Iterator[Ahi]:
    """A data store as a server of its own, for each module."""
    ahi = Ahi(root)
    yield ahi
    ahi.stop()


@pytest.fixture(scope="session")
def service(datastore_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The embedded default with the samples."""
    service = Service(tmp_path_factory.mktemp("service"), {"DATASTORE_ROOT": str(datastore_root)})
    yield service
    service.stop()


@pytest.fixture(scope="session")
def client(service: Service) -> DICOMwebClient:
    """A real client of it."""
    return DICOMwebClient(service.root)


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    """A small archive as viewers meet it."""
    return write_clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="session")
def clinic_root(clinic: Clinic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded data store that holds it."""
    root = tmp_path_factory.mktemp("clinic-store")
    Embedded(root).fill([clinic.folder])
    return root


@pytest.fixture(scope="session")
def clinic_service(clinic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has it."""
    service = Service(tmp_path_factory.mktemp("clinic-service"), {"DATASTORE_ROOT": str(clinic_root)})
    yield service
    service.stop()


@pytest.fixture(scope="module")
def secret_arn(mariadb: MariaDb, datastore_root: Path) -> Iterator[tuple[str, str]]:
    """The ARN of a secret that opens an index of the samples, and the endpoint that has it."""
    with index_in_a_secret(mariadb, datastore_root) as found:
        yield found
