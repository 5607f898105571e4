"use strict";
(() => {
  const key = "omnibus_token";
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    if (!sessionStorage.getItem(key)) sessionStorage.setItem(key, given);
    history.replaceState(null, "", location.pathname);
  }
  const token = sessionStorage.getItem(key);
  const tiles = document.getElementById("tiles");
  const gate = document.getElementById("gate");
  const show = (title, rows) => {
    const tile = document.createElement("section");
    tile.className = "tile";
    tile.append(Object.assign(document.createElement("h2"), { textContent: title }));
    const list = document.createElement("dl");
    for (const [name, value] of rows) {
      list.append(Object.assign(document.createElement("dt"), { textContent: name }));
      list.append(Object.assign(document.createElement("dd"), { textContent: value }));
    }
    tile.append(list);
    tiles.append(tile);
  };
  const sum = (commands, field) => commands.reduce((all, command) => all + command[field], 0);
  const load = async (domain, title) => {
    const answer = await fetch(`/api/v1/${domain}/accounts`, { headers: { authorization: `Bearer ${token}` } });
    if (answer.status === 401) { sessionStorage.removeItem(key); return false; }
    if (!answer.ok) return true;
    const { commands } = await answer.json();
    show(title, [["Done", sum(commands, "succeeded")], ["Refused", sum(commands, "rejected")],
      ["Under way", sum(commands, "under_way")], ["Waiting for a person", sum(commands, "held") + sum(commands, "dead_lettered")]]);
    return true;
  };
  if (token) {
    gate.hidden = true;
    Promise.all([load("mailer", "Email"), load("brander", "Brand")]).then((known) => { gate.hidden = known.every(Boolean); });
  }
  let tag = null;
  const follow = async () => {
    const now = (await fetch(location.pathname, { cache: "no-cache" })).headers.get("etag");
    if (tag && now && now !== tag) location.reload();
    tag = now || tag;
  };
  follow();
  setInterval(follow, 30000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) follow(); });
})();
