"""The one family of errors. A message defaults to the first line of the class's docstring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

#: How many refusals of several one message tells.
_TOLD = 10


class ShieldException(Exception):
    """Shield could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class InvalidInputError(ShieldException, ValueError):
    """The input is not valid."""


class InvalidKeyError(InvalidInputError):
    """The text is not a route key."""


class RouteNotFoundException(ShieldException):
    """No such route is registered."""

    def __init__(self, path: str = "", closest: Sequence[str] = (), sentence: str | None = None) -> None:
        self.path = path
        self.closest = list(closest)
        if sentence is not None:  # a server has said it
            super().__init__(sentence)
            return
        hint = f" Did you mean {' or '.join(self.closest)}?" if closest else ""
        super().__init__(f"No route {path!r} is registered.{hint}")


class UnknownTokenError(InvalidInputError):
    """There is no such token."""


class AmbiguousRouteError(ShieldException):
    """The path stands for several routes."""

    def __init__(self, path: str, matches: Sequence[str], sentence: str | None = None) -> None:
        self.path = path
        self.matches = list(matches)
        said = sentence or f"{path!r} could be any of {', '.join(self.matches)}: name one of them."
        super().__init__(said)


class RouteProtectedException(ShieldException):
    """The route is decorated with @force_active."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is protected by @force_active in the code: it cannot be blocked.")


class BulkRefusedError(ShieldException):
    """Several routes were to be changed at once, and some cannot be: none was."""

    def __init__(self, refusals: Mapping[str, ShieldException]) -> None:
        self.refusals = dict(refusals)
        told = [str(why) if key in str(why) else f"{key}: {why}" for key, why in self.refusals.items()]
        more = f" And {len(told) - _TOLD} more." if len(told) > _TOLD else ""
        super().__init__(f"Nothing was changed. {' '.join(told[:_TOLD])}{more}")


class ConflictError(ShieldException):
    """Somebody else changed the object in between."""

    def __init__(self, path: str, expected: int, actual: int) -> None:
        self.path = path
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"{path} was changed by somebody else: you saw revision {expected}, it is now at {actual}. "
            "Load it again and repeat your change."
        )


class BackendError(ShieldException):
    """The store cannot be used."""


class NothingToRestoreError(BackendError):
    """No running process holds rules that the store has lost."""


class ServerError(BackendError):
    """The Shield Server does not answer as it should.

    ``retry_after`` is how many seconds it wants to be left alone, None where it does not say;
    ``status`` that of its answer, 0 where there was none.
    """

    def __init__(self, message: str | None = None, retry_after: float | None = None, status: int = 0) -> None:
        self.retry_after = retry_after
        self.status = status
        super().__init__(message)


class RefusedError(BackendError):
    """The Shield Server refuses this."""

    def __init__(self, message: str | None = None, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class NotAuthenticatedError(RefusedError):
    """The Shield Server wants a login."""


class NotAllowedError(RefusedError):
    """The Shield Server does not allow this to whoever holds this token."""


class RequestBlocked(ShieldException):
    """The request is not let through."""


class MaintenanceException(RequestBlocked):
    """This endpoint is temporarily unavailable."""

    def __init__(self, reason: str = "", retry_after: datetime | None = None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason or None)


class RouteDisabledException(RequestBlocked):
    """This endpoint has been disabled."""

    def __init__(self, reason: str = "", retry_after: datetime | None = None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason or None)


class EnvGatedException(RequestBlocked):
    """The route does not exist in this environment."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        super().__init__()


class RateLimitExceededException(RequestBlocked):
    """Too many requests."""

    def __init__(
        self,
        limit: str | None,
        retry_after_seconds: float | None,
        reset_at: datetime | None,
        remaining: int,
        key: str,
    ) -> None:
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        self.reset_at = reset_at
        self.remaining = remaining
        self.key = key
        if limit is None or retry_after_seconds is None:  # of another limiter's refusal they are not known
            super().__init__()
        else:
            super().__init__(f"Too many requests: {limit}, and room again in {retry_after_seconds:.1f} s.")
