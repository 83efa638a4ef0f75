"""The calls to AWS HealthImaging. Runs in the FrameFetcher processes, and in `check` at the command line."""

import re
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ahi.client.boto3_client import endpoint_url, make_client, trace_headers
from ahi.client.failures import error_code, readable
from ahi.client.frame_calls import FrameCalls
from ahi.client.listing_calls import ListingCalls
from ahi.client.rates import CallRates
from ahi.client.retries import RetryingCaller
from ahi.client.searches import PAGE_SIZE
from ahi.image_sets.image_set import METADATA_BYTES, ImageSetKey, ImageSetProperties, check_metadata_bound
from dicomweb.errors import NotFound, UpstreamBusy
from runtime.heartbeat import Heartbeat
from runtime.outage import Outage
from runtime.shared_metrics import ProcessMetrics

_VERSION = re.compile(r"[0-9]{1,20}", re.ASCII)
_IMAGE_SET_ID = re.compile(r"[0-9a-z]{32}", re.ASCII)
_PIECE_BYTES = 2**20
_SEARCH_SECONDS = 5.0  # the client usually has most of the study already
_MAX_PAGES = 40
"""Pages of SearchImageSets for one study: 2,000 image sets."""


class AhiClient:
    """The calls that a read-only proxy makes. Safe to share between threads. Make it after a fork.

    A call is retried until `deadline_seconds` after it began, and then is UpstreamBusy.
    """

    def __init__(
        self,
        *,
        region: str,
        max_connections: int = 32,
        deadline_seconds: float = 10,
        process_metrics: ProcessMetrics | None = None,
        outage: Outage | None = None,
        heartbeat: Heartbeat | None = None,
        rates: CallRates | None = None,
        conflict_seconds: float = float("inf"),
    ) -> None:
        """`outage` may be shared by processes: it logs when AHI stops and starts to answer.

        `rates` bounds all calls, without it there is no bound. UpstreamLocked comes after `conflict_seconds` at most.
        """
        self._caller = RetryingCaller(deadline_seconds, process_metrics, outage, heartbeat, rates, conflict_seconds)
        self._client = make_client(region, max_connections, deadline_seconds)
        self._frame_calls = FrameCalls(self._client, max_connections, deadline_seconds)
        self.listing = ListingCalls(self._client, self._caller)

    def image_set_metadata(self, key: ImageSetKey, version: str, max_bytes: int = METADATA_BYTES) -> bytes:
        """Fetch the metadata of one version, as gzip or as plain JSON. UpstreamFailed above `max_bytes`."""

        def call() -> bytes:
            answer = self._client.get_image_set_metadata(
                datastoreId=key.datastore_id, imageSetId=key.image_set_id, versionId=version
            )
            pieces, size_bytes = [], 0
            for piece in answer["imageSetMetadataBlob"].iter_chunks(_PIECE_BYTES):
                pieces.append(piece)
                size_bytes += len(piece)
                check_metadata_bound(size_bytes, max_bytes)
            return b"".join(pieces)

        return self._caller.call("GetImageSetMetadata", call)

    def image_set(
        self, key: ImageSetKey, version: str | None = None, patience_seconds: float | None = None
    ) -> ImageSetProperties:
        """Fetch the properties of one version, by default the latest. NotFound for a deleted image set.

        `patience_seconds` bounds the retries, where that is less than the deadline.
        """
        parameters = {"versionId": version} if version else {}

        def call() -> ImageSetProperties:
            answer: Any = self._client.get_image_set(
                datastoreId=key.datastore_id, imageSetId=key.image_set_id, **parameters
            )
            return _parse_properties(answer)

        return self._caller.call("GetImageSet", call, patience_seconds)

    def image_frame(self, key: ImageSetKey, frame_id: str) -> bytes:
        """Fetch the stored bytes of a frame."""

        def call() -> bytes:
            if self._frame_calls.is_ready:
                return self._frame_calls.frame(key, frame_id, trace_headers())
            answer = self._client.get_image_frame(
                datastoreId=key.datastore_id,
                imageSetId=key.image_set_id,
                imageFrameInformation={"imageFrameId": frame_id},
            )
            return answer["imageFrameBlob"].read()

        return self._caller.call("GetImageFrame", call)

    def search_study(self, datastore_id: str, study_instance_uid: str) -> list[ImageSetKey]:
        """Find the image sets of a study in a data store, at most 2,000. NotFound without that data store.

        UpstreamFailed where the right to the call is missing.
        """
        equal: Any = {"operator": "EQUAL", "values": [{"DICOMStudyInstanceUID": study_instance_uid}]}
        give_up_at = time.monotonic() + min(self._caller.deadline_seconds, _SEARCH_SECONDS)

        def call(token: str | None) -> tuple[list[ImageSetKey], str | None]:
            next_page: Any = {"nextToken": token} if token else {}
            answer: Any = self._client.search_image_sets(
                datastoreId=datastore_id, searchCriteria={"filters": [equal]}, maxResults=PAGE_SIZE, **next_page
            )
            return _parse_summaries(datastore_id, answer)

        found: list[ImageSetKey] = []
        token: str | None = None
        for page in range(_MAX_PAGES):
            patience_seconds = give_up_at - time.monotonic()
            if page and patience_seconds < 0:
                raise UpstreamBusy("AWS HealthImaging does not answer at the moment")
            keys, token = self._caller.call("SearchImageSets", partial(call, token), patience_seconds)
            found += keys
            if not token:
                break
        return found

    def ping(self, datastore_id: str | None) -> float | None:
        """Return AHI's clock (Unix time, None where it names none) if AHI answers. Not retried.

        UpstreamBusy or UpstreamFailed otherwise. A missing right to this call is no error: reading needs none.
        """
        try:
            answer = readable(partial(self._datastore, datastore_id))
        except ClientError as error:
            answer = error.response
            if error_code(error) != "AccessDeniedException":
                raise self._caller.failed(self.ping_operation(datastore_id), error) from error
        except BotoCoreError as error:
            raise self._caller.failed(self.ping_operation(datastore_id), error) from error
        self._caller.succeeded()
        date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
        try:
            return parsedate_to_datetime(date).timestamp() if date else None
        except ValueError:
            return None

    @staticmethod
    def ping_operation(datastore_id: str | None) -> str:
        """The operation that `ping` calls."""
        return "GetDatastore" if datastore_id else "ListDatastores"

    def _datastore(self, datastore_id: str | None) -> Any:
        if datastore_id:
            return self._client.get_datastore(datastoreId=datastore_id)
        return self._client.list_datastores(maxResults=1)

    def endpoint_url(self, operation: str) -> str:
        """The URL of the host of AHI that answers an operation."""
        return endpoint_url(self._client, operation)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._frame_calls.close()


def _parse_properties(answer: Any) -> ImageSetProperties:
    """Parse an answer of GetImageSet. TypeError or ValueError for another answer, NotFound for a deleted image set."""
    if answer.get("imageSetState") == "DELETED":
        raise NotFound("the image set was deleted")
    version, is_primary, updated_at = answer.get("versionId"), answer.get("isPrimary"), answer.get("updatedAt")
    if not isinstance(version, str) or not _VERSION.fullmatch(version) or not isinstance(is_primary, bool | None):
        raise TypeError("not the properties of an image set")
    return ImageSetProperties(version, is_primary is not False, updated_at.timestamp() if updated_at else 0.0)


def _parse_summaries(datastore_id: str, answer: Any) -> tuple[list[ImageSetKey], str | None]:
    """Parse an answer of SearchImageSets: image sets, and the token of the next page. TypeError for another answer."""
    token, ids = answer.get("nextToken"), [summary["imageSetId"] for summary in answer["imageSetsMetadataSummaries"]]
    if not isinstance(token, str | None) or not all(_IMAGE_SET_ID.fullmatch(image_set_id) for image_set_id in ids):
        raise TypeError("not the answer of a search")
    return [ImageSetKey(datastore_id, image_set_id) for image_set_id in ids], token
