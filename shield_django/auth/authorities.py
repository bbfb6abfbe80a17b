"""Who knows usernames and passwords: nobody (open), a list, an object of the project's, or Django."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import check_password, identify_hasher
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from shield_core.exceptions import InvalidKeyError
from shield_core.keys import check_service

#: Compared with the password of somebody who does not exist, so that both take the same time.
_NOBODY = "nobody"


class AuthBackend(Protocol):
    """What ``auth=`` may be besides usernames and passwords.

    It may have ``fingerprint(username)`` too: a text that changes with the password, whose tokens end then.
    """

    def authenticate_user(self, username: str, password: str) -> Any:
        """Return something true when the password is right; sync or async."""


class Authority(ABC):
    """Checks operators' passwords. ``is_open``: there are none, everybody is an operator."""

    is_open = False

    @abstractmethod
    def check(self, request: HttpRequest, username: str, password: str) -> str | None:
        """Return the operator's own name, None where the password is wrong; as slow for unknown users."""

    @abstractmethod
    def fingerprints(self, username: str) -> Sequence[str]:
        """Return what changes with the password, by each key that counts, the newest first.

        "" stands for what is not known; there are none of somebody whose tokens do not count.
        """

    def fingerprint(self, username: str) -> str:
        return next(iter(self.fingerprints(username)), "")

    def user(self, username: str) -> Any:
        """Return the user whose permissions count, or None: then an operator may do everything."""
        return None


class Open(Authority):
    """``auth=None``: no login anywhere."""

    is_open = True

    def check(self, request: HttpRequest, username: str, password: str) -> str | None:
        return None

    def fingerprints(self, username: str) -> Sequence[str]:
        return [""]


class Passwords(Authority):
    """Usernames and passwords; a password may be one of Django's hashes. They are of ``argument``."""

    def __init__(self, pairs: Iterable[tuple[str, str]], argument: str = "auth=") -> None:
        self._passwords: dict[str, str] = {}
        for username, password in pairs:
            if not username or not password:
                raise ImproperlyConfigured(f"{argument} needs a name and a password that are not empty.")
            if username in self._passwords:
                raise ImproperlyConfigured(f"{argument} names {username!r} twice.")
            self._passwords[username] = password
        if not self._passwords:
            raise ImproperlyConfigured(f"{argument} names nobody; leave it out for an open server.")
        self._a_hash = next(filter(_is_hash, self._passwords.values()), None)

    def check(self, request: HttpRequest, username: str, password: str) -> str | None:
        known = self._passwords.get(username)
        hashed = known if known is not None and _is_hash(known) else None
        # Whoever it is: one comparison and, where any password is hashed, one hash.
        by_text = constant_time_compare(password, known or _NOBODY) and known is not None
        by_hash = self._a_hash is not None and check_password(password, hashed or self._a_hash)
        return username if (by_hash if hashed else by_text) else None

    def fingerprints(self, username: str) -> Sequence[str]:
        found = self._passwords.get(username)
        if found is None:
            return []
        return [salted_hmac("shield.fingerprint", found, secret="-", algorithm="sha256").hexdigest()[:16]]


class Foreign(Authority):
    """An object of the project's with ``authenticate_user(username, password)``."""

    def __init__(self, backend: AuthBackend) -> None:
        self._backend = backend

    def check(self, request: HttpRequest, username: str, password: str) -> str | None:
        ask = self._backend.authenticate_user
        plain = async_to_sync(ask) if iscoroutinefunction(ask) else ask
        return username if plain(username, password) else None

    def fingerprints(self, username: str) -> Sequence[str]:
        ask = getattr(self._backend, "fingerprint", None)
        return [str(ask(username)) if ask is not None else ""]


class Django(Authority):
    """The project's own users, with their permissions."""

    def check(self, request: HttpRequest, username: str, password: str) -> str | None:
        # A backend of the project's may find a user by something else, as an address.
        user = authenticate(request, username=username, password=password)
        return str(user.get_username()) if user is not None else None

    def fingerprints(self, username: str) -> Sequence[str]:
        user = self.user(username)
        if user is None:
            return []
        by_older_keys = user.get_session_auth_fallback_hash()
        return [found[:16] for found in (user.get_session_auth_hash(), *by_older_keys)]

    def user(self, username: str) -> Any:
        model = get_user_model()
        try:
            user = model._default_manager.get_by_natural_key(username)
        except model.DoesNotExist:
            return None
        return user if user.is_active else None


class Services:
    """``services={name: password}``: credentials that log in as a service, never as an operator."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        for service in passwords:
            try:
                check_service(service)
            except InvalidKeyError as error:
                raise ImproperlyConfigured(f"services= names no service: {error}") from None
        self._authority = Passwords(passwords.items(), "services=") if passwords else None

    def check(self, request: HttpRequest, service: str, password: str) -> bool:
        return self._authority is not None and self._authority.check(request, service, password) is not None

    def fingerprints(self, service: str) -> Sequence[str]:
        return self._authority.fingerprints(service) if self._authority is not None else []

    def fingerprint(self, service: str) -> str:
        return next(iter(self.fingerprints(service)), "")


def authority_from(auth: Any) -> Authority:
    """Read ``auth=``. Raises ImproperlyConfigured for what is neither of its forms."""
    match auth:
        case None:
            return Open()
        case Authority():
            return auth
        case "django":
            return Django()
        case (str() as username, str() as password):
            return Passwords([(username, password)])
        case Sequence() if not isinstance(auth, str) and all(_is_pair(one) for one in auth):
            return Passwords([(username, password) for username, password in auth])
        case _ if callable(getattr(auth, "authenticate_user", None)):
            return Foreign(auth)
    raise ImproperlyConfigured(
        "auth= is None, (username, password), a list of such pairs, an object with "
        'authenticate_user(username, password), or "django" for the users of the project.'
    )


def _is_pair(one: Any) -> bool:
    return isinstance(one, tuple | list) and len(one) == 2 and all(isinstance(part, str) for part in one)


def _is_hash(password: str) -> bool:
    try:
        identify_hasher(password)
    except ValueError:
        return False
    return True
