"""How a limit is written: ``"100/minute"``, ``"10/10s"``, ``"100/5m"``, ``"unlimited"``."""

from __future__ import annotations

import re
from typing import NamedTuple

from shield_core.exceptions import InvalidInputError

#: Lets everything pass: for a tier, or to lift a limit of the code at runtime.
UNLIMITED = "unlimited"

_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_RATE = re.compile(r"(\d{1,12})\s*(?:/|\bper\b)\s*(\d{0,6})\s*([a-z]+)", re.ASCII)
MAX_AMOUNT = 1_000_000_000
MAX_SECONDS = 366 * 86400


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    amount: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate | None:
        """Read a limit; None is unlimited. Raises InvalidInputError, which says what is wrong."""
        if not isinstance(text, str):
            raise InvalidInputError(f"{text!r} is no limit: write for example '100/minute'.")
        said = text.strip().lower()
        if said == UNLIMITED:
            return None
        match = _RATE.fullmatch(said)
        if match is None or match[3] not in _UNITS:
            raise InvalidInputError(
                f"{text!r} is no limit: write an amount and a period, such as '100/minute', '10/10s', "
                f"'100/5m' (s, m, h or d), or '{UNLIMITED}'."
            )
        amount, seconds = int(match[1]), int(match[2] or 1) * _UNITS[match[3]]
        if not 1 <= amount <= MAX_AMOUNT:
            raise InvalidInputError(f"{text!r} allows {amount} requests: it must be 1 to {MAX_AMOUNT}.")
        if not 1 <= seconds <= MAX_SECONDS:
            raise InvalidInputError(f"{text!r} has a period of {seconds} s: it must be 1 s to 366 days.")
        return cls(amount, seconds)
