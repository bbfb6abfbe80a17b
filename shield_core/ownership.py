"""Whose a file is."""

from __future__ import annotations

import os
import stat


def is_writable_by_others(found: os.stat_result) -> bool:
    """Whether another user than this one, or root, could have written a file or a folder."""
    return found.st_uid not in (os.geteuid(), 0) or bool(stat.S_IMODE(found.st_mode) & 0o022)
