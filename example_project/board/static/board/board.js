// Makes the first page live: countdowns, changes as they happen, answers in place.
// Without this file the page shows end times, and a form leads to the answer.

const INTERVAL = 1000;

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function showTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    time.title = clock.format(moment);
    if (time.classList.contains("countdown")) {
      const left = Math.max(0, Math.round((moment - Date.now()) / 1000));
      const hours = Math.floor(left / 3600);
      const minutes = String(Math.floor((left % 3600) / 60)).padStart(hours ? 2 : 1, "0");
      const seconds = String(left % 60).padStart(2, "0");
      time.textContent = `${hours ? `${hours}:` : ""}${minutes}:${seconds} left`;
    }
  }
}

let known = "";

async function follow() {
  if (document.hidden) return;
  let text;
  try {
    const response = await fetch(location.pathname, { cache: "no-cache", headers: { Accept: "text/html" } });
    if (!response.ok) return lost(true);
    text = await response.text();
  } catch {
    return lost(true);
  }
  lost(false);
  if (text === known) return;
  const first = known === "";
  known = text;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const shown = document.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
    if (!shown || shown.dataset.source === part.innerHTML) continue;
    const changed = shown.dataset.source !== undefined;
    shown.dataset.source = part.innerHTML;
    if (first) continue;
    shown.className = part.className;
    shown.innerHTML = part.innerHTML;
    if (changed) shown.animate([{ opacity: 0.3 }, { opacity: 1 }], { duration: 400 });
  }
  showTimes(document);
}

function lost(is) {
  const note = document.querySelector(".live");
  note.textContent = is ? "The server does not answer." : "This page follows changes.";
  note.classList.toggle("maintenance", is);
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function pretty(type, body) {
  if (!type.includes("json")) return body;
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

async function send(form) {
  const { method, url, body } = form.dataset;
  const output = form.parentElement.querySelector("output");
  const options = { method, cache: "no-store", headers: { Accept: "application/json" } };
  if (method === "POST") options.body = new URLSearchParams(body);
  const started = performance.now();
  try {
    const response = await fetch(url, options);
    const text = await response.text();
    const took = Math.round(performance.now() - started);
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const line = element("p", "line", `HTTP ${response.status} ${response.statusText}`);
    line.append(element("span", "took", `${took} ms`));
    output.replaceChildren(
      line,
      element("pre", "headers", headers),
      element("pre", "body", pretty(response.headers.get("Content-Type") ?? "", text) || "(no body)"),
    );
  } catch (error) {
    output.replaceChildren(element("p", "line", `No answer: ${error.message}`));
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.url) return;
  event.preventDefault();
  send(event.target);
});

document.querySelector("[data-script-only]").hidden = false;
showTimes(document);
setInterval(() => showTimes(document), 1000);
setInterval(follow, INTERVAL);
follow();
