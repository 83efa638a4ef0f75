"""What may be stored of the instances in a body, and why the rest may not: a result for each, in their order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dicomweb.dicom_json import DataSet
from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid
from runtime.fairness import computing
from store.outcome import FailureReason, Outcome, ReceivedInstance
from store.receive.body import ReceivedBody
from store.receive.file_bytes import FileBytes
from store.receive.part10 import CannotUnderstand, FileHead, read_head

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

Result: TypeAlias = ReceivedInstance | Outcome
"""An instance that may be stored, or the outcome of one that may not."""

Range: TypeAlias = tuple[int, int]
"""The first byte of a file within the body, and the one after its last."""


class StoreScope(Protocol):
    """The instances that a client may store."""

    @property
    def tags(self) -> Iterable[int]:
        """The attributes that decide."""

    def admits(self, study_instance_uid: str, data_set: DataSet) -> bool:
        """Whether an instance of this study, with these values of the attributes, may be stored."""


@dataclass(frozen=True)
class Checks:
    """The checks of one request. `study` is the study that its path names, "" if it names none."""

    study: str
    scope: StoreScope

    def results(self, body: ReceivedBody, files: Iterable[Range | Outcome]) -> Iterator[Result]:
        """The result for the DICOM file in each range; outcomes are passed on."""
        by_uid: dict[str, ReceivedInstance] = {}
        content = body.content
        for file in files:
            if isinstance(file, Outcome):
                yield file
                continue
            if file[1] > content.length_bytes:  # it was made of the rest of the body
                content = body.content
            with computing():
                result = self._result(content, *file)
            if isinstance(result, ReceivedInstance):
                first = by_uid.setdefault(result.sop_instance_uid, result)
                if first.sha256 != result.sha256:
                    detail = "the same instance is in the request before, with other content"
                    result = Outcome.of(result, failure=FailureReason.DUPLICATE_INSTANCE, detail=detail)
            yield result

    def _result(self, body: FileBytes, start: int, stop: int) -> Result:
        try:
            head = read_head(body, start, stop, self.scope.tags)
        except CannotUnderstand as error:
            return _refused(error.head, FailureReason.CANNOT_UNDERSTAND, str(error))
        if head.meta_class_uid == _MEDIA_STORAGE_DIRECTORY:
            detail = "a DICOMDIR, which only lists other files, cannot be stored"
            return _refused(head, FailureReason.CLASS_NOT_SUPPORTED, detail)
        if wrong := _wrong_uid(head):
            return _refused(head, FailureReason.CANNOT_UNDERSTAND, wrong)
        if self.study and head.study_instance_uid != self.study:
            detail = "it is of another study than the request names"
            return _refused(head, FailureReason.DOES_NOT_MATCH, detail)
        if not self.scope.admits(head.study_instance_uid, head.data_set if self.scope.tags else {}):
            return _refused(head, FailureReason.NOT_AUTHORIZED, "you may not store this")
        return ReceivedInstance(
            start,
            stop - start,
            head.sop_class_uid,
            head.sop_instance_uid,
            head.study_instance_uid,
            head.series_instance_uid,
            head.transfer_syntax_uid,
            body.sha256(start, stop),
        )


def unique(results: Sequence[Result]) -> list[ReceivedInstance]:
    """The instances that are to be stored, each once, in the order of their first occurrence."""
    instances: dict[str, ReceivedInstance] = {}
    for result in results:
        if isinstance(result, ReceivedInstance):
            instances.setdefault(result.sop_instance_uid, result)
    return list(instances.values())


def _wrong_uid(head: FileHead) -> str:
    """The reason why an instance has no identity; "" if it has one. Malformed UIDs are stored as AHI stores them."""
    uids = {
        "SOPClassUID": head.sop_class_uid,
        "SOPInstanceUID": head.sop_instance_uid,
        "StudyInstanceUID": head.study_instance_uid,
        "SeriesInstanceUID": head.series_instance_uid,
    }
    name = next((name for name, uid in uids.items() if not _printable(uid)), "")
    return name and (f"its {name} cannot be used" if uids[name] else f"it has no {name}")


def _refused(head: FileHead | None, reason: FailureReason, detail: str) -> Outcome:
    if head is None:
        return Outcome("", "", "", "", failure=reason, detail=detail)
    return Outcome(
        _printable(head.sop_class_uid),
        _printable(head.sop_instance_uid),
        _printable(head.study_instance_uid),
        _printable(head.series_instance_uid),
        failure=reason,
        detail=detail,
    )


def _printable(uid: str) -> str:
    """A UID that can be in an answer; "" for anything else."""
    try:
        return parse_uid(uid, "")
    except BadRequest:
        return ""
