// The frame of the desk: who is here, which kind of work is shown, notes of what was done.
//
// A view is a module page/NAME.js, of a view that the server has under that name. It exports
//   open(root, desk): show the view in `root`; returns { close() }, or a promise of it.
// `desk` has: session { person, role, views }, may(role), note(text, options), useKeys(keys),
// title(text). Whatever a view shows of events are text nodes (dom.js), never markup.

import { Refused, session, signOut } from "./api.js";
import { byId, element, text } from "./dom.js";
import { listen, useKeys } from "./keys.js";

const ROLES = ["reader", "reviewer", "operator"];
const NOTE_MS = 8000;
let shown = null;
let who = null;

const desk = {
  get session() { return who; },
  may: (role) => ROLES.indexOf(who.role) >= ROLES.indexOf(role),
  note, useKeys,
  title: (said) => { document.title = `${said} · desk`; },
};

/**
 * Say something at the foot of the page; it goes by itself unless it is to stay.
 * Notes of the same `id` replace each other. `action` is { says, does }.
 */
function note(said, { id = "", kind = "", action = null, stays = false } = {}) {
  const notes = byId("notes");
  const old = id && [...notes.children].find((each) => each.dataset.id === id);
  if (said === null) {
    if (old) old.remove();
    return;
  }
  const node = old || element("div", { class: "note" }, element("p"));
  node.dataset.id = id;
  node.className = `note ${kind}`;
  text(node.firstElementChild, said);
  while (node.children.length > 1) node.lastElementChild.remove();
  const close = element("button", { type: "button", class: "plain", "aria-label": "Dismiss" }, "×");
  close.addEventListener("click", () => node.remove());
  if (action !== null) {
    const button = element("button", { type: "button" }, action.says);
    button.addEventListener("click", action.does);
    node.append(button);
  }
  node.append(close);
  if (!old) notes.append(node);
  clearTimeout(Number(node.dataset.timer));
  if (!stays) node.dataset.timer = setTimeout(() => node.remove(), NOTE_MS);
}

function showViews(current) {
  byId("views").replaceChildren(...who.views.map((view) => element("a", {
    href: `#${view.name}`, "aria-current": view.name === current ? "page" : null,
  }, view.title)));
}

async function show() {
  const [asked] = location.hash.slice(1).split("/");
  const view = who.views.find((each) => each.name === asked) ?? who.views[0];
  if (view === undefined) throw new Refused(403, "There is nothing here that you may see.");
  if (shown?.name === view.name) return;
  shown?.close();
  useKeys([]);
  const root = element("div", { class: `view ${view.name}` });
  byId("main").replaceChildren(root);
  showViews(view.name);
  const module = await import(`./${view.name}.js`);
  const opened = await module.open(root, desk);
  shown = { name: view.name, close: () => opened.close() };
}

async function start() {
  try {
    who = await session();
    text(byId("person"), `${who.person} · ${who.role}`);
    byId("sign-out").hidden = !who.can_sign_out;
    byId("sign-out").addEventListener("click", () => signOut().catch(fail));
    await show();
    addEventListener("hashchange", () => show().catch(fail));
  } catch (error) {
    fail(error);
  }
}

function fail(error) {
  if (!(error instanceof Refused)) console.error(error);
  text(byId("lost"), error instanceof Refused ? error.message
    : "This page cannot show what the desk answers: load it again.");
  text(byId("person"), "No session");
}

listen();
start();
