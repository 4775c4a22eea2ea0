// From what the page shows to the events behind it: on the desk, or by a command.

import { element } from "./dom.js";

const PLAIN = /^[A-Za-z0-9_.:@\/][A-Za-z0-9_.:@\/-]*$/;

/** A link to the desk's look up with what it `says`; without a desk, the command that finds it. */
export function lookUp(desk, id, says) {
  if (desk) {
    return element("a", { href: `${desk}/#lookup/${encodeURIComponent(id)}`, rel: "noreferrer" }, says);
  }
  return element("code", {}, `pipeline lookup ${quoted(id)}`);
}

/** As a shell takes it for one argument, whatever is in it. */
export function quoted(id) {
  if (PLAIN.test(id)) return id;
  return `${id.startsWith("-") ? "-- " : ""}'${id.replaceAll("'", "'\\''")}'`;
}
