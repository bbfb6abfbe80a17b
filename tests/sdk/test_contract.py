"""What the engine relies on in every backend, over a Shield Server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends.file import FileBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.testing import BackendContract
from tests.heavy import HEAVY
from tests.sdk.node import Node


class TestContract(BackendContract):
    processes = 8 if HEAVY else 3
    mutations = 100 if HEAVY else 10
    kills = 10 if HEAVY else 1
    service = "shop"

    @pytest.fixture
    def make_backend(self, tmp_path: Path) -> Iterator[Callable[[], Any]]:
        """With an operator's token, who may change everything."""
        with Node(partial(FileBackend, tmp_path / "state.json", audit_limit=None)) as node:
            tokens, authority = node.control.tokens, node.control.authority
            token = tokens.sign(tokens.make("olga", "cli", fingerprint=authority.fingerprint("olga")))
            yield partial(ShieldServerBackend, node.address, token=token, snapshot_path="")
