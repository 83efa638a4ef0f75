"""Values that a browser keeps for us and cannot read: encrypted and authenticated (AES-256-GCM)."""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.auth.principal import NotProven

_NONCE_BYTES = 12


class Sealed:
    """Seals values for one purpose: what was sealed for another one does not open."""

    def __init__(self, key: bytes, purpose: str) -> None:
        self._cipher = AESGCM(hmac.digest(key, purpose.encode(), hashlib.sha256))

    def seal(self, value: Any) -> str:
        """The text of a JSON value."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, json.dumps(value).encode(), None)).decode()

    def open(self, text: str) -> Any:
        """The value; NotProven if we have not sealed it."""
        try:
            sealed = urlsafe_b64decode(text)
            return json.loads(self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None))
        except (ValueError, InvalidTag) as error:
            raise NotProven("a forged cookie") from error
