// What a member's browser keeps for when there is no network: the files of these pages, and one page to write a text on, which holds nothing of anybody.
// No other page is kept, and none is looked at. Before this stands what it is about: const KEPT = {version, page, files}.
"use strict";
const PLACE = "offline-" + KEPT.version;
const forget = async (...but) => {
  for (const place of await caches.keys()) if (place.startsWith("offline-") && !but.includes(place)) await caches.delete(place);
};
addEventListener("install", (event) => event.waitUntil((async () => {
  const cache = await caches.open(PLACE);
  await cache.addAll([KEPT.page, ...KEPT.files].map((path) => new Request(path, { credentials: "omit", cache: "reload" }))); // without a cookie: as a stranger sees it
  await skipWaiting();
})()));
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
