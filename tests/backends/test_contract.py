"""The one contract, over every backend there is."""

from __future__ import annotations

import pytest

from shield_core.testing import BackendContract
from tests.backends import stores
from tests.heavy import HEAVY


@pytest.mark.parametrize("make_backend", stores.ALL, indirect=True)
class TestContract(BackendContract):
    processes = 8 if HEAVY else 4
    mutations = 200 if HEAVY else 15
    kills = 30 if HEAVY else 2

    # The suite's own fixture, which is parametrised, in place of one of the class.
    make_backend = None  # type: ignore[assignment]
