// The last records: what came of events, and why some went to Sonnet or to people.

import { byId, element, Table, text } from "./dom.js";
import { lookUp } from "./events.js";
import { dollars, duration, share, time, words } from "./format.js";

const FIELDS = 6, CHARS = 90;

const COLUMNS = [
  { title: "Event", kind: "name", show: event },
  { title: "Time", kind: "number", show: (record) => time(record.at) },
  { title: "Decided by", kind: "words", show: decision },
  { title: "Why escalated", kind: "words why", show: reasons },
  { title: "Result", kind: "words result", show: result },
  { title: "Confidence", kind: "number", show: (record) => share(record.confidence) },
  { title: "Took", kind: "number", show: (record) => duration(record.seconds) },
  { title: "Cost", kind: "number", show: (record) => dollars(record.cost_usd) },
];

let table = null;

/** Those of the chosen stages, the newest first. */
export function recordsOf(view, stages, isAll) {
  const names = new Set(stages.map((stage) => stage.name));
  return view.recent.filter((record) => isAll || names.has(record.stage)
    || (names.has("escalations") && record.doubts.length > 0));
}

export function showRecords(view, stages, isAll) {
  const hues = new Map(view.stages.map((stage, index) => [stage.name, index + 1]));
  const records = recordsOf(view, stages, isAll);
  table ??= new Table(byId("records"), COLUMNS,
    (record) => `${record.stage}/${record.event_id}/${record.at}`,
    "The last records, the newest first");
  byId("records").parentElement.hidden = !records.length;
  const none = byId("no-records");
  none.hidden = records.length > 0;
  text(none, view.recent_limit ? "No record yet: they appear as events are decided."
    : "Not shown: the setting http.recent_records is 0, so results stay off this page.");
  table.show(records.map((record) => ({
    ...record, hue: hues.get(record.stage) ?? 0, desk: view.desk,
  })));
}

// A record never changes, so each of these cells is filled once.

function event(record, cell) {
  if (cell.hasChildNodes()) return;
  cell.className = `name hue-${record.hue}`;
  const id = element("span", { class: "id" },
    record.desk ? lookUp(record.desk, record.event_id, record.event_id) : record.event_id);
  cell.append(id, element("span", { class: "stage" }, record.stage));
  if (!record.desk) {
    cell.append(element("details", {}, element("summary", {}, "look up"),
      lookUp(null, record.event_id)));
  }
}

function decision(record, cell) {
  if (cell.hasChildNodes()) return;
  const by = record.end === "review" ? "review" : record.decided_by;
  const said = { haiku: "Haiku", sonnet: "Sonnet", human: "a person", document: "its own data", review: "left to people" };
  cell.append(element("span", { class: `tag ${by}`, title: record.model }, said[by] ?? by));
}

function reasons(record, cell) {
  if (cell.hasChildNodes()) return;
  if (!record.doubts.length) {
    cell.append(element("span", { class: "none" }, "–"));
    return;
  }
  cell.append(element("ul", {}, ...record.doubts.map((doubt) => element("li", {},
    element("strong", {}, words(doubt.code)), " ", element("span", {}, doubt.detail)))));
}

function result(record, cell) {
  if (cell.hasChildNodes()) return;
  const fields = record.result === null ? [] : Object.entries(record.result);
  const shown = fields.filter(([, value]) => isPlain(value) && value !== null && value !== "");
  if (!fields.length) {
    cell.append(element("span", { class: "none" }, "no usable answer"));
    return;
  }
  cell.append(
    element("dl", { class: "fields" }, ...shown.slice(0, FIELDS).map(([name, value]) =>
      element("div", {}, element("dt", {}, words(name)), element("dd", {}, cut(String(value)))))),
    element("details", {}, element("summary", {}, "whole result"),
      element("pre", { tabindex: "0" }, JSON.stringify(record.result, null, 2))),
  );
}

const isPlain = (value) => typeof value !== "object";
const cut = (value) => (value.length > CHARS ? `${value.slice(0, CHARS)}…` : value);
