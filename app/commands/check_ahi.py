"""The checks of AWS HealthImaging: identity, clock, and every operation that the service calls."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ahi.client.calls import AhiClient
from ahi.client.identity import caller_arn, endpoint_url
from ahi.image_sets.image_set import ImageSet, ImageSetKey, ImageSetProperties
from ahi.workers.frame_check import frame_fault
from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.remote import Remote, asking
from app.settings import Settings
from db import inspection
from db.engine import Database
from db.inspection import SampleFrame
from dicomweb.errors import NotFound, ProxyError, UpstreamBusy, UpstreamFailed
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL

_SAMPLE = 20  # image sets that are looked for, the newest of each data store
_NO_STUDY = "2.25.0"  # a study that need not exist: only the right to search is checked
_SKEW_SECONDS = 60
"""The difference of clocks that is still good; AWS refuses signatures that are five minutes off."""


def check_identity(settings: Settings) -> CheckResult:
    """AWS accepts the credentials; the result names their ARN."""
    failure: ProxyError
    try:
        return CheckResult("identity", OK, f"AWS knows the service as {caller_arn(settings.aws_default_region or '')}")
    except UpstreamBusy as error:
        level, failure = WARNING, error
        advice = "none needed if AHI answers: the service itself does not call STS"
    except UpstreamFailed as error:
        level, failure = ERROR, error
        advice = "give the instance or task its role; doc/iam-policy.json has all rights"
    sts = Remote.from_url(endpoint_url("sts", settings.aws_default_region))
    return CheckResult("identity", level, sts.describe("GetCallerIdentity", failure), advice)


def check_ahi(settings: Settings, database: Database) -> Iterator[CheckResult]:
    """AHI answers, with the same time, and allows every operation on each data store of the index."""
    index = Remote(database.place)
    with asking(index, "SELECT"):
        counts = inspection.image_sets_by_datastore(database)
    client = AhiClient(region=settings.aws_default_region or "", deadline_seconds=settings.ahi_deadline_seconds)
    try:
        before, known = time.time(), next(iter(counts), None)
        operation = client.ping_operation(known)
        with asking(_host(client, operation), operation):
            now = client.ping(known)
        yield CheckResult("AHI", OK, f"answers in {(time.time() - before) * 1000:.0f} ms")
        yield from _clock(now, (before + time.time()) / 2)
        if not counts:
            yield CheckResult("data stores", WARNING, "the index is empty", "import into it, or check its name")
        for datastore_id, number in counts.items():
            finding = f"{datastore_id} has {number} image sets in the index"
            yield CheckResult("data store", OK, finding)
            with asking(index, "SELECT"):
                sample = inspection.sample_of(database, datastore_id, _SAMPLE)
            yield from _operations(client, sample)
            yield _search(client, datastore_id)
    finally:
        client.close()


def _host(client: AhiClient, operation: str) -> Remote:
    """The host of AHI that answers an operation."""
    return Remote.from_url(client.endpoint_url(operation))


def _clock(aws_time: float | None, own_time: float) -> Iterator[CheckResult]:
    """The clocks agree; both times are seconds since 1970. No result if AWS does not tell its time."""
    if aws_time is None:
        return
    skew = own_time - aws_time
    if abs(skew) > _SKEW_SECONDS:
        yield CheckResult(
            "clock", ERROR, f"{skew:+.0f} s against AWS", "synchronise it (chrony); AWS refuses signatures"
        )
    else:
        yield CheckResult("clock", OK, f"within {_SKEW_SECONDS} s of AWS")


def _operations(client: AhiClient, sample: Sequence[SampleFrame]) -> Iterator[CheckResult]:
    """Each operation is allowed on the first image set that exists; AHI has all image sets of the sample."""
    missing, tried = [], False
    for frame in sorted(sample, key=lambda frame: not frame.frame_id):  # first those whose frame can be fetched
        key = ImageSetKey(frame.row.datastore_id, frame.row.image_set_id)
        with asking(_host(client, "GetImageSet"), "GetImageSet"):
            properties = _properties(client, key)
        if properties is None:
            missing.append(key.image_set_id)
            continue
        if not tried:
            tried = True
            yield from _content(client, key, properties.version, frame.frame_id)
    if missing:
        finding = f"AHI no longer has {len(missing)} of {len(sample)}: {', '.join(missing)}"
        yield CheckResult("image sets", WARNING, finding, "remove them from the index; they are not shown")
    elif sample:
        yield CheckResult("image sets", OK, f"AHI has the newest {len(sample)}; GetImageSet is allowed")


def _properties(client: AhiClient, key: ImageSetKey) -> ImageSetProperties | None:
    """The properties of an image set; None if AHI does not have it."""
    try:
        return client.image_set(key)
    except NotFound:
        return None


def _content(client: AhiClient, key: ImageSetKey, version: str, frame_id: str | None) -> Iterator[CheckResult]:
    """The metadata and a frame of one image set can be fetched, and are well-formed."""
    image_sets: list[ImageSet] = []

    def parse(metadata: bytes) -> None:
        image_sets.append(ImageSet.from_metadata(metadata))

    yield _timed(client, "GetImageSetMetadata", partial(client.image_set_metadata, key, version), parse)
    instances = image_sets[0].instances if image_sets else ()
    instance = next((instance for instance in instances if instance.frames), None)
    if instance is None and frame_id is None:
        return
    frame_id = instance.frames[0].frame_id if instance else str(frame_id)

    def check_frame(stored: bytes) -> None:
        if instance is None:
            return
        transfer_syntax_uid = instance.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL
        if fault := frame_fault(stored, instance.frames[0], transfer_syntax_uid, None):
            raise UpstreamFailed(f"something else than the frame came: {fault}")

    yield _timed(client, "GetImageFrame", partial(client.image_frame, key, frame_id), check_frame)


def _search(client: AhiClient, datastore_id: str) -> CheckResult:
    """SearchImageSets is allowed; only studies whose image sets the index has lost need it."""
    before = time.monotonic()
    try:
        client.search_study(datastore_id, _NO_STUDY)
    except ProxyError as error:
        reason = _host(client, "SearchImageSets").describe("SearchImageSets", error)
        finding = f"{reason}: studies whose image sets the index has lost cannot be opened"
        return CheckResult(
            "SearchImageSets", WARNING, finding, "allow it in the IAM policy; doc/iam-policy.json has all rights"
        )
    return CheckResult("SearchImageSets", OK, f"allowed, {(time.monotonic() - before) * 1000:.0f} ms")


def _timed(client: AhiClient, operation: str, call: Callable[[], bytes], check: Callable[[bytes], None]) -> CheckResult:
    """An operation is allowed, and its answer passes `check`, which raises ProxyError if not."""
    before = time.monotonic()
    try:
        answer = call()
    except ProxyError as error:
        finding = _host(client, operation).describe(operation, error)
        return CheckResult(operation, ERROR, finding, "allow it in the IAM policy; doc/iam-policy.json has all rights")
    took_ms = (time.monotonic() - before) * 1000
    try:
        check(answer)
    except ProxyError as error:
        finding = _host(client, operation).describe(operation, error)
        return CheckResult(operation, ERROR, finding, "check for a proxy or an endpoint that answers in place of AHI")
    return CheckResult(operation, OK, f"allowed, {took_ms:.0f} ms")
