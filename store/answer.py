"""The answer to a store request: the Store Instances Response Module (PS3.18 Section 10.5.3 and Annex I)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb import dicom_json, dicom_xml
from dicomweb.dicom_json import Element, element
from dicomweb.media_types import DICOM_JSON, DICOM_XML, JSON
from dicomweb.negotiation import Accept
from dicomweb.uids import resource_path
from store.outcome import Outcome

_SOP_CLASS, _SOP_INSTANCE, _RETRIEVE_URL = "00081150", "00081155", "00081190"
_WARNING_REASON, _FAILURE_REASON = "00081196", "00081197"
_FAILED, _REFERENCED, _OTHER_FAILURES = "00081198", "00081199", "0008119A"
_MOST_WARNINGS = 10

OFFERS = (DICOM_JSON, DICOM_XML, JSON)
"""The media types of an answer."""

_ENCODERS = {
    DICOM_JSON: dicom_json.encode,
    JSON: dicom_json.encode,
    DICOM_XML: dicom_xml.encode_xml,
}


@dataclass(frozen=True)
class Answer:
    """Status, Content-Type and body, and the texts of Warning headers."""

    status: int
    content_type: str
    body: bytes
    warnings: Sequence[str]


def choose_media_type(accept: Accept) -> str:
    """The media type of an answer; the first one if the client accepts none: its instances are to be stored anyway."""
    ranges = (*accept.by_query, *accept.by_header)
    return next((offer for each in ranges for offer in OFFERS if each.covers(offer)), OFFERS[0])


def make_answer(outcomes: Sequence[Outcome], media_type: str, public_root: str, *, spooled: bool = False) -> Answer:
    """The answer about the instances of a request. With `spooled`, those that did not fail are not stored yet."""
    body = _ENCODERS[media_type](_response(outcomes, public_root))
    return Answer(_status(outcomes, spooled=spooled), media_type, body, _warnings(outcomes, spooled=spooled))


def _status(outcomes: Sequence[Outcome], *, spooled: bool) -> int:
    """409 if nothing was stored, 200 if everything was and as it came, else 202 (PS3.18 Table 10.5.3-1)."""
    if not any(outcome.is_stored for outcome in outcomes):
        return 409
    as_it_came = all(outcome.is_stored and outcome.warning is None for outcome in outcomes)
    return 200 if as_it_came and not spooled else 202


def _response(outcomes: Sequence[Outcome], public_root: str) -> Mapping[str, Element]:
    stored = [outcome for outcome in outcomes if outcome.is_stored]
    failed = [outcome for outcome in outcomes if not outcome.is_stored]
    studies = {outcome.study_instance_uid for outcome in stored}
    url = [f"{public_root}{resource_path(study)}" for study in studies] if len(studies) == 1 else []
    sequences = {
        _FAILED: [_failure(outcome) for outcome in failed if _is_identified(outcome)],
        _REFERENCED: [_reference(outcome, public_root) for outcome in stored],
        _OTHER_FAILURES: [_reason(outcome) for outcome in failed if not _is_identified(outcome)],
    }
    items = {tag: element("SQ", found) for tag, found in sequences.items() if found}
    return {_RETRIEVE_URL: element("UR", url), **items}


def _is_identified(outcome: Outcome) -> bool:
    return bool(outcome.sop_class_uid and outcome.sop_instance_uid)


def _reference(outcome: Outcome, public_root: str) -> dict[str, Any]:
    path = resource_path(outcome.study_instance_uid, outcome.series_instance_uid, outcome.sop_instance_uid)
    item = {**_identity(outcome), _RETRIEVE_URL: element("UR", [public_root + path])}
    return item if outcome.warning is None else {**item, _WARNING_REASON: element("US", [int(outcome.warning)])}


def _failure(outcome: Outcome) -> dict[str, Any]:
    return {**_identity(outcome), **_reason(outcome)}


def _identity(outcome: Outcome) -> dict[str, Any]:
    return {
        _SOP_CLASS: element("UI", [outcome.sop_class_uid]),
        _SOP_INSTANCE: element("UI", [outcome.sop_instance_uid]),
    }


def _reason(outcome: Outcome) -> dict[str, Any]:
    return {_FAILURE_REASON: element("US", [int(outcome.failure or 0)])}


def _warnings(outcomes: Sequence[Outcome], *, spooled: bool) -> list[str]:
    """What people should know: each reason once, with the number of instances."""
    texts = Counter(_text(outcome) for outcome in outcomes if not outcome.is_stored or outcome.warning is not None)
    found = [f"{count} {'instance' if count == 1 else 'instances'} {text}" for text, count in texts.most_common()]
    if spooled and any(outcome.is_stored for outcome in outcomes):
        found.insert(0, "accepted and kept safe, and not stored yet: it can be searched and retrieved later")
    return found[:_MOST_WARNINGS]


def _text(outcome: Outcome) -> str:
    kind, code = ("not stored", outcome.failure) if not outcome.is_stored else ("stored", outcome.warning)
    return (
        f"{kind}, reason {code or 0:04X}H: {outcome.detail}" if outcome.detail else f"{kind}, reason {code or 0:04X}H"
    )
