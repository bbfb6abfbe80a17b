"""Walk through the API in a process of its own, and print what it answers: ``python -m tests.api.walk``."""

import json
import sys

import django


def main() -> None:
    django.setup()
    from django.conf import settings
    from django.test.utils import setup_test_environment

    setup_test_environment()
    settings.ROOT_URLCONF = "tests.api.urls"

    from shield_core.backends.memory import MemoryBackend
    from tests.api.conftest import PASSWORD, plane_on

    plane = plane_on(MemoryBackend())
    plane.sync.start()
    nobody, olga = plane.caller(), plane.operator()
    route = "routes/payments:GET:/payments"
    html = {"Accept": "text/html"}
    state = {"path": "GET:/payments", "sunset_date": "2100-01-01T00:00:00Z", "reason": "ä"}
    walk = [
        (nobody, "POST", "auth/login", {"username": "olga", "password": PASSWORD}, {}),
        (nobody, "GET", "routes", None, {}),
        (nobody, "GET", "schema", None, {}),
        (olga, "POST", "sdk/register", {"app_id": "payments", "states": [state]}, {}),
        (olga, "GET", "routes?service=payments&format=xml", None, {"Accept": "application/xml"}),
        (olga, "GET", "routes", None, html),
        (olga, "OPTIONS", "routes", None, {}),
        (olga, "POST", f"{route}/disable", {"until": "2100-01-01T00:00:00Z"}, {}),
        (
            olga,
            "POST",
            f"{route}/disable",
            {"for": "1h", "until": "2100-01-01T00:00:00Z"},
            {},
        ),
        (olga, "POST", "routes/bulk", {"action": "enable", "routes": ["payments:GET:/payments"]}, {}),
        (olga, "POST", "global/enable", {}, {"If-Match": '"77"'}),
        (olga, "POST", "global-rate-limit", {"limit": "5/minute"}, {}),
        (olga, "POST", "global-rate-limit", {"burst": "many"}, {}),
        (olga, "GET", "routes/payments:GET:/nothing", None, {}),
        (olga, "GET", "nothing", None, {}),
    ]
    told = []
    for caller, method, address, body, headers in walk:
        answer = caller(method, address, body, headers=headers)
        is_json = answer["Content-Type"] == "application/json"
        content = answer.json() if is_json else answer.content.decode()
        told.append(
            {
                "asked": f"{method} {address}",
                "status": answer.status_code,
                "type": answer["Content-Type"],
                "shape": _shape(content) if is_json else len(content.split()) > 100,
            }
        )
    plane.sync.stop()
    json.dump(told, sys.stdout)


def _shape(content: object) -> object:
    """Return what does not differ from run to run."""
    if isinstance(content, dict):
        return {name: _shape(one) for name, one in content.items()}
    if isinstance(content, list):
        return [_shape(one) for one in content]
    return content if not isinstance(content, str) or len(content) < 20 or " " in content else len(content)


if __name__ == "__main__":
    main()
