"""System checks: one for each setting, for the middleware's place, and for stamps that are lost.

``docs/checks.md`` has a paragraph for every id.
"""

from django.core.checks import register as register_check

from shield_django.checks import middleware, settings, stamps, stores

TAG = "shield"


def register() -> None:
    for check in (*settings.CHECKS, *middleware.CHECKS, *stamps.CHECKS, *stores.CHECKS):
        register_check(check, TAG)
    for check in stores.DEPLOY_CHECKS:
        register_check(check, TAG, deploy=True)
