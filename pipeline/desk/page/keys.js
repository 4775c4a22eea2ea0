// Keyboard shortcuts: single keys outside of fields, with Ctrl or Escape everywhere.

import { byId, element } from "./dom.js";

const TYPED = "input, textarea, select, [contenteditable]";
const TOGGLES = "input[type=checkbox], input[type=radio]";
const own = [{ key: "?", says: "this list", does: showHelp }];
let ofView = [];

/** The shortcuts of what is shown: [{ key, says, does }]; `key` as in KeyboardEvent, "Ctrl+" before. */
export function useKeys(keys) {
  ofView = keys;
}

function showHelp() {
  byId("help-keys").replaceChildren(...[...ofView, ...own].filter((each) => each.says).map((each) =>
    element("div", {}, element("dt", {}, element("kbd", {}, each.shown ?? each.key)),
      element("dd", {}, each.says))));
  byId("help").showModal();
}

export function listen() {
  byId("help-button").addEventListener("click", showHelp);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || event.isComposing || byId("help").open) return;
    const key = (event.ctrlKey ? "Ctrl+" : "") + event.key;
    const isField = event.target.matches(TYPED) && !event.target.matches(TOGGLES);
    if (isField && !event.ctrlKey && event.key !== "Escape") return;
    if (event.key === "Enter" && !event.ctrlKey && event.target.matches("a, button, summary")) return;
    const found = [...ofView, ...own].find((each) => each.key === key);
    if (found === undefined) return;
    event.preventDefault();
    found.does();
  });
}
