from django.apps import AppConfig


class BoardConfig(AppConfig):
    """The demo's first page: every route of the shop, and what it answers now."""

    name = "board"
