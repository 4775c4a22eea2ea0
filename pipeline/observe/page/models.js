// A card for each model: whether it can be asked, how it answers, and what its limits leave.

import { byId, element, keyed, text } from "./dom.js";
import { dollars, duration, large, ratio, share, sum, words } from "./format.js";

const KINDS = ["requests", "input_tokens", "output_tokens"];

export function showModels(view) {
  const parent = byId("models");
  if (!view.models.length) {
    parent.replaceChildren(element("p", { class: "card none" }, "No model was asked yet."));
    return;
  }
  parent.querySelector(".none")?.remove();
  keyed(parent, view.models, (model) => model.name, make, update);
}

function make(model) {
  return element("article", { class: "card model" },
    element("header", {}, element("h3", {}, model.name), element("p", { class: "pill" })),
    element("dl", { class: "figures" }),
    element("ul", { class: "headroom", "aria-label": `What the limits of ${model.name} leave` }),
    element("p", { class: "note" }));
}

function update(node, model) {
  const [header, figures, limits, note] = node.children;
  const [label, kind] = state(model), pill = header.lastElementChild;
  text(pill, label);
  pill.className = `pill ${kind}`;
  keyed(figures, facts(model), ([name]) => name,
    ([name]) => element("div", {}, element("dt", {}, name), element("dd")),
    (pair, [, value]) => text(pair.lastElementChild, value));
  showLimits(limits, model);
  text(note, [...endpoints(model), failures(model)].join(" "));
}

function state(model) {
  if (model.blocked_because !== null) return ["blocked", "bad"];
  if (model.breaker === "open") return ["breaker open", "bad"];
  if (model.breaker === "half_open") return ["probing", "warn"];
  const { first, fallback } = model.places;
  if (tiers(fallback, true).length) return ["in use as fallback", "warn"];
  if (tiers(fallback, false).length && !tiers(first, true).length) return ["standing by", "good"];
  return ["answering", "good"];
}

function tiers(place, inUse) {
  return Object.keys(place).filter((tier) => place[tier] === inUse).sort();
}

function facts(model) {
  const input = model.tokens.input ?? 0, read = model.tokens.cache_read ?? 0;
  const written = model.tokens.cache_write ?? 0;
  return [
    ["Calls", large(sum(Object.values(model.calls)))],
    ["p50", duration(model.p50_seconds)],
    ["p95", duration(model.p95_seconds)],
    ["Waited, p95", duration(model.wait_p95_seconds)],
    ["Input tokens", large(input + read + written)],
    ["From cache", share(ratio(read, input + read + written))],
    ["Output tokens", large(model.tokens.output ?? 0)],
    ["Answers reused", large(model.reused)],
    ["Cost", model.unpriced_calls ? "not known" : dollars(model.cost_usd)],
  ];
}

function showLimits(list, model) {
  const kinds = KINDS.filter((kind) => model.limits[kind] !== undefined);
  keyed(list, kinds, (kind) => kind,
    (kind) => element("li", {}, element("span", { class: "label" }, `${words(kind)} left`),
      element("span", { class: "value" }),
      element("span", { class: "track", "aria-hidden": "true" }, element("span"))),
    (node, kind) => {
      const limit = model.limits[kind], left = model.remaining[kind] ?? 0;
      const part = Math.min(1, Math.max(0, ratio(left, limit) ?? 0));
      text(node.children[1], `${large(left)} of ${large(limit)} / min`);
      const fill = node.children[2].firstElementChild;
      fill.style.setProperty("--share", String(part));
      node.classList.toggle("bad", part < 0.1);
    });
}

function endpoints(model) {
  const { first, fallback } = model.places;
  return [
    ...tiers(first, false).map((tier) => `The tier ${tier} is asked at its fallback.`),
    ...tiers(fallback, true).map((tier) => `Fallback of the tier ${tier}, which is asked here.`),
  ];
}

function failures(model) {
  const failed = Object.entries(model.calls).filter(([end, value]) => end !== "answered" && value);
  if (model.blocked_because !== null) return model.blocked_because;
  if (!failed.length) return "No call has failed.";
  failed.sort((one, other) => other[1] - one[1]);
  return `Not answered: ${failed.map(([end, n]) => `${large(n)} ${words(end)}`).join(", ")}.`;
}
