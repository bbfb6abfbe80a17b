"""The suite's project with its static files, for browsers."""

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from tests.project.asgi import application as project

application = ASGIStaticFilesHandler(project)
