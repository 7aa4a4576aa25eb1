// What a member's browser keeps for when there is no network: the files of these pages, and one page to write a text on, which holds nothing of anybody.
// No other page is kept, and none is looked at. Before this stands what it is about: const KEPT = {version, page, files}.
"use strict";
const PLACE = "offline-" + KEPT.version;
const forget = async (...but) => {
  for (const place of await caches.keys()) if (place.startsWith("offline-") && !but.includes(place)) await caches.delete(place);
};
const fill = async () => {
  if (await caches.has(PLACE)) return;
  const found = await Promise.all([KEPT.page, ...KEPT.files].map(async (path) => {
    const answer = await fetch(path, { credentials: "omit", cache: "reload" }); // without a cookie: as a stranger sees it
    if (!answer.ok) throw new Error(path);
    return [path, answer];
  }));
  const cache = await caches.open(PLACE);
  for (const [path, answer] of found) await cache.put(path, answer);
};
addEventListener("install", (event) => event.waitUntil((async () => {
  await fill();
  await skipWaiting();
})()));
// A member's page says so at each load. Who signed out, while another tab of theirs was open, and in again, has the same worker, and no page any more.
addEventListener("message", (event) => { if (event.data === "keep") event.waitUntil((async () => { await fill(); await clients.claim(); })()); });
addEventListener("activate", (event) => event.waitUntil((async () => {
  await forget(PLACE);
  await clients.claim();
})()));
addEventListener("fetch", (event) => {
  const request = event.request, url = new URL(request.url);
  if (url.origin !== location.origin) return;
  if (request.method === "POST" && url.pathname === "/signout") {
    event.waitUntil((async () => { await registration.unregister(); await forget(); })());
  } else if (request.method !== "GET") {
    return;
  } else if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(async () => (await caches.match(KEPT.page, { cacheName: PLACE })) || Response.error()));
  } else if (KEPT.files.includes(url.pathname + url.search)) {
    event.respondWith(caches.match(request, { cacheName: PLACE }).then((found) => found || fetch(request)));
  }
});
