"""What ``hostile_rest_settings`` names."""

from django.contrib.auth.backends import ModelBackend
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


def last_seen(get_response):
    """A middleware as projects have it, which takes ``request.user`` for one of their users."""

    def respond(request):
        from django.contrib.auth.models import User

        response = get_response(request)
        if request.user.is_authenticated:
            User.objects.filter(pk=request.user.pk).update(last_name="seen")
        return response

    return respond


class ByEmail(ModelBackend):
    """Knows users by their address, as many a project does."""

    def authenticate(self, request, username=None, password=None, **credentials):
        from django.contrib.auth.models import User

        found = User.objects.filter(email=username).first()
        return found if found is not None and found.check_password(password) else None
