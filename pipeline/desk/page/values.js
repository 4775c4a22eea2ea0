// Values of results as people read them, and how two of them differ.

import { element } from "./dom.js";
import { words } from "./format.js";

const NONE = "–";
export const isLines = (value) => Array.isArray(value) && value.length > 0
  && value.every((each) => each !== null && typeof each === "object" && !Array.isArray(each));
const isGroup = (value) => value !== null && typeof value === "object" && !Array.isArray(value)
  && Object.keys(value).length > 0;

/** A node that shows a value; what is not the same in `other` is marked, unless that is undefined. */
export function shown(value, other) {
  if (isLines(value)) return lines(value, Array.isArray(other) ? other : other && []);
  if (isGroup(value)) return group(value, isGroup(other) ? other : other && {});
  if (Array.isArray(value)) return list(value, Array.isArray(other) ? other : other && []);
  return plain(value, other);
}

export function plainly(value) {
  if (value === null || value === undefined || value === "") return NONE;
  if (typeof value === "object" && !Object.keys(value).length) return NONE;
  if (value === true) return "yes";
  if (value === false) return "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function plain(value, other) {
  const own = plainly(value);
  if (other === undefined) return element("span", {}, own);
  const theirs = plainly(other);
  if (own === theirs) return element("span", {}, own);
  // The words at both ends that are the same are not marked.
  const mine = own.split(/(\s+)/), their = theirs.split(/(\s+)/);
  let before = 0, after = 0;
  const most = Math.min(mine.length, their.length);
  while (before < most && mine[before] === their[before]) before += 1;
  while (after < most - before && mine.at(-1 - after) === their.at(-1 - after)) after += 1;
  const middle = mine.slice(before, mine.length - after).join("");
  return element("span", {}, mine.slice(0, before).join(""),
    middle ? element("mark", { class: "differs" }, middle) : null,
    after ? mine.slice(-after).join("") : "");
}

function list(value, other) {
  if (!value.length) return plain(null, other === undefined ? undefined : other.length ? "" : null);
  return element("ul", { class: "values" }, ...value.map((each) => {
    const isMissing = other !== undefined && !other.some((one) =>
      JSON.stringify(one) === JSON.stringify(each));
    return element("li", {}, isMissing
      ? element("mark", { class: "differs" }, plainly(each)) : plainly(each));
  }));
}

function group(value, other) {
  return element("dl", { class: "fields" }, ...Object.entries(value).map(([name, each]) =>
    element("div", {}, element("dt", {}, words(name)),
      element("dd", {}, shown(each, other === undefined ? undefined : other[name] ?? null)))));
}

function lines(value, other) {
  const names = [...new Set(value.flatMap((each) => Object.keys(each)))];
  return element("table", { class: "lines" },
    element("thead", {}, element("tr", {}, ...names.map((name) =>
      element("th", { scope: "col" }, words(name))))),
    element("tbody", {}, ...value.map((line, number) => element("tr", {}, ...names.map((name) =>
      element("td", {}, shown(line[name] ?? null, other === undefined
        ? undefined : other[number]?.[name] ?? null)))))));
}
