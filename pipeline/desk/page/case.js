// One case: the event as people know it, both answers side by side, and why each was doubted.

import { get } from "./api.js";
import { element } from "./dom.js";
import { dollars, words } from "./format.js";
import { address, Picture } from "./picture.js";
import { isLines, shown } from "./values.js";

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
const SAID = { haiku: "Haiku", sonnet: "Sonnet" };

/** What is shown of a case, asked for ahead of time: { place, document, file, image }, promises. */
export function prefetch(place) {
  const asked = get(`api/review/${place}`);
  const file = asked.then((document) => (document.event.file === null ? null
    : get(`api/review/${place}/file`)));
  const image = Promise.all([asked, file]).then(([document, found]) => {
    if (!found?.pages || found.text !== null) return null;
    const node = element("img");
    node.src = address(place, 1, document.edges.at(-2));
    return node;
  });
  // Whoever shows it awaits these; until then a failure is nobody's.
  for (const each of [asked, file, image]) each.catch(() => {});
  return { place, document: asked, file, image };
}

export class Case {
  constructor(document) {
    this.document = document;
    this.place = document.place;
    this.picture = null;
    this.heading = element("h2", { tabindex: "-1" }, document.event_id);
    this.answers = element("section", { class: "card answers", "aria-label": "Answers" },
      doubts(document), table(document));
    this.evidence = element("section", { class: "card event", "aria-label": "The event" },
      ...this.event());
    // A form takes the place of the answers, so that the event stays beside it.
    this.form = element("div", { class: "form-place" });
    this.node = element("article", { class: "case" }, this.head(),
      element("div", { class: "both" }, this.evidence,
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

  event() {
    const { mail, texts, details } = this.document.event;
    const found = [];
    if (mail !== null) {
      const from = mail.from_name ? `${mail.from_name} <${mail.from}>` : mail.from;
      const rows = [["From", from], ["To", mail.to], ["Date", mail.date], ["Subject", mail.subject]];
      found.push(element("dl", { class: "mail" }, ...rows.filter(([, value]) => value)
        .map(([name, value]) => element("div", {}, element("dt", {}, name),
          element("dd", {}, Array.isArray(value) ? value.join(", ") : String(value))))));
    }
    for (const each of texts) {
      found.push(element("h3", {}, words(each.name)), element("p", { class: "text" },
        ...each.pieces.map((piece) => (piece.fields.length
          ? element("mark", { class: "evidence", title: piece.fields.map(named).join(", ") }, piece.text)
          : piece.text))));
      if (each.left_out) {
        found.push(element("p", { class: "soft" }, `${each.left_out} more characters are not shown.`));
      }
    }
    this.place_of_file = element("div", { class: "file" });
    found.push(this.place_of_file);
    if (details.length) {
      found.push(element("details", { open: texts.length + Number(this.document.event.file !== null)
        ? null : "" }, element("summary", {}, "What else the event says"),
        element("dl", { class: "else" }, ...details.map((each) => element("div", {},
          element("dt", {}, each.name), element("dd", {}, each.value))))));
    }
    return found;
  }

  /** Show the file once the server has drawn it. */
  async showFile(file, image) {
    const about = this.document.event.file;
    if (about === null) return;
    const name = about.name || about.media_type || "the file";
    this.place_of_file.replaceChildren(element("h3", {}, name),
      element("p", { class: "soft", role: "status" }, "Drawing"));
    let found, ready;
    try {
      [found, ready] = await Promise.all([file, image]);
    } catch (error) {
      found = { pages: 0, text: null, problem: error.message };
    }
    if (this.isClosed) return;
    const heading = element("h3", {}, name);
    if (found.problem !== null) {
      this.place_of_file.replaceChildren(heading, element("p", { class: "problem" }, found.problem));
    } else if (found.text !== null) {
      this.place_of_file.replaceChildren(heading, element("p", { class: "text" }, found.text));
    } else {
      this.picture = new Picture(this.place, found, {
        edges: this.document.edges, boxes: this.document.event.boxes, name, ready,
      });
      this.place_of_file.replaceChildren(heading, this.picture.node);
    }
  }

  close() {
    this.isClosed = true;
    this.picture?.close();
  }
}

const named = (pointer) => words(pointer.slice(1).replaceAll("/", " "));

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
