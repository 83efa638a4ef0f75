"""An instance that was received, who sent it, and what has become of it.

These values pass between the receiving side, the spool and the forwarder:

    entry = spool.accept(body, instances, sender)    durable from here on
    forwarder.store(entry)  →  an Outcome for each instance, in the same order
"""

from dataclasses import dataclass
from enum import IntEnum


class FailureReason(IntEnum):
    """Values of FailureReason (0008,1197): PS3.18 Table I.2-2, PS3.4 Section B.2.3."""

    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORIZED = 0x0124
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH = 0xA900
    """The data set does not fit its SOP class, or the study that the request names."""

    CANNOT_UNDERSTAND = 0xC000
    SYNTAX_NOT_SUPPORTED = 0xC122


class WarningReason(IntEnum):
    """Values of WarningReason (0008,1196): PS3.18 Table I.2-1."""

    COERCED = 0xB000
    DISCARDED = 0xB006
    DOES_NOT_MATCH = 0xB007


@dataclass(frozen=True)
class ReceivedInstance:
    """A DICOM file (Part 10) in the body of a request: the bytes from `start` on, and what its head says.

    `sha256` is the digest of these bytes, in hexadecimal digits.
    """

    start: int
    length_bytes: int
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    sha256: str


@dataclass(frozen=True)
class Sender:
    """The client that sent a body: its user, the AE title that it sent to, and the data store that this means."""

    user: str
    ae_title: str
    datastore_id: str


@dataclass(frozen=True)
class Outcome:
    """What has become of one instance.

    It is stored if `failure` is None; then `warning` may say what differs from what was sent. With `again`, a later
    attempt may succeed. `detail` is for people, and has no patient data. A reason may be a code of another service,
    as it sent it.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    failure: int | None = None
    warning: int | None = None
    again: bool = False
    detail: str = ""

    @classmethod
    def of(
        cls,
        instance: ReceivedInstance,
        *,
        failure: int | None = None,
        warning: int | None = None,
        again: bool = False,
        detail: str = "",
    ) -> "Outcome":
        """The outcome of an instance that was received."""
        return cls(
            instance.sop_class_uid,
            instance.sop_instance_uid,
            instance.study_instance_uid,
            instance.series_instance_uid,
            failure,
            warning,
            again,
            detail,
        )

    @property
    def is_stored(self) -> bool:
        """Whether the data store has it."""
        return self.failure is None
