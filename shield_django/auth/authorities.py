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

#: Compared with the password of somebody who does not exist, so that both take the same time.
_NOBODY = "nobody"


class AuthBackend(Protocol):
    """What ``auth=`` may be besides usernames and passwords."""

    def authenticate_user(self, username: str, password: str) -> Any:
        """Return something true when the password is right; sync or async."""


class Authority(ABC):
    """Checks operators' passwords. ``is_open``: there are none, everybody is an operator."""

    is_open = False

    @abstractmethod
    def check(self, request: HttpRequest, username: str, password: str) -> bool:
        """Whether the password is right; as slow for unknown users as for known ones."""

    @abstractmethod
    def fingerprint(self, username: str) -> str:
        """Return what changes with the password, "" where that is not known."""

    def knows(self, username: str) -> bool:
        """Whether tokens of ``username`` still count."""
        return True

    def user(self, username: str) -> Any:
        """Return the user whose permissions count, or None: then an operator may do everything."""
        return None


class Open(Authority):
    """``auth=None``: no login anywhere."""

    is_open = True

    def check(self, request: HttpRequest, username: str, password: str) -> bool:
        return False

    def fingerprint(self, username: str) -> str:
        return ""


class Passwords(Authority):
    """Usernames and passwords; a password may be one of Django's hashes."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._passwords: dict[str, str] = {}
        for username, password in pairs:
            if not username or not password:
                raise ImproperlyConfigured("auth= needs a name and a password that are not empty.")
            if username in self._passwords:
                raise ImproperlyConfigured(f"auth= names {username!r} twice.")
            self._passwords[username] = password
        if not self._passwords:
            raise ImproperlyConfigured("auth= names nobody; leave it out for an open server.")

    def check(self, request: HttpRequest, username: str, password: str) -> bool:
        known = self._passwords.get(username)
        right = self._compare(password, known if known is not None else self._nobody())
        return right and known is not None

    def fingerprint(self, username: str) -> str:
        found = self._passwords.get(username)
        return (
            salted_hmac("shield.fingerprint", found, secret="-", algorithm="sha256").hexdigest()[:16]
            if found
            else ""
        )

    def knows(self, username: str) -> bool:
        return username in self._passwords

    def _compare(self, password: str, known: str) -> bool:
        return check_password(password, known) if _is_hash(known) else constant_time_compare(password, known)

    def _nobody(self) -> str:
        """Return what takes as long to compare with as the passwords there are."""
        return next(filter(_is_hash, self._passwords.values()), _NOBODY)


class Foreign(Authority):
    """An object of the project's with ``authenticate_user(username, password)``."""

    def __init__(self, backend: AuthBackend) -> None:
        self._backend = backend

    def check(self, request: HttpRequest, username: str, password: str) -> bool:
        ask = self._backend.authenticate_user
        if iscoroutinefunction(ask):
            return bool(async_to_sync(ask)(username, password))
        return bool(ask(username, password))

    def fingerprint(self, username: str) -> str:
        ask = getattr(self._backend, "fingerprint", None)
        return str(ask(username)) if ask is not None else ""


class Django(Authority):
    """The project's own users, with their permissions."""

    def check(self, request: HttpRequest, username: str, password: str) -> bool:
        return authenticate(request, username=username, password=password) is not None

    def fingerprint(self, username: str) -> str:
        user = self.user(username)
        return user.get_session_auth_hash()[:16] if user is not None else ""

    def knows(self, username: str) -> bool:
        return self.user(username) is not None

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
        self._authority = Passwords(passwords.items()) if passwords else None

    def check(self, request: HttpRequest, service: str, password: str) -> bool:
        return self._authority is not None and self._authority.check(request, service, password)

    def fingerprint(self, service: str) -> str:
        return self._authority.fingerprint(service) if self._authority is not None else ""


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
