"""Everything once more with ``DATABASES = {}``, where the users come from no database either."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.admin.conftest import HAS_DATABASE

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(not HAS_DATABASE, reason="this is the run that it starts")
def test_the_pages_need_no_database():
    run = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-m",
            "pytest",
            "tests/admin",
            "--ds=tests.settings_no_database",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            "not servers",
        ],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings_no_database"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed, run.stdout[-500:]
    assert int(passed[1]) > 100


@pytest.mark.skipif(HAS_DATABASE, reason="runs in the run without a database")
def test_a_query_would_fail_here():
    from django.contrib.auth.models import User
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises((ImproperlyConfigured, RuntimeError)):
        User.objects.exists()
