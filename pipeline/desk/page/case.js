// One case: the event as people know it, both answers side by side, and why each was doubted.

import { get } from "./api.js";
import { element } from "./dom.js";
import { dollars, words } from "./format.js";
import { EventCard, prefetchFile } from "./event.js";
import { isLines, shown } from "./values.js";

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
const SAID = { haiku: "Haiku", sonnet: "Sonnet" };

/** What is shown of a case, asked for ahead of time: { place, document, file, image }, promises. */
export function prefetch(place) {
  const document = get(`api/review/${place}`);
  return { place, document, ...prefetchFile(`api/review/${place}`, document) };
}

export class Case {
  constructor(document) {
    this.document = document;
    this.place = document.place;
    this.heading = element("h2", { tabindex: "-1" }, document.event_id);
    this.answers = element("section", { class: "card answers", "aria-label": "Answers" },
      doubts(document), table(document));
    this.event = new EventCard(`api/review/${document.place}`, document);
    // A form takes the place of the answers, so that the event stays beside it.
    this.form = element("div", { class: "form-place" });
    this.node = element("article", { class: "case" }, this.head(),
      element("div", { class: "both" }, this.event.node,
        element("div", {}, this.form, this.answers)));
  }

  head() {
    const { stage, key, came_at: came, source, model, calls, cost_usd: cost } = this.document;
    const part = source.part ? `, part ${source.part.number} of ${source.part.of}` : "";
    return element("header", { class: "case-head" }, this.heading,
      element("p", { class: "soft" }, `${stage} · key ${key} · from ${source.topic} ${
        source.partition}:${source.offset}${part} · came ${moment.format(new Date(came))} · ${model}, ${calls} calls, ${
        dollars(cost === null ? null : Number(cost))}`));
  }

  get picture() {
    return this.event.picture;
  }

  close() {
    this.event.close();
  }
}

function doubts(document) {
  const by = (tier) => document.doubts.filter((each) => each.by === tier);
  const list = (title, found) => (found.length ? element("div", {},
    element("h3", {}, title), element("ul", { class: "doubts" }, ...found.map((each) =>
      element("li", {}, element("strong", {}, words(each.code)), " ",
        element("span", {}, each.detail))))) : null);
  return element("div", { class: "why" }, list("Why Haiku's was doubted", by("haiku")),
    list("Why Sonnet's was doubted", by("sonnet")), list("Why they were doubted", by(null)));
}

function table(document) {
  const tiers = Object.keys(SAID);
  const cell = (row, tier, other) => {
    const isKnown = document.has_answer[tier];
    return element("td", { role: "cell", class: "words", "data-title": SAID[tier] }, isKnown
      ? shown(row[tier], row.differs ? row[other] : undefined)
      : element("span", { class: "none" }, "no usable answer"));
  };
  const wide = (row) => {
    const own = tiers.filter((tier) => document.has_answer[tier]);
    const said = row.differs || own.length < 2 ? own : [own[0]];
    return element("td", { role: "cell", class: "words wide", colspan: "2" }, ...said.flatMap((tier) => [
      element("p", { class: "soft" }, said.length < own.length ? "Both" : SAID[tier]),
      shown(row[tier], row.differs ? row[tiers.find((each) => each !== tier)] : undefined)]));
  };
  const cells = (row) => (tiers.some((tier) => isLines(row[tier])) ? [wide(row)]
    : [cell(row, "haiku", "sonnet"), cell(row, "sonnet", "haiku")]);
  if (!document.answers.length) {
    return element("p", { class: "none" }, "Neither model gave a usable answer.");
  }
  return element("table", { class: "compare", role: "table" },
    element("caption", { class: "unseen" }, "Both answers; what differs is marked"),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...["Field",
      ...tiers.map((tier) => SAID[tier])].map((title) =>
      element("th", { scope: "col", role: "columnheader", class: "words" }, title)))),
    element("tbody", { role: "rowgroup" }, ...document.answers.map((row) => element("tr", {
      role: "row", class: row.differs ? "differs" : null,
    }, element("th", { scope: "row", role: "rowheader", class: "name" }, words(row.name),
      row.differs ? element("span", { class: "tag" }, "differs") : null),
    ...cells(row)))));
}
