"""Slows down those who guess passwords, without locking out the one who knows his.

Only failures count. An account can be tried from one source (an address; an IPv6 /64) a few times a
minute, and a source fails only so often in all, so an attacker elsewhere takes nothing from the
operator's own source. While an account is attacked from many sources, each of them may fail once a minute.
"""

from __future__ import annotations

import json
import logging
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from django.http import HttpRequest
from django_ratelimit.core import get_usage

from shield_core.exceptions import ShieldException
from shield_core.plan import Authorship
from shield_core.rate_limit.addresses import network_key
from shield_django.api.errors import TooManyLogins
from shield_django.auth.sources import source_of
from shield_django.auth.tokens import Token
from shield_django.control import control_of

logger = logging.getLogger("shield.auth")

#: Failures, seconds.
PAIR = (5, 60)
SOURCE = (30, 300)
ACCOUNT = (50, 3600)
#: How many failed logins are written into the audit log, whoever fails.
AUDITED = (100, 3600)
#: Seconds that an attempt waits for those of its source which came before.
PATIENCE = 10.0

#: Who is at the door, by control plane and source. Attempts at once would all be let in to try, before the
#: first of them has failed.
_doors: WeakValueDictionary[tuple[str, str], threading.Lock] = WeakValueDictionary()
_doors_lock = threading.Lock()


def guarded(
    request: HttpRequest, username: str, platform: str, log_in: Callable[[], Token | None]
) -> Token | None:
    """Return what ``log_in`` does; None, for a wrong password, is counted. Raises TooManyLogins."""
    control, source = control_of(request), source_of(request)
    throttle = LoginThrottle(request, control.name, username, source.get("client_ip", ""))
    with throttle.turn():
        throttle.check()
        token = log_in()
        is_told = token is None and throttle.failed()
    if is_told:
        by: Authorship = {**source, "platform": platform}
        try:
            control.engine.sync.note_failed_login(username, **by)
        except ShieldException as error:  # a Shield Server, as the store of a service, takes none
            logger.warning("The failed login is not in the audit log: %s", error)
    return token


class LoginThrottle:
    """The attempts of one source at one account, on the control plane ``name``."""

    def __init__(self, request: HttpRequest, name: str, account: str, source: str) -> None:
        self._request = request
        self._name = name
        # As a database may compare names: attempts at OLGA are attempts at olga.
        self._account = unicodedata.normalize("NFKC", account).casefold()
        self._source = network_key(source) if source else "unknown"
        self._has_complained = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let one attempt of a source after the other through. Raises TooManyLogins after ``PATIENCE``."""
        with _doors_lock:
            door = _doors.setdefault((self._name, self._source), threading.Lock())
        if not door.acquire(timeout=PATIENCE):
            raise TooManyLogins(1)
        try:
            yield
        finally:
            door.release()

    def check(self) -> None:
        """Raise TooManyLogins when this attempt must wait."""
        account = self._usage("account", ACCOUNT)
        attacked = account is not None and account["count"] >= account["limit"]
        allowed = 1 if attacked else PAIR[0]
        for usage, limit in (
            (self._usage("pair", PAIR), allowed),
            (self._usage("source", SOURCE), SOURCE[0]),
        ):
            if usage is not None and usage["count"] >= limit:
                raise TooManyLogins(max(usage["time_left"], 1))

    def failed(self) -> bool:
        """Count a failure; return whether it is to be written into the audit log."""
        pair = self._usage("pair", PAIR, count=True)
        self._usage("source", SOURCE, count=True)
        self._usage("account", ACCOUNT, count=True)
        logger.warning("A login as %r from %s failed.", self._account, self._source)
        if pair is not None and pair["count"] not in (1, PAIR[0]):
            return False  # the first of a row is told, and the one after which it is stopped
        written = self._usage("audited", AUDITED, count=True)
        return written is None or not written["should_limit"]

    def _usage(self, what: str, rate: tuple[int, int], *, count: bool = False) -> Any:
        """Return what django-ratelimit knows, None while its cache cannot be used."""
        parts = {
            "pair": [self._source, self._account],
            "source": [self._source],
            "account": [self._account],
            "audited": [],
        }
        key = json.dumps(parts[what])
        try:
            usage = get_usage(
                self._request,
                group=f"shield.login.{self._name}.{what}",
                key=lambda group, request: key,
                rate=rate,
                increment=count,
            )
        except Exception as error:  # noqa: BLE001 - a cache may raise anything; operators must get in
            if not self._has_complained:
                logger.error("Failed logins are not counted, the cache cannot be used: %s", error)
                self._has_complained = True
            return None
        return None if usage is None or usage["time_left"] < 0 else usage
