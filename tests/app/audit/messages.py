"""Audit messages read back: by the schema of the standard, and as the few values that tests ask about."""

from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

_SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("audit-message.rng")))


@dataclass(frozen=True)
class Read:
    """What a message says; the requestor is the participant who asked."""

    event: str
    type: str | None
    outcome: int
    user: str | None
    client: str | None
    objects: dict[str, str]
    query: str | None
    details: dict[str, str]
    sop_classes: dict[str | None, int]
    instances: list[str]


def read(message: bytes | str) -> Read:
    """The message, which must be valid."""
    root = etree.fromstring(message if isinstance(message, bytes) else message.encode())
    assert _SCHEMA.validate(root), f"{_SCHEMA.error_log}\n{message!r}"
    (identification,) = root.findall("EventIdentification")
    kind, (identifier,) = identification.find("EventTypeCode"), identification.findall("EventID")
    requestor = next((one for one in root.findall("ActiveParticipant") if one.get("UserIsRequestor") == "true"), None)
    query = root.find(".//ParticipantObjectQuery")
    details = root.iter("ParticipantObjectDetail")
    return Read(
        identifier.get("csd-code"),
        None if kind is None else kind.get("csd-code"),
        int(identification.get("EventOutcomeIndicator")),
        None if requestor is None else requestor.get("UserID"),
        None if requestor is None else requestor.get("NetworkAccessPointID"),
        {
            one.find("ParticipantObjectIDTypeCode").get("originalText"): one.get("ParticipantObjectID")
            for one in root.findall("ParticipantObjectIdentification")
        },
        None if query is None else b64decode(query.text).decode(),
        {one.get("type"): b64decode(one.get("value")).decode() for one in details},
        {one.get("UID"): int(one.get("NumberOfInstances")) for one in root.iter("SOPClass")},
        [one.get("UID") for one in root.iter("Instance")],
    )
