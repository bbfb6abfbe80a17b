"""An operator's browser on a page of somebody else's: it changes nothing, and shows nothing of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from tests.hostile.conftest import Target
from tests.shield_server.test_browser import in_browser

__all__ = ["in_browser"]

pytestmark = pytest.mark.servers

#: Tells in its title what became of each attempt.
ATTACK = """<!doctype html><title>working</title>
<iframe name="framed" src="{target}/routes/"></iframe>
<iframe name="sent"></iframe>
<form method="post" target="sent"><input name="username" value="olga"><input name="password" value="secret">
<input name="status" value="maintenance"><input name="reason" value="evil"></form>
<script>
const options = {{method: "POST", credentials: "include", mode: "no-cors"}};
const attempts = [
  () => fetch("{target}/api/global/enable", options),
  () => fetch("{target}/api/global/enable", {{...options, body: '{{"reason": "evil"}}'}}),
  () => fetch("{target}/api/global/enable",
              {{...options, body: new Blob(['{{"reason": "evil"}}'], {{type: ""}})}}),
  () => fetch("{target}/api/global/enable", {{...options, mode: "cors", body: "{{}}",
              headers: {{"Content-Type": "application/json"}}}}),
  () => fetch("{target}/api/routes", {{credentials: "include"}}),
  () => new Promise((read, closed) => {{
    const stream = new EventSource("{target}/api/sdk/events", {{withCredentials: true}});
    stream.onmessage = read; stream.onerror = () => {{ stream.close(); closed(); }};
  }}),
];
async function run() {{
  const read = [];
  for (const attempt of attempts)
    try {{ const answer = await attempt(); if (answer.type !== "opaque") read.push(attempt.toString()); }}
    catch {{ }}
  const form = document.forms[0];
  for (const path of ["/login", "/logout", "/routes/maintenance/", "/api/global/enable"]) {{
    form.action = "{target}" + path;
    const done = new Promise(resolve => document.querySelector("[name=sent]").onload = resolve);
    form.submit();
    await done;
  }}
  document.title = read.length ? "read: " + read : "done";
}}
addEventListener("load", run);
</script>"""


@pytest.fixture
def foreign_page() -> Iterator[object]:
    """``foreign_page(content)`` returns the address of a page on another host of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(server.content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def publish(content: str) -> str:
        server.content = content.encode()
        return f"http://localhost:{server.server_port}/"

    yield publish
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("is_open", [False, True], ids=["logged in", "open"])
def test_a_page_of_another_site_changes_nothing(serve, in_browser, foreign_page, is_open):
    server = serve(options={"auth": None} if is_open else {})
    address = foreign_page(ATTACK.format(target=server.address))

    def story(page):
        if not is_open:
            page.goto("/login")
            page.get_by_label("Username:").fill("olga")
            page.get_by_label("Password:").fill("secret")
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url("**/")
        page.goto(address)
        page.wait_for_function("document.title !== 'working'")
        assert page.title() == "done"
        framed = page.frame(name="framed")
        assert "payments" not in (framed.content() if framed else "")
        page.goto(f"{server.address}/routes/")
        assert "payments:GET:/pay" in page.content()

    in_browser(server.address, story)
    headers = {} if is_open else {"Authorization": f"Bearer {Target(server).token}"}
    assert httpx2.get(f"{server.address}/api/audit", headers=headers).json() == []


def test_no_page_loads_anything_from_elsewhere_or_breaks_its_policy(serve, in_browser):
    server = serve()

    def story(page):
        page.goto("/login")
        page.get_by_label("Username:").fill("olga")
        page.get_by_label("Password:").fill("secret")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/")
        assert page.evaluate("document.cookie") == ""
        for path in (
            "/",
            "/routes/",
            "/routes/maintenance/",
            "/instances/",
            "/audit/",
            "/api/routes",
            "/api/audit",
        ):
            page.goto(path)
        for path in ("/nothing/", "/routes/add/", "/static/nothing"):
            page.goto(path)

    wrong = in_browser(server.address, story)
    refused = [one for one in wrong if one.startswith(("403 ", "404 ")) or "Failed to load resource" in one]
    assert [one for one in wrong if one not in refused] == []
