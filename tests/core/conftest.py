import time
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Wait for a condition, and fail when it does not come true."""

    def wait(condition: Callable[[], object], timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
            time.sleep(0.002)

    return wait
