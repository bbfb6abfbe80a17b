"""Views of every kind that Django and DRF know, with and without stamps."""

from __future__ import annotations

import threading

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import action, api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from shield_django.decorators import deprecated, disabled, env_only, force_active, maintenance


def plain(request, **kwargs):
    return JsonResponse({"view": "plain", "thread": threading.get_ident(), **kwargs})


async def plain_async(request, **kwargs):
    return JsonResponse({"view": "plain_async", "thread": threading.get_ident(), **kwargs})


@maintenance(reason="Database migration — back at 04:00 UTC")
def in_maintenance(request):
    return HttpResponse("in_maintenance")


@disabled(reason="gone for good")
async def is_disabled(request):
    return HttpResponse("is_disabled")


@env_only("dev", "staging")
def gated(request):
    return HttpResponse("gated")


@env_only("test")
def open_gate(request):
    return HttpResponse("open_gate")


@deprecated(sunset="2030-01-01T00:00:00Z", use_instead="/v2/old/", since="2026-01-01")
def old(request):
    return HttpResponse("old")


@force_active
def health(request):
    return HttpResponse("ok")


@maintenance(reason="read only for now", read_only=True)
@csrf_exempt
def read_only(request):
    return HttpResponse("read_only")


@login_required
@maintenance(reason="members only")
def members(request):
    return HttpResponse("members")


class Payments(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"payments": []})

    def post(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"paid": True})


@maintenance(reason="the whole class")
class WholeClass(View):
    def get(self, request):
        return HttpResponse("whole")


class Inherits(WholeClass):
    pass


@disabled(reason="the subclass wins")
class Overrides(WholeClass):
    pass


class OneMethod(View):
    def get(self, request):
        return HttpResponse("get")

    @maintenance(reason="no writes")
    def post(self, request):
        return HttpResponse("post")


@method_decorator(maintenance(reason="dispatched"), name="dispatch")
class Dispatched(View):
    def get(self, request):
        return HttpResponse("dispatched")


@method_decorator([env_only("test"), disabled(reason="listed"), maintenance(reason="also")], name="dispatch")
class Listed(View):
    def get(self, request):
        return HttpResponse("listed")


class GatedClass(View):
    @env_only("dev")
    def get(self, request):
        return HttpResponse("gated get")


class Report(APIView):
    authentication_classes = ()
    permission_classes = ()

    @maintenance(reason="reports are rebuilt")
    def get(self, request):
        return Response({"report": []})

    def post(self, request):
        return Response({"posted": True})


@maintenance(reason="above api_view")
@api_view(["GET", "POST"])
def function_api(request):
    return Response({"ok": True})


class Items(ViewSet):
    authentication_classes = ()
    permission_classes = ()

    def list(self, request, format=None):
        return Response(["a"])

    def retrieve(self, request, pk=None, format=None):
        return Response({"pk": pk})

    @disabled(reason="no deletions")
    def destroy(self, request, pk=None, format=None):
        return Response(status=204)

    @maintenance(reason="publishing is off")
    @action(detail=True, methods=["post"])
    def publish(self, request, pk=None, format=None):
        return Response({"published": pk})
