"""The servers that are compared: the proxy with its data store and index, Orthanc, and nginx."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import ImageSet
from bench.nginx import Nginx, running_nginx
from bench.orthanc import Orthanc, running_orthanc
from bench.workload import Size, Workload, write_workload
from datastore.importing.importer import import_files
from datastore.index.filler import IndexFiller
from datastore.storage.storage import Storage
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL
from tests.servers import MariaDb
from tests.service.ahi import Ahi
from tests.service.process import Service


@dataclass(frozen=True)
class Archive:
    """The workload in a running data store and in an index; `environment` leads services to both."""

    size: Size
    workload: Workload
    ahi: Ahi
    index_url: str
    folder: Path

    def a_slice(self) -> tuple[bytes, str, PixelFormat]:
        """A frame of the first CT series as it is stored, its transfer syntax, and its layout."""
        storage = Storage.open(self.folder / "data" / "store")
        found = ((one, ImageSet.from_metadata(storage.metadata(one.image_set_id))) for one in storage.image_sets())
        version, image_set = next(pair for pair in found if pair[1].series_instance_uid == self.workload.ct[0].uid)
        instance = image_set.instances[0]
        frame = storage.frame(version.image_set_id, instance.frames[0].frame_id).path.read_bytes()
        pixels = PixelFormat(self.size.side, self.size.side, 1, 16, 0, "MONOCHROME2")
        return frame, instance.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL, pixels

    @contextmanager
    def service(self, **environment: str) -> Iterator[Service]:
        """A freshly started service with an empty cache, which is deleted at the end."""
        found = {
            "DATABASE_URL": self.index_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self.ahi.url,
            "LOG_LEVEL": "WARNING",
        }
        with tempfile.TemporaryDirectory(prefix="service-", dir=self.folder) as folder:
            service = Service(Path(folder), {**found, **environment})
            try:
                yield service
            finally:
                service.stop()


@contextmanager
def running_archive(folder: Path, size: Size, *, long: bool) -> Iterator[Archive]:
    """Write the workload to `folder/files`, import and serve it; `long` adds the series of growing length."""
    workload = write_workload(folder / "files", size, long=long)
    mariadb = MariaDb(memory="256M")
    try:
        index_url = mariadb.new_index()
        index = IndexFiller(index_url)
        index.create_schema()
        report = import_files([folder / "files"], Storage.open(folder / "data" / "store"), index)
        index.close()
        if report.refused:
            raise RuntimeError(f"the data store refused {report.refused[0]}")
        ahi = Ahi(folder / "data")
        try:
            yield Archive(size, workload, ahi, index_url, folder)
        finally:
            ahi.stop()
    finally:
        mariadb.close()


@dataclass(frozen=True)
class Server:
    """A server: its URL and its first process."""

    name: str
    root: str
    pid: int


@dataclass(frozen=True)
class Stand:
    """Servers with the same data. Orthanc may be missing."""

    service: Service
    ahi: Ahi
    workload: Workload
    orthanc: Orthanc | None
    nginx: Nginx

    @property
    def servers(self) -> Mapping[str, Server]:
        """The servers by name."""
        ours = Server("proxy", self.service.root, self.service.process.pid)
        peer = [Server("Orthanc", self.orthanc.root, self.orthanc.pid)] if self.orthanc else []
        limit = Server("nginx", self.nginx.root, self.nginx.pid)
        return {server.name: server for server in (ours, *peer, limit)}


@contextmanager
def running_stand(archive: Archive, *, peer: bool) -> Iterator[Stand]:
    """Servers in front of the archive, and Orthanc with the same files if `peer`."""
    with ExitStack() as stack:
        service = stack.enter_context(archive.service())
        nginx = stack.enter_context(running_nginx(archive.folder / "nginx"))
        orthanc = stack.enter_context(running_orthanc()) if peer else None
        if orthanc:
            orthanc.store(path.read_bytes() for path in sorted((archive.folder / "files").glob("*.dcm")))
        yield Stand(service, archive.ahi, archive.workload, orthanc, nginx)
