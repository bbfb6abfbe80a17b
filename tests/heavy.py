"""Whether the long forms of tests run: ``SHIELD_HEAVY=1``."""

import os

HEAVY = bool(os.environ.get("SHIELD_HEAVY"))
