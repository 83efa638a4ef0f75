"""The checks of a service that stores: the spool, and AHI's STOW-RS service."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ahi.client.stow import StowClient, default_endpoint
from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.remote import Remote
from app.processes.resources import open_spools
from app.setting_parsers import SHA256
from app.settings import Settings
from dicomweb.errors import ProxyError
from store.spool.spool import OLD_SECONDS, SpoolStatus

_PATIENCE_SECONDS = 5.0


def check_store(settings: Settings) -> Iterator[CheckResult]:
    """All of it; no result for a service that does not store."""
    if not settings.store:
        return
    yield _check_spool(settings)
    targets = {settings.store_datastore_id, *(title.target(None) for title in settings.ae_titles)}
    for datastore_id in sorted(filter(None, targets)):
        yield _check_stow(settings, datastore_id)


def _check_spool(settings: Settings) -> CheckResult:
    where = f"SPOOL_ROOT {settings.spool_root}"
    try:
        spools = open_spools(settings)
        if not all(spool.layout.queue.is_dir() for spool in spools):
            return CheckResult("spool", WARNING, f"{where} is not there yet", "start the service, which makes it")
        if not all(os.access(spool.incoming, os.W_OK | os.X_OK) for spool in spools):
            return CheckResult("spool", ERROR, f"{where} cannot be written", "let the user of the service write there")
        spools[0].check_room(0)
        return describe_status(SpoolStatus.sum(spool.status() for spool in spools))
    except FileNotFoundError:
        return CheckResult("spool", WARNING, f"{where} is not there yet", "start the service, which makes it")
    except OSError as error:
        return CheckResult("spool", ERROR, f"{where}: {error.strerror}", "let the user of the service write there")
    except ProxyError:
        finding = f"{where} has less than SPOOL_MIN_FREE_BYTES"
        return CheckResult("spool", ERROR, finding, "make room on its disk: store requests get 503 now")


def describe_status(status: SpoolStatus) -> CheckResult:
    """The length and the age of the spool; a warning if an operator has to look at it."""
    finding = f"{status.entries} requests wait, {status.size_bytes} bytes, the oldest for {status.oldest_seconds:.0f} s"
    if status.unknown:
        finding = f"{status.unknown} things in the queue cannot be read"
        return CheckResult("spool", WARNING, finding, "`python main.py spool` lists them; they are left alone")
    if status.oldest_seconds > OLD_SECONDS:
        return CheckResult("spool", WARNING, finding, "see the log of the forwarder: AHI or the index refuses them")
    if status.refused:
        finding = f"{status.refused} requests were refused by AHI"
        return CheckResult("spool", WARNING, finding, "`python main.py spool` has the reasons, retries and removes")
    return CheckResult("spool", OK, finding)


@dataclass(frozen=True)
class _NoInstances:
    """A body that AHI refuses: the check stores nothing."""

    content_type: str = 'multipart/related; type="application/dicom"; boundary=none'
    length_bytes: int = 0
    sha256: str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    def chunks(self) -> Iterator[bytes]:
        """No bytes."""
        return iter(())


def _check_stow(settings: Settings, datastore_id: str) -> CheckResult:
    """AHI answers a request without instances, which it refuses for that; another refusal is an error."""
    region = settings.aws_default_region or ""
    client = StowClient(
        region=region,
        endpoint=settings.ahi_stow_endpoint,
        signs_body=settings.ahi_stow_digest == SHA256,
        deadline_seconds=min(_PATIENCE_SECONDS, settings.ahi_deadline_seconds),
        read_seconds=_PATIENCE_SECONDS,
    )
    try:
        client.store(datastore_id, _NoInstances())
    except ProxyError as error:
        remote = Remote.from_url(settings.ahi_stow_endpoint or default_endpoint(region))
        advice = "check the network, AHI_STOW_ENDPOINT and the right medical-imaging:StoreDICOM"
        return CheckResult("store", ERROR, remote.describe("StoreDICOM", error), advice)
    return CheckResult("store", OK, f"{datastore_id} takes store requests")
