"""One decorator of each kind, and views to put them on."""

from shield_core.decorators import deprecated, disabled, env_only, force_active, maintenance, rate_limit

STAMPS = {
    "maintenance": maintenance(reason="m"),
    "disabled": disabled(reason="d"),
    "env_only": env_only("dev", "staging"),
    "deprecated": deprecated("2027-01-01", use_instead="/v2"),
    "rate_limit": rate_limit("10/minute"),
    "force_active": force_active,
}


def fresh_view():
    def view():
        return "ran"

    return view
