// What is typed is kept on this device until it is sent; what is sent without a network waits here and goes out later.
// All of it is kept by account: on a phone that several people use, nobody sees or sends what another one wrote.
// Without this script the same forms work, as long as there is a network.
"use strict";
const net = document.getElementById("net");
const tell = (words) => { net.textContent = words; net.hidden = false; };
const form = document.querySelector("form[data-draft]");
const outbox = () => JSON.parse(localStorage.getItem("outbox:" + form.dataset.owner) || "[]");
const keep = (waiting) => localStorage.setItem("outbox:" + form.dataset.owner, JSON.stringify(waiting));
const place = "draft:" + form.dataset.owner + ":" + form.dataset.draft;
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
    if (form.dataset.draft === "contribute") localStorage.setItem(place, JSON.stringify({ language: form.elements.language.value, licence: form.elements.licence.value })); // mostly the next one's too
    else localStorage.removeItem(place);
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

// What an improvement changes, word by word, while it is typed: as the language divides words, also where no space does.
// Bounded: what both texts begin and end with is left out, and if more is left than that, it is shown as gone and come.
const edited = form.querySelector("[data-shows]");
if (edited) {
  const MOST = 800;
  const live = document.getElementById(edited.dataset.shows);
  const divide = window.Intl && Intl.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;
  const words = (text) => divide ? Array.from(divide.segment(text), (one) => one.segment) : text.match(/\s+|\S+/g) || [];
  const before = words(document.getElementById(edited.dataset.before).textContent);
  const show = () => {
    const after = words(edited.value);
    let start = 0, end = 0;
    const least = Math.min(before.length, after.length);
    while (start < least && before[start] === after[start]) start++;
    while (end < least - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
    const old = before.slice(start, before.length - end), now = after.slice(start, after.length - end), pieces = [];
    const put = (kind, text) => { // neighbours of a kind are one piece
      const last = pieces[pieces.length - 1];
      if (last && last[0] === kind) last[1] += text;
      else if (text) pieces.push([kind, text]);
    };
    put("", before.slice(0, start).join(""));
    if (old.length > MOST || now.length > MOST) {
      put("del", old.join(""));
      put("ins", now.join(""));
    } else {
      const common = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
      for (let i = old.length - 1; i >= 0; i--) for (let j = now.length - 1; j >= 0; j--)
        common[i][j] = old[i] === now[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
      let i = 0, j = 0;
      while (i < old.length || j < now.length) {
        if (i < old.length && j < now.length && old[i] === now[j]) { put("", old[i]); i++; j++; }
        else if (i < old.length && (j === now.length || common[i + 1][j] >= common[i][j + 1])) put("del", old[i++]);
        else put("ins", now[j++]);
      }
    }
    put("", after.slice(after.length - end).join(""));
    live.replaceChildren(...pieces.map(([kind, text]) => {
      const node = kind ? document.createElement(kind) : document.createTextNode(text);
      if (kind) node.textContent = text;
      return node;
    }));
    live.hidden = document.getElementById("live-title").hidden = edited.value === edited.defaultValue;
  };
  edited.addEventListener("input", show);
  show();
}
