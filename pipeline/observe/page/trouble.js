// What is wrong, in words: first that nobody answers, then what the pipeline says of itself.

import { byId, element, keyed, text } from "./dom.js";
import { count, dollars, share, time } from "./format.js";

const NEARLY = 0.8;

/** The connection: `since` is when the last answer came, null before the first. */
export function showConnection({ isLost, since, why }) {
  const lost = byId("lost");
  document.body.classList.toggle("is-stale", isLost);
  if (!isLost) {
    text(lost, "");
    return;
  }
  const until = since === null ? "" : ` The figures below are from ${time(since)}.`;
  text(lost, `${why}${until}`);
  show("No connection", "bad");
}

export function showState(view) {
  show(view.ready ? "Ready" : "Not ready", view.ready ? "good" : "bad");
  byId("simulated").hidden = !view.simulated;
  const troubles = [...found(view), ...budgets(view), ...unpriced(view)];
  byId("trouble").hidden = !troubles.length;
  keyed(byId("troubles"), troubles, (trouble) => trouble.where + trouble.kind,
    () => element("li", {}, element("strong"), " ", element("span")),
    (node, trouble) => {
      node.className = trouble.kind;
      text(node.firstElementChild, trouble.where);
      text(node.lastElementChild, sentence(trouble.what));
    });
}

function show(label, kind) {
  const pill = byId("state");
  text(pill, label);
  pill.className = `pill ${kind}`;
}

function found(view) {
  return view.findings.filter((finding) => finding.reason !== null).map((finding) => ({
    where: finding.name.replace(/^stream\./, ""), what: finding.reason, kind: "bad",
  }));
}

function budgets(view) {
  const each = [["all stages", view], ...view.stages.map((stage) => [stage.name, stage])];
  return each.flatMap(([where, from]) => Object.entries(from.budget).flatMap(([window, limit]) => {
    const spent = from.spent[window] ?? 0;
    if (spent < NEARLY * limit || spent >= limit) return [];
    const name = window === "day" ? "today" : "this hour";
    return [{ where, kind: "warn",
      what: `${share(spent / limit)} of ${name}'s budget of ${dollars(limit)} is spent.` }];
  }));
}

function unpriced(view) {
  return view.models.filter((model) => model.unpriced_calls).map((model) => ({
    where: model.name, kind: "warn",
    what: `The price of ${count(model.unpriced_calls)} calls is not known: set claude.prices.`,
  }));
}

const sentence = (words) => {
  const whole = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
};
