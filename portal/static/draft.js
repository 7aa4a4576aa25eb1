// What is typed is kept on this device until it is sent; what is sent without a network waits in the outbox (outbox.js).
// All of it is kept by account: on a phone that several people use, nobody sees or sends what another one wrote.
// Without this script the same forms work, as long as there is a network.
"use strict";
const form = document.querySelector("form[data-draft]");
const place = "draft:" + Outbox.owner + ":" + form.dataset.draft;
const KEPT = ["inputs", "targets", "language", "licence"];
if (form.dataset.offline !== undefined && Outbox.owner) { // the page for when there is no network, which knows nobody
  document.getElementById("nobody").hidden = true;
  document.getElementById("somebody").hidden = form.hidden = false;
  document.getElementById("name").textContent = Outbox.name;
  form.elements.id.value = Outbox.fresh();
  form.elements.owner.value = Outbox.owner;
}

const problem = document.getElementById("problem");
const fill = () => {
  const draft = Outbox.read(place, {});
  for (const name of KEPT) {
    const field = form.elements[name];
    if (field && typeof draft[name] === "string" && (field.value === field.defaultValue || field.tagName === "SELECT")) field.value = draft[name];
  }
};
if (!problem) fill();
addEventListener("returned", (event) => { if (event.detail === place) fill(); });
form.addEventListener("input", (event) => {
  const kept = {};
  for (const name of KEPT) if (form.elements[name]) kept[name] = form.elements[name].value;
  Outbox.tell(form, Outbox.set(place, JSON.stringify(kept)), event.target);
});
const next = () => { // mostly the next text has the language of the last
  const said = JSON.stringify({ language: form.elements.language.value, licence: form.elements.licence.value });
  if (form.dataset.draft !== "contribute" || !Outbox.set(place, said)) Outbox.drop(place);
};
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button"), fields = new URLSearchParams(new FormData(form)).toString();
  button.disabled = true;
  const [how, why] = await Outbox.send(fields);
  button.disabled = false;
  if (how === "kept") {
    next();
    location.assign("/contribute");
  } else if (how === "refused") {
    Outbox.show(why, { refused: true });
    document.getElementById("waiting").scrollIntoView();
  } else if (how === "gone" || form.dataset.offline !== undefined) {
    if (!Outbox.tell(form, Outbox.put(fields), button)) return; // it stays on the form, to be sent when there is a network
    next(); // its number went with it: sent twice, it is kept once
    const said = [form.elements.language.value, form.elements.licence.value];
    form.reset();
    if (form.dataset.draft === "contribute") [form.elements.language.value, form.elements.licence.value] = said;
    form.elements.id.value = Outbox.fresh();
    form.elements.owner.value = Outbox.owner;
    Outbox.show("");
    document.getElementById("waiting").scrollIntoView();
  } else {
    form.submit(); // signed out, or anything else: the server says it on a page of its own
  }
});

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
