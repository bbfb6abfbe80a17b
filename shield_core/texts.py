"""What people and programs may not put into a text."""

from __future__ import annotations

import re

#: Line breaks of every kind, and what terminals and headers take as commands.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
