"""What ``hostile_rest_settings`` names."""

from rest_framework import authentication, negotiation, parsers, permissions, renderers, throttling


class Broken:
    def __init__(self, *args, **options):
        raise AssertionError("nobody should use this")


class Shouting(renderers.BaseRenderer):
    media_type = "text/shouting"
    format = "shouting"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return str(data).upper()


class Deaf(parsers.BaseParser):
    media_type = "*/*"

    def parse(self, stream, media_type=None, parser_context=None):
        raise AssertionError("nobody should use this")


class NobodyKnown(authentication.BaseAuthentication):
    def authenticate(self, request):
        raise AssertionError("nobody should use this")


class NothingAllowed(permissions.BasePermission):
    def has_permission(self, request, view):
        return False


class NeverAgain(throttling.BaseThrottle):
    def allow_request(self, request, view):
        return False


class NoAgreement(negotiation.BaseContentNegotiation):
    def select_parser(self, request, parsers):
        raise AssertionError("nobody should use this")

    select_renderer = select_parser


def swallow(*args, **options):
    raise AssertionError("nobody should use this")
