"""Tokens: signed, so that every node verifies them without asking; revoked through the store.

A token holds its subject, platform, service, id and expiry. What is revoked stands in the store
(``TokenRecord``), reaches every node by the change feed, and is looked up in this process's snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.core.signing import BadSignature, Signer
from django.utils.crypto import constant_time_compare, salted_hmac

from shield_core.keys import check_service
from shield_core.models import TokenRecord
from shield_core.snapshot import Snapshot

_SALT = "shield.token"
#: Seconds: operators and browsers; services.
TOKEN_EXPIRY = 86400
SDK_TOKEN_EXPIRY = 31_536_000


class InvalidToken(Exception):
    """The token is not valid."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says. ``platform`` is cli, dashboard or sdk; an sdk token may be bound to a service."""

    subject: str
    platform: str
    id: str
    expires_at: datetime
    service: str | None = None
    #: Of the password with which it was got, "" where that does not matter any more. In a token that was
    #: read it is sealed: whoever finds one cannot try passwords on it.
    fingerprint: str = ""
    #: Whether the subject is a service, which is no operator.
    by_service: bool = False

    @property
    def is_sdk(self) -> bool:
        return self.platform == "sdk"

    @property
    def record(self) -> TokenRecord:
        return TokenRecord(
            id=self.id,
            platform=self.platform,
            subject=self.subject,
            service=self.service,
            expires_at=self.expires_at,
        )


class Tokens:
    """Signs and reads tokens. The first of ``secret_keys`` signs, all of them verify."""

    def __init__(
        self,
        secret_keys: Sequence[str],
        *,
        expiry: int = TOKEN_EXPIRY,
        sdk_expiry: int = SDK_TOKEN_EXPIRY,
    ) -> None:
        self._keys = [*secret_keys]
        self._signer = Signer(key=secret_keys[0], fallback_keys=[*secret_keys[1:]], salt=_SALT)
        self._expiry = {"sdk": sdk_expiry}
        self._other_expiry = expiry

    def make(
        self,
        subject: str,
        platform: str,
        *,
        service: str | None = None,
        fingerprint: str = "",
        by_service: bool = False,
        lifetime: timedelta | None = None,
    ) -> Token:
        """Return a new token; ``lifetime`` replaces that of its platform."""
        seconds = self._expiry.get(platform, self._other_expiry)
        expires_at = datetime.now(UTC) + (lifetime or timedelta(seconds=seconds))
        if service is not None:
            check_service(service)
        return Token(
            subject,
            platform,
            uuid4().hex,
            expires_at.replace(microsecond=0),
            service,
            fingerprint,
            by_service,
        )

    def sign(self, token: Token) -> str:
        return self._signer.sign_object(
            {
                "sub": token.subject,
                "plt": token.platform,
                "jti": token.id,
                "exp": int(token.expires_at.timestamp()),
                "svc": token.service,
                "fp": _sealed(self._keys[0], token.id, token.fingerprint),
                "own": token.by_service,
            }
        )

    def read(self, text: str, snapshot: Snapshot) -> Token:
        """Return a token that is signed, not expired and not revoked. Raises InvalidToken."""
        try:
            said: dict[str, Any] = self._signer.unsign_object(text)
            token = Token(
                subject=str(said["sub"]),
                platform=str(said["plt"]),
                id=str(said["jti"]),
                expires_at=datetime.fromtimestamp(said["exp"], UTC),
                service=said["svc"],
                fingerprint=str(said["fp"]),
                by_service=bool(said["own"]),
            )
        except (BadSignature, ValueError, KeyError, TypeError) as error:
            # A damaged payload under a right signature cannot be; a foreign text fails in many ways.
            raise InvalidToken("The token is not valid.") from error
        if not self.is_alive(token, snapshot):
            raise InvalidToken("The token has expired or was revoked.")
        record = snapshot.token(token.id)
        if token.is_sdk and token.service is None and record is not None and record.service is not None:
            return replace(token, service=record.service)  # it named its service at its first register
        return token

    def is_of(self, token: Token, fingerprints: Sequence[str]) -> bool:
        """Whether a token that was read was got with the password of one of ``fingerprints``."""
        sealed = (_sealed(key, token.id, one) for key in self._keys for one in fingerprints)
        return any(constant_time_compare(token.fingerprint, one) for one in sealed)

    def is_alive(self, token: Token, snapshot: Snapshot) -> bool:
        """Whether the token may still be used; asked again while it holds a stream open."""
        record = snapshot.token(token.id)
        revoked = record is not None and record.revoked_at is not None
        return not revoked and datetime.now(UTC) < token.expires_at


def _sealed(key: str, token_id: str, fingerprint: str) -> str:
    if not fingerprint:
        return ""
    return salted_hmac(_SALT, f"{token_id}:{fingerprint}", secret=key, algorithm="sha256").hexdigest()[:32]
