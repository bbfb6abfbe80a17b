"""Route keys in URLs: unpadded base64url, or the plain key percent-encoded.

A key has a slash in it, which base64url never has; so what has one is plain, and the rest is not.
"""

from __future__ import annotations

import base64
import binascii
import re

from shield_core.exceptions import InvalidKeyError
from shield_core.keys import RouteKey
from shield_core.keys import encode_key as encode_key
from shield_django.models import KEY_LENGTH

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_METHOD_LENGTH = 32


def decode_key(text: str) -> str:
    """Return the key or the view's name that a URL holds. Raises InvalidKeyError."""
    if "/" in text:
        return text
    try:
        if not _BASE64URL.fullmatch(text):
            raise ValueError(text)
        bare = text.rstrip("=")
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode()
    except (ValueError, binascii.Error):
        raise InvalidKeyError(
            f"{text[:80]!r} is neither a route key such as 'GET:/payments' nor one in base64url."
        ) from None


def parse_key(text: str, service: str | None = None) -> RouteKey:
    """Parse a key that somebody sent, which every store must be able to hold. Raises InvalidKeyError."""
    if len(text) > KEY_LENGTH:
        raise InvalidKeyError(f"A route key has at most {KEY_LENGTH} characters, this has {len(text)}.")
    key = RouteKey.parse(text, service=service)
    if len(key.method or "") > _METHOD_LENGTH:
        raise InvalidKeyError(f"A method has at most {_METHOD_LENGTH} characters.")
    if len(str(key)) > KEY_LENGTH:
        raise InvalidKeyError(f"A route key has at most {KEY_LENGTH} characters with its service.")
    return key
