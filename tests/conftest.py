"""Fixtures for the whole suite. Services are real processes on free ports, started when first needed."""

from __future__ import annotations

import os

import pytest


def missing_service(name: str, why: str) -> None:
    """Skip, visibly; under CI (SHIELD_REQUIRE_SERVICES) a missing service is a failure."""
    message = f"{name} is not available: {why}"
    if os.environ.get("SHIELD_REQUIRE_SERVICES"):
        pytest.fail(message)
    pytest.skip(message)
