"""What is counted, and what a storage says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from shield_core.models import Algorithm
from shield_core.rate_limit.grammar import Rate

#: Part of a request by which sums of floating point numbers may differ.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Counter:
    """One limit as storages count it: so many requests per key.

    ``name`` is the scope's, ``generation`` changes when the scope is reset. ``capacity`` is the
    limit with its burst, ``seconds`` the period, ``interval`` the seconds in which one request's
    room comes back, ``depth`` those in which all of it does. ``table`` names all counts of one scope
    that are kept together.
    """

    name: str
    generation: int
    algorithm: Algorithm
    amount: int
    capacity: int
    seconds: int
    text: str
    shadow: bool = False
    interval: float = field(init=False)
    depth: float = field(init=False)
    table: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", self.seconds / self.amount)
        object.__setattr__(self, "depth", self.interval * (self.capacity + _ROUNDING))
        object.__setattr__(self, "table", table_name(self.algorithm, self.generation, self.name))

    @classmethod
    def make(
        cls,
        name: str,
        rate: Rate,
        *,
        text: str,
        algorithm: Algorithm = Algorithm.FIXED_WINDOW,
        burst: int = 0,
        generation: int = 0,
        shadow: bool = False,
    ) -> Counter:
        return cls(name, generation, algorithm, rate.amount, rate.amount + burst, rate.seconds, text, shadow)


def table_name(algorithm: Algorithm, generation: int, name: str) -> str:
    return f"{algorithm.value}|{generation}|{name}"


def algorithm_of(table: str) -> Algorithm:
    """Return the algorithm of a table's name. Raises ValueError for what is none."""
    return Algorithm(table.partition("|")[0])


#: What one counter says of a request: (allowed, remaining, reset_after, retry_after).
#:
#: ``remaining`` requests are left, after this one where it is charged; all of the capacity is there again
#: in ``reset_after`` seconds, and room for a request in ``retry_after`` (0 where there is). A plain tuple,
#: because it is made for each layer of each request.
Verdict: TypeAlias = tuple[bool, int, float, float]
