"""The errors of AHI: type, HTTP status and message."""

STATUS = {
    "ValidationException": 400,
    "BadRequestException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "UnknownOperationException": 404,
    "NotAcceptableException": 406,
    "ConflictException": 409,
    "ThrottlingException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}


class AhiError(Exception):
    """An error that becomes the answer; `kind` is a key of STATUS."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = STATUS[kind]

    @classmethod
    def of_status(cls, status: int, message: str) -> "AhiError":
        """The most common error of an HTTP status; KeyError if AHI has none."""
        kinds = {status: kind for kind, status in reversed(STATUS.items())}
        return cls(kinds[status], message)
