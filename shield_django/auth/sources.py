"""Where a request comes from, for the audit log and for those who guess passwords."""

from __future__ import annotations

import re

from django.http import HttpRequest

from shield_core.plan import Authorship
from shield_core.rate_limit.addresses import client_address
from shield_django.control import control_of

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def address_of(request: HttpRequest) -> str:
    """Return the client's address, behind as many proxies as are trusted; "" where it is not known."""
    meta = request.META
    forwarded = meta.get("HTTP_X_FORWARDED_FOR")
    return client_address(meta.get("REMOTE_ADDR"), forwarded, control_of(request).num_proxies) or ""


def source_of(request: HttpRequest) -> Authorship:
    """Return the client's address and the request's id, as the audit log has them."""
    request_id = request.headers.get("X-Request-ID", "")
    return Authorship(
        client_ip=address_of(request),
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else "",
    )
