// How events ended, and why: bars with their numbers beside them.

import { byId, element, keyed, text } from "./dom.js";
import { lookUp, quoted } from "./events.js";
import { count, large, merged, ratio, share, sum, words } from "./format.js";

const SHOWN = 10;

/** `records` are the newest ones, which have an example of most doubts. */
export function showReasons(stages, view, records) {
  const newest = new Map(records.toReversed().flatMap((record) =>
    record.doubts.map((doubt) => [doubt.code, record.event_id])));
  showEnds(byId("ends"), stages);
  showBars(byId("doubts"), merged(stages.map((stage) => stage.doubts)),
    "No answer was doubted.", (code) => (newest.has(code)
      ? { key: newest.get(code), make: () => ["such as ",
        lookUp(view.desk, newest.get(code), newest.get(code))] } : null));
  showBars(byId("letters"), merged(stages.map((stage) => stage.dead_letters)),
    "No event became a dead letter.", (code) => ({ key: code, make: () =>
      [element("code", {}, `pipeline dead-letters list --reason ${quoted(code)}`)] }));
}

/** The partitions that are most behind: of one stage, or of all that are shown. */
export function showBehind(stages) {
  const most = stages.flatMap((stage) => stage.behind.map((each) =>
    [`${stage.name}: ${each.topic} ${each.partition}`, each.lag_events])).sort((one, other) => other[1] - one[1]);
  byId("behind").hidden = !most.length;
  showBars(byId("partitions"), most.slice(0, SHOWN), "Nothing waits.", () => null, String);
}

function showEnds(parent, stages) {
  const isEscalations = stages.length === 1 && stages[0].name === "escalations";
  const of = (tier, end) => sum(stages.map((stage) => stage.decided[tier][end]));
  const done = (end) => sum(stages.map((stage) => stage.completed[end]));
  const escalated = of("haiku", "escalated") + of("document", "escalated");
  const bySonnet = isEscalations ? done("enriched") : of("sonnet", "enriched");
  const toReview = isEscalations ? done("review") : of("sonnet", "review");
  const ends = [
    { name: "Read from its own data", hue: "document",
      value: isEscalations ? 0 : of("document", "enriched") },
    { name: "Haiku's answer", hue: "haiku", value: isEscalations ? 0 : of("haiku", "enriched") },
    { name: "Sonnet's answer", hue: "sonnet", value: bySonnet },
    { name: "Waiting for Sonnet", hue: "waiting",
      value: isEscalations ? 0 : Math.max(0, escalated - bySonnet - toReview) },
    { name: "Left to people", hue: "review", value: toReview },
    { name: "Dead letters", hue: "dead", value: done("dead_letter") },
  ];
  const all = sum(ends.map((end) => end.value));
  const [bar, list] = parent.children.length === 2 ? parent.children : frame(parent);
  bar.hidden = all === 0;
  keyed(bar, ends, (end) => end.hue, (end) => element("span", { class: `part ${end.hue}` }),
    (node, end) => node.style.setProperty("--share", String(ratio(end.value, all) ?? 0)));
  keyed(list, ends, (end) => end.hue,
    (end) => element("li", {}, element("span", { class: `swatch ${end.hue}` }),
      element("span", { class: "label" }, end.name), element("span", { class: "value" }),
      element("span", { class: "percent" })),
    (node, end) => {
      text(node.children[2], large(end.value));
      text(node.children[3], all ? share(end.value / all) : "");
    });
}

function frame(parent) {
  const parts = [
    element("div", { class: "stack", "aria-hidden": "true" }), element("ul", { class: "legend" }),
  ];
  parent.replaceChildren(...parts);
  return parts;
}

// `behind` gives the way to the events of a code: { key, make() }, or null where there is none.
function showBars(parent, entries, empty, behind, named = words) {
  if (!entries.length) {
    if (!parent.querySelector(".none")) {
      parent.replaceChildren(element("p", { class: "none" }, empty));
    }
    return;
  }
  let list = parent.querySelector("ul");
  if (list === null) {
    list = element("ul", { class: "bars" });
    parent.replaceChildren(list);
  }
  const most = entries[0][1], all = sum(entries.map(([, value]) => value));
  keyed(list, entries, ([code]) => code,
    ([code]) => element("li", {}, element("span", { class: "label" }, named(code)),
      element("span", { class: "value" }), element("span", { class: "percent" }),
      element("span", { class: "track", "aria-hidden": "true" }, element("span")),
      element("span", { class: "behind" })),
    (node, [code, value]) => {
      text(node.children[1], count(value));
      text(node.children[2], share(value / all));
      node.children[3].firstElementChild.style.setProperty("--share", String(value / most));
      const way = behind(code), place = node.children[4];
      // What is there stays while it is the same, and so does the focus on it.
      if (way !== null && place.dataset.of !== way.key) {
        place.replaceChildren(...way.make());
        place.dataset.of = way.key;
      }
    });
}
