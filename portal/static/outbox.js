// Texts that were sent without a network wait on this device, by account, and go out when their author is here again with one: on every page of a member.
// Each has a number of its own, so that one whose answer was lost is kept once, and names its account: the server refuses it under another one's session.
// What the device knows beside them is who signed in here last (for the page that is shown without a network), until they sign out.
"use strict";
const Outbox = (() => {
  const note = document.getElementById("waiting"), words = note.querySelector("p"), button = note.querySelector("button"), basket = note.querySelector("a");
  // A device may be full, or allow no storage at all. Then nothing breaks off: what was to be kept was not, which who writes is told (`tell`).
  const get = (place) => { try { return localStorage.getItem(place); } catch { return null; } };
  const set = (place, text) => { try { localStorage.setItem(place, text); return true; } catch { return false; } };
  const drop = (place) => { try { localStorage.removeItem(place); } catch { /* nothing is there */ } };
  const read = (place, or) => { try { return JSON.parse(get(place)) || or; } catch { return or; } };
  const tell = (form, kept, near) => { // beside what was typed, where it is seen; moved once only, for it is read aloud each time
    const one = form.querySelector("[data-unkept]");
    if (!kept && one.previousElementSibling !== near) near.after(one);
    one.hidden = kept;
    return kept;
  };
  const here = note.dataset.owner ? { owner: note.dataset.owner, name: note.dataset.name } : null;
  if (here && !set("writer", JSON.stringify(here))) drop("writer"); // not who was here before: a text would wait under their name
  const writer = here || read("writer", {});
  const owner = typeof writer.owner === "string" ? writer.owner : "";
  const place = "outbox:" + owner, refused = "refused:" + owner;
  const all = () => { const found = read(place, []); return Array.isArray(found) ? found.filter((one) => typeof one === "string") : []; };
  const keep = (waiting) => set(place, JSON.stringify(waiting));
  const number = (fields) => new URLSearchParams(fields).get("id");
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  const show = (said, { refused: wrong = false, sent = false } = {}) => { // what waits, after what was said
    const count = owner ? all().length : 0;
    const waits = count ? (navigator.onLine ? note.dataset.waits : note.dataset.queued) + " " + count.toLocaleString(document.documentElement.lang) : "";
    note.className = wrong ? "problem" : "note";
    words.textContent = [said, waits].filter(Boolean).join(" ");
    button.hidden = !count || !note.dataset.owner;
    basket.hidden = !sent;
    note.hidden = !words.textContent;
  };

  // "kept", "refused" (with the server's words), "later" (signed out, somebody else's session, busy), or "gone" (no network, or no answer in time).
  const send = async (fields) => {
    const body = new URLSearchParams(fields);
    body.set("owner", owner);
    try {
      const answer = await fetch("/contribute", { method: "POST", body, headers: { accept: "text/plain" }, redirect: "manual", signal: AbortSignal.timeout(30000) });
      const said = answer.type === "opaqueredirect" ? "" : await answer.text();
      if (answer.ok && said === "kept") return ["kept", ""];
      const later = answer.type === "opaqueredirect" || answer.ok || answer.status >= 500 || [401, 403, 408, 429].includes(answer.status);
      return [later ? "later" : "refused", said];
    } catch {
      return ["gone", ""];
    }
  };

  // A refused text goes back onto its form, as a draft, if nothing else is begun there; else it waits on.
  const back = (fields) => {
    const given = Object.fromEntries(new URLSearchParams(fields)), draft = "draft:" + owner + ":" + (given.parent ? "improve-" + given.parent : "contribute");
    const begun = read(draft, {});
    if (begun.inputs || begun.targets) return false;
    if (!set(draft, JSON.stringify({ inputs: given.inputs, targets: given.targets, language: given.language, licence: given.licence }))) return false;
    dispatchEvent(new CustomEvent("returned", { detail: draft })); // if it is the form that is open
    return true;
  };

  const empty = async () => {
    let sent = 0, said = "";
    for (const fields of all()) { // what another page puts in meanwhile stays: one is taken out by its number
      const [how, why] = await send(fields);
      if (how === "gone" || how === "later") break;
      if (how === "kept") sent += 1;
      else set(refused, said = note.dataset.refused + " " + why);
      if (how === "kept" || back(fields)) keep(all().filter((one) => number(one) !== number(fields)));
    }
    show(said || (sent ? note.dataset.sent : ""), { refused: Boolean(said), sent: Boolean(sent || said) });
  };
  const earlier = () => { // what was refused on a page that was left meanwhile, until it is read where the text is
    const said = (owner && get(refused)) || "";
    if (document.querySelector("form[data-draft]")) drop(refused);
    show(said, { refused: Boolean(said), sent: Boolean(said) });
  };
  const flush = async () => { // one page at a time
    earlier();
    if (!owner || !all().length) return;
    button.disabled = true;
    try {
      if (navigator.locks) await navigator.locks.request(place, { ifAvailable: true }, (mine) => mine && empty());
      else await empty();
    } finally {
      button.disabled = false;
    }
  };

  button.addEventListener("click", flush);
  addEventListener("online", flush);
  addEventListener("offline", () => show(""));
  addEventListener("storage", (event) => { if (event.key === place) show(""); });
  document.addEventListener("submit", (event) => { if (new URL(event.target.action).pathname === "/signout") drop("writer"); });
  const sparing = navigator.connection && navigator.connection.saveData; // who pays by the byte says when
  if (navigator.onLine && !sparing) flush();
  else earlier();

  // What is shown without a network is kept by a worker (offline.js), in the language of this page.
  if (note.dataset.worker && navigator.serviceWorker) {
    const ours = (path) => { if (/^\/offline\/[a-z]{2,3}\/worker\.js$/.test(path)) return path; throw new TypeError("this is no worker of ours"); };
    const policy = window.trustedTypes ? trustedTypes.createPolicy("coop-offline", { createScriptURL: ours }) : { createScriptURL: ours };
    addEventListener("load", async () => {
      try {
        await navigator.serviceWorker.register(policy.createScriptURL(note.dataset.worker), { scope: "/", updateViaCache: "none" });
        (await navigator.serviceWorker.ready).active.postMessage("keep");
      } catch { /* without it, all is as it was before there was one */ }
    });
  }
  return { owner, name: writer.name || "", read, set, drop, tell, fresh, put: (fields) => keep([...all(), fields]), send, show };
})();
