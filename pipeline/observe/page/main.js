// Asks for the status every two seconds and shows it; says so when no answer comes.

import { showCharts } from "./charts.js";
import { byId, element, keyed, text } from "./dom.js";
import { count, duration, sum, words } from "./format.js";
import { showModels } from "./models.js";
import { showOverview } from "./overview.js";
import { showBehind, showReasons } from "./reasons.js";
import { recordsOf, showRecords } from "./records.js";
import { showStages } from "./stages.js";
import { showConnection, showState } from "./trouble.js";

const POLL_MS = 2000, TIMEOUT_MS = 4000, STALE_MS = 6000;
const ALL = "all stages";

let view = null;
let scope = ALL;
let answeredAt = null;
let failure = null;

function show() {
  const isAll = scope === ALL;
  const stages = isAll ? view.stages : view.stages.filter((stage) => stage.name === scope);
  showScope();
  showFacts();
  showState(view);
  showOverview(view, stages, isAll);
  showCharts(view, stages);
  showStages(view);
  showReasons(stages, view, recordsOf(view, stages, isAll));
  showBehind(stages);
  showModels(view);
  showRecords(view, stages, isAll);
  const lag = sum(view.stages.map((stage) => stage.lag_events));
  const title = `${view.ready ? "" : "not ready · "}${count(lag)} waiting · haiku-pipeline`;
  if (document.title !== title) document.title = title;
}

function showScope() {
  const form = byId("scope"), names = [ALL, ...view.stages.map((stage) => stage.name)];
  if (!names.includes(scope)) scope = ALL;
  form.hidden = view.stages.length < 2;
  const field = form.firstElementChild;
  keyed(field, ["", ...names], (name) => name,
    (name) => {
      if (name === "") return element("legend", { class: "unseen" }, "Stage");
      const input = element("input", { type: "radio", name: "stage", value: name });
      return element("label", {}, input, element("span", {}, name));
    },
    (node, name) => {
      if (name !== "") node.firstElementChild.checked = name === scope;
    });
}

function showFacts() {
  const workers = view.findings.filter((finding) => finding.name.startsWith("worker ")).length;
  const up = (new Date(view.now) - new Date(view.started_at)) / 1000;
  const facts = [
    words(view.delivery), workers ? `${workers} workers` : null,
    `up ${duration(Math.max(1, Math.round(up)))}`, `v${view.version}`,
  ].filter((fact) => fact !== null);
  keyed(byId("facts"), facts.map((fact, index) => ({ fact, index })), ({ index }) => index,
    () => element("li"), (node, { fact }) => text(node, fact));
}

function connection() {
  const age = answeredAt === null ? null : Date.now() - answeredAt;
  const isLost = failure !== null && (age === null || age > STALE_MS);
  showConnection({ isLost, since: answeredAt, why: failure });
  if (isLost) document.title = "no connection · haiku-pipeline";
}

async function ask() {
  let answer;
  try {
    answer = await fetch("api/status", { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    failure = error.name === "TimeoutError"
      ? "The pipeline does not answer in time: it is overloaded, or the network is."
      : "The pipeline does not answer: it has stopped, or it cannot be reached from here.";
    return;
  }
  if (!answer.ok) {
    failure = `The pipeline answers with an error (status ${answer.status}).`;
    return;
  }
  const next = await answer.json();
  // After an update the page of before would guess at what it is sent.
  if (view !== null && next.version !== view.version) location.reload();
  view = next;
  show();
  [answeredAt, failure] = [Date.now(), null];
}

async function poll() {
  try {
    await ask();
  } catch (error) {
    console.error(error);
    failure = "This page cannot show what the pipeline answers: reload it.";
  } finally {
    connection();
    setTimeout(poll, POLL_MS);
  }
}

byId("scope").addEventListener("change", (event) => {
  scope = event.target.value;
  show();
});
byId("scope").addEventListener("submit", (event) => event.preventDefault());
// A poll may hang for as long as its time-out: what is shown must not pass for new meanwhile.
setInterval(connection, 1000);
poll();
