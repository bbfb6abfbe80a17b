"""The suite's project with the control plane in it, for server processes."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.stream.urls"
