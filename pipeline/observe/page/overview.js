// The figures at the top, of one stage or of all.

import { byId, element, keyed, text } from "./dom.js";
import {
  count, dollars, duration, large, largest, merged, pace, ratio, share, sum, sumKnown, words,
} from "./format.js";

export function showOverview(view, stages, isAll) {
  keyed(byId("tiles"), tiles(view, stages, isAll), (tile) => tile.name, make, update);
}

function make(tile) {
  return element("div", { class: "tile" }, element("dt", {}, tile.name),
    element("dd", { class: "figure" }, element("span"), " ", element("small")),
    element("dd", { class: "note" }));
}

function update(node, tile) {
  const [, figure, note] = node.children;
  text(figure.firstElementChild, tile.figure);
  text(figure.lastElementChild, tile.unit ?? "");
  text(note, tile.note ?? "");
  node.classList.toggle("bad", tile.isBad ?? false);
}

function tiles(view, stages, isAll) {
  return [
    lag(stages), throughput(stages), latency(view, stages, isAll), spending(view, stages, isAll),
    escalated(stages), deadLetters(stages), failures(view), headroom(view),
  ];
}

function lag(stages) {
  const waiting = sumKnown(stages.map((stage) => stage.lag_events));
  const oldest = largest(stages.map((stage) => stage.lag_seconds));
  return {
    name: "Lag", figure: large(waiting), unit: waiting === null ? "" : "events",
    note: waiting === null ? "not known yet"
      : waiting ? `oldest ${duration(oldest)}` : "nothing waits",
  };
}

function throughput(stages) {
  return {
    name: "Throughput", figure: pace(sum(stages.map((stage) => stage.completed_per_second))),
    unit: "/ s", note: `${count(sum(stages.map((stage) => stage.in_flight)))} in flight`,
  };
}

function latency(view, stages, isAll) {
  const from = isAll ? view : stages[0];
  return {
    name: "Latency, p95", figure: duration(from.p95_seconds),
    note: from.p50_seconds === null ? "no event in the last minute"
      : `median ${duration(from.p50_seconds)}`,
  };
}

function spending(view, stages, isAll) {
  const from = isAll ? view : stages[0];
  const spent = from.spent.day ?? from.cost_usd, budget = from.budget.day;
  const perThousand = isAll ? view.cost_per_thousand_usd
    : ratio(from.cost_usd * 1000, judgedFirst(from));
  return {
    name: "Spent today", figure: dollars(spent),
    unit: budget === undefined ? "" : `of ${dollars(budget)}`,
    note: perThousand === null ? "nothing asked yet"
      : [`${dollars(perThousand)} per 1,000 events`, ...instead(from)].join("; "),
    isBad: budget !== undefined && spent >= budget,
  };
}

// What it would have cost in other ways, for what it did since the start.
function instead({ cost_usd: cost, otherwise }) {
  const times = (says, usd) => (cost > 0 && usd ? [`${says} ${(usd / cost).toFixed(1)} times`] : []);
  return [...times("Sonnet alone", otherwise.sonnet_alone_usd),
    ...times("a plain loop", otherwise.plain_loop_usd)];
}

// Each event is judged first by Haiku, or read from its own data.
function judgedFirst(stage) {
  const { haiku, document: own } = stage.decided;
  return sum([...Object.values(haiku), ...Object.values(own)]);
}

function escalated(stages) {
  const judged = sum(stages.map(judgedFirst));
  const doubted = sum(stages.map((stage) => sum(
    [stage.decided.haiku.escalated, stage.decided.document.escalated])));
  const review = sum(stages.map((stage) => stage.decided.sonnet.review));
  return {
    name: "Escalated", figure: share(ratio(doubted, judged)),
    note: judged ? `${count(doubted)} of ${large(judged)}, ${count(review)} left to people`
      : "nothing judged yet",
  };
}

function deadLetters(stages) {
  const [first] = merged(stages.map((stage) => stage.dead_letters));
  const dead = sum(stages.map((stage) => stage.completed.dead_letter));
  return {
    name: "Dead letters", figure: large(dead),
    note: first ? `most: ${words(first[0])}` : "none",
  };
}

function failures(view) {
  const ends = merged(view.models.map((model) => model.recent_calls));
  const failed = ends.filter(([end]) => end !== "answered");
  const rate = ratio(sum(failed.map(([, number]) => number)), sum(ends.map(([, n]) => n)));
  return {
    name: "Failed calls", figure: share(rate),
    note: rate === null ? "no call in the last minute"
      : failed.length ? `most: ${words(failed[0][0])}` : "in the last minute",
    isBad: rate !== null && rate >= 0.1,
  };
}

function headroom(view) {
  const left = view.models.flatMap((model) => Object.entries(model.limits).map(
    ([kind, limit]) => ({ kind, model: model.name, share: ratio(model.remaining[kind], limit) })));
  const known = left.filter((each) => each.share !== null && Number.isFinite(each.share));
  known.sort((one, other) => one.share - other.share);
  return {
    name: "Limit headroom", figure: share(known.length ? known[0].share : null),
    note: known.length ? `least: ${words(known[0].kind)}` : "no answer stated a limit yet",
    isBad: known.length > 0 && known[0].share < 0.1,
  };
}
