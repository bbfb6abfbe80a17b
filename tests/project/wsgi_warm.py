"""The WSGI application of a process that has answered a request before it forks its workers."""

import sys
from io import BytesIO
from wsgiref.util import setup_testing_defaults

from tests.project.wsgi import application

environ = {"PATH_INFO": "/shop/cart/", "wsgi.input": BytesIO()}
setup_testing_defaults(environ)
environ["PATH_INFO"] = "/shop/cart/"
status = []
b"".join(application(environ, lambda line, headers: status.append(line)))
print("warmed up", *status, file=sys.stderr, flush=True)
