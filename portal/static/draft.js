// What is typed is kept on this device until it is sent; what is sent without a network waits here and goes out later.
// Without this script the same forms work, as long as there is a network.
"use strict";
const net = document.getElementById("net");
const tell = (words) => { net.textContent = words; net.hidden = false; };
const outbox = () => JSON.parse(localStorage.getItem("outbox") || "[]");
const keep = (waiting) => localStorage.setItem("outbox", JSON.stringify(waiting));

const form = document.querySelector("form[data-draft]");
const place = "draft:" + form.dataset.draft;
const KEPT = ["inputs", "targets", "language", "licence"];

const problem = document.getElementById("problem");
const draft = JSON.parse(localStorage.getItem(place) || "{}");
if (!problem) for (const name of KEPT) {
  const field = form.elements[name];
  if (field && typeof draft[name] === "string" && (field.value === field.defaultValue || field.tagName === "SELECT")) field.value = draft[name];
}
form.addEventListener("input", () => {
  const kept = {};
  for (const name of KEPT) if (form.elements[name]) kept[name] = form.elements[name].value;
  localStorage.setItem(place, JSON.stringify(kept));
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form));
  let answer;
  try {
    answer = await fetch("/contribute", { method: "POST", body: fields, headers: { accept: "text/plain" } });
  } catch {
    // The id goes with it: sent twice, it is kept once.
    keep([...outbox(), fields.toString()]);
    localStorage.removeItem(place);
    form.reset();
    form.elements.id.value = crypto.randomUUID();
    tell(net.dataset.queued + " " + outbox().length);
    return;
  }
  if (answer.ok && !answer.redirected) {
    localStorage.removeItem(place);
    location.assign("/contribute");
  } else if (answer.status === 422) {
    tell(await answer.text());
    net.className = "problem";
    net.scrollIntoView();
  } else {
    form.submit(); // signed out, or anything else: the server says it on a page of its own
  }
});

let flushing = false;
const flush = async () => {
  if (flushing || !outbox().length) return;
  flushing = true;
  try {
    while (outbox().length) {
      const [first, ...rest] = outbox();
      const answer = await fetch("/contribute", { method: "POST", body: new URLSearchParams(first), headers: { accept: "text/plain" } });
      if (answer.redirected || answer.status === 429 || answer.status >= 500) return; // signed out, or busy: later
      const refused = answer.ok ? null : await answer.text();
      if (refused !== null) {
        // Back onto the form, so that nothing is lost.
        for (const [name, value] of new URLSearchParams(first)) if (KEPT.includes(name) && form.elements[name]) form.elements[name].value = value;
        form.dispatchEvent(new Event("input"));
      }
      keep(rest);
      tell(refused === null ? net.dataset.sent : net.dataset.refused + " " + refused);
      if (refused !== null) return;
    }
  } catch {
    tell(net.dataset.queued + " " + outbox().length);
  } finally {
    flushing = false;
  }
};
addEventListener("online", flush);
if (navigator.onLine) flush();

// What an improvement changes, word by word, while it is typed. Bounded: longer texts are compared on the server, once.
const edited = form.querySelector("[data-shows]");
if (edited) {
  const live = document.getElementById(edited.dataset.shows);
  const words = (text) => text.match(/\s+|\S+/g) || [];
  const before = words(document.getElementById(edited.dataset.before).textContent);
  const show = () => {
    const after = words(edited.value);
    live.replaceChildren();
    if (before.length > 400 || after.length > 400) return;
    const common = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
    for (let i = before.length - 1; i >= 0; i--) for (let j = after.length - 1; j >= 0; j--)
      common[i][j] = before[i] === after[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    const put = (kind, text) => {
      const node = kind ? document.createElement(kind) : document.createTextNode(text);
      if (kind) node.textContent = text;
      live.append(node);
    };
    let i = 0, j = 0;
    while (i < before.length || j < after.length) {
      if (i < before.length && j < after.length && before[i] === after[j]) { put("", before[i]); i++; j++; }
      else if (j < after.length && (i === before.length || common[i][j + 1] >= common[i + 1][j])) put("ins", after[j++]);
      else put("del", before[i++]);
    }
    live.hidden = document.getElementById("live-title").hidden = edited.value === edited.defaultValue;
  };
  edited.addEventListener("input", show);
  show();
}
