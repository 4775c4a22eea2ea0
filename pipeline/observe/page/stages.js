// The table of stages.

import { byId, Table } from "./dom.js";
import { count, dollars, duration, pace, share } from "./format.js";

const number = (title, show) => ({ title, kind: "number", show });

const COLUMNS = [
  { title: "Stage", kind: "name", show: name },
  { title: "State", kind: "words", show: state },
  number("Lag", (stage) => count(stage.lag_events)),
  number("Oldest", (stage) => duration(stage.lag_seconds)),
  number("In flight", (stage) => count(stage.in_flight)),
  number("Per second", (stage) => pace(stage.completed_per_second)),
  number("p50", (stage) => duration(stage.p50_seconds)),
  number("p95", (stage) => duration(stage.p95_seconds)),
  number("Not asked", (stage) => own(stage, count(stage.decided.document.enriched ?? 0))),
  number("By Haiku", (stage) => own(stage, count(stage.decided.haiku.enriched ?? 0))),
  number("By Sonnet", (stage) => count(bySonnet(stage))),
  number("Escalated", (stage) => own(stage, share(stage.escalated_share))),
  number("Review", (stage) => count(review(stage))),
  number("Dead letters", (stage) => count(stage.completed.dead_letter ?? 0)),
  number("Spent today", (stage) => own(stage, dollars(stage.spent.day ?? stage.cost_usd))),
];

const CERTIFICATES = [
  { title: "Stage", kind: "name", show: name },
  { title: "Certificate", kind: "words", show: certificate },
  number("Labels", (stage) => count(stage.certificate.labels.stream ?? 0)),
  number("Haiku wrong, below", (stage) => below(stage, "haiku")),
  number("Sonnet wrong, below", (stage) => below(stage, "sonnet")),
  number("All wrong, below", (stage) => below(stage, "stream")),
  number("Alarm level", (stage) => share(stage.certificate.level)),
  { title: "Not as certified", kind: "words",
    show: (stage) => stage.certificate.distant.join(", ") },
];

let table = null, certificates = null;

export function showStages(view) {
  table ??= new Table(byId("stages"), COLUMNS, (stage) => stage.name,
    "What each stage does at present");
  const stages = view.stages.map((stage, index) => ({ ...stage, hue: index + 1 }));
  table.show(stages);
  const certified = stages.filter((stage) => stage.certificate);
  byId("trust").hidden = !certified.length;
  certificates ??= new Table(byId("certificates"), CERTIFICATES, (stage) => stage.name,
    "What is certified of each stage, and what labels say since");
  certificates.show(certified);
}

// 1 is what a bound is before labels say anything.
function below(stage, scope) {
  const bound = stage.certificate.errors_below[scope];
  return bound === undefined || bound >= 1 ? "" : share(bound);
}

function certificate(stage, cell) {
  const { state, alarm, stale_because: because } = stage.certificate;
  cell.classList.toggle("bad", state === "stale");
  cell.title = alarm ?? because ?? "";
  return alarm ? `alarm: ${alarm}` : because ? `${state}: ${because}` : state;
}

// What Sonnet settles counts for the stage that the event came from.
const isShared = (stage) => stage.name === "escalations";
const own = (stage, shown) => (isShared(stage) ? "" : shown);
const bySonnet = (stage) =>
  (isShared(stage) ? stage.completed.enriched : stage.decided.sonnet.enriched) ?? 0;
const review = (stage) =>
  (isShared(stage) ? stage.completed.review : stage.decided.sonnet.review) ?? 0;

function name(stage, cell) {
  cell.className = `name hue-${stage.hue}`;
  return stage.name;
}

function state(stage, cell) {
  const trouble = stage.stuck_because ?? stage.intake_closed_because;
  cell.classList.toggle("bad", trouble !== null);
  cell.title = trouble ?? "";
  if (stage.stuck_because !== null) return "stuck";
  if (stage.intake_closed_because !== null) return "intake closed";
  if (stage.partitions === null) return "not assigned yet";
  const over = stage.passed_over ? `, ${count(stage.passed_over)} passed over` : "";
  return `${stage.partitions === 1 ? "1 partition" : `${stage.partitions} partitions`}${over}`;
}
