// The view of drawn answers: what is right is said first, then the answer is shown.

import { get, post, Refused } from "./api.js";
import { EventCard, prefetchFile } from "./event.js";
import { element, text } from "./dom.js";
import { count, share, words } from "./format.js";
import { shown } from "./values.js";

export async function open(root, desk) {
  const view = new SampleView(root, desk);
  await view.load();
  return view;
}

class SampleView {
  constructor(root, desk) {
    Object.assign(this, { root, desk, turn: null, event: null, revealed: null, verdict: null });
    this.stage = element("select", { id: "by-stage" });
    this.stage.addEventListener("change", () => this.next());
    this.summary = element("p", { class: "soft", role: "status" });
    this.pane = element("div", { class: "both" });
    root.append(element("section", { class: "card", "aria-label": "What is labelled" },
      element("h2", {}, "Say what is right, before you see the answer"),
      element("div", { class: "filters" }, element("label", { for: "by-stage" },
        element("span", { class: "unseen" }, "Stage"), this.stage)), this.summary), this.pane);
    root.addEventListener("click", this.onClick = (event) => this.clicked(event));
    const onPicture = (does) => () => this.event?.picture && does(this.event.picture);
    desk.useKeys([
      { key: "1", shown: "1 … 9", says: "choose the label of that number", does: () => this.pick(0) },
      ...Array.from({ length: 8 }, (_, at) => ({ key: String(at + 2), does: () => this.pick(at + 1) })),
      { key: "Ctrl+Enter", says: "that is what I say: show the answer", does: () => this.form?.requestSubmit() },
      { key: "y", says: "the answer is right", does: () => this.decide(true) },
      { key: "n", says: "the answer is wrong", does: () => this.decide(false) },
      { key: "Enter", says: "show the answer; then, as it was compared", does: () => this.usual() },
      { key: "k", says: "leave it to others", does: () => this.next() },
      { key: "]", says: "next page", does: onPicture((picture) => picture.leafTo(1)) },
      { key: "[", says: "page before", does: onPicture((picture) => picture.leafTo(-1)) },
      { key: "+", says: "larger", does: onPicture((picture) => picture.scale(1)) },
      { key: "-", says: "smaller", does: onPicture((picture) => picture.scale(-1)) },
      { key: "r", says: "turn the page", does: onPicture((picture) => picture.rotate()) },
      { key: "s", says: "choose a stage", does: () => this.stage.focus() },
    ]);
  }

  async load() {
    let found;
    try {
      found = await get("api/sample");
    } catch (error) {
      this.say(error);
      return;
    }
    this.plan = found;
    this.stage.append(...found.stages.map((each) => element("option", { value: each }, words(each))));
    await this.next();
  }

  close() {
    this.root.removeEventListener("click", this.onClick);
    this.leave();
  }

  leave() {
    this.event?.close();
    Object.assign(this, { turn: null, event: null, form: null, revealed: null });
  }

  async next() {
    this.leave();
    const ticket = this.ticket = {};
    this.pane.replaceChildren();
    text(this.summary, "Looking for an answer …");
    let found;
    try {
      found = await post("api/sample/next", { stage: this.stage.value });
    } catch (error) {
      if (this.ticket !== ticket) return;
      text(this.summary, "");
      this.say(error);
      return;
    }
    if (this.ticket !== ticket) return;
    this.summarise(found);
    if (found.turn === null) {
      this.pane.replaceChildren(element("p", { class: "card none" }, found.gone
        ? "The events of these answers are gone: label sooner, or raise topics.payload_retention."
        : "There is no drawn answer that you are asked about in this stage."));
      return;
    }
    this.turn = found.turn;
    const path = `api/sample/${found.turn.name}`;
    this.event = new EventCard(path, found.turn);
    const { file, image } = prefetchFile(path, Promise.resolve(found.turn));
    this.side = element("div", {}, this.question());
    this.pane.replaceChildren(this.event.node, this.side);
    this.event.showFile(file, image);
    this.form.querySelector("input, button")?.focus({ preventScroll: true });
  }

  summarise(found) {
    const { needed, target, right } = this.plan;
    const parts = [`${count(found.waiting)} ${found.waiting === 1 ? "answer" : "answers"} for you to label`,
      `${count(found.labelled)} labelled so far`];
    if (needed !== null && found.labelled < needed) {
      parts.push(`${count(needed - found.labelled)} more are planned for a certificate of ${share(target)}, where ${
        share(right)} are right in truth`);
    }
    if (found.pairs) {
      const kappa = found.kappa === null ? "not known" : found.kappa.toFixed(2);
      parts.push(`two people agreed on ${count(found.agreed)} of ${count(found.pairs)} (Cohen's kappa ${kappa})`);
    }
    text(this.summary, `${parts.join("; ")}.`);
    this.desk.title(`${count(found.waiting)} to label`);
  }

  question() {
    const { questions } = this.turn;
    const fields = questions.map((each, at) => (each.labels.length ? this.choice(each) : this.typed(each, at)));
    this.form = element("form", { class: "card correct", "aria-label": "What is right" },
      element("h2", {}, questions.length ? "What is right?" : "Read the event"),
      questions.length ? element("p", { class: "hint" }, "Nothing: you do not say. A dash (-): it has none.") : null,
      ...fields, element("div", { class: "send" },
        element("button", { type: "submit" }, "Show the answer ", element("kbd", {}, "Ctrl Enter")),
        element("button", { type: "button", "data-do": "next" }, "Leave it ", element("kbd", {}, "k"))));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.reveal();
    });
    return this.form;
  }

  choice(question) {
    return element("fieldset", { class: "field" }, element("legend", {}, words(question.name)),
      ...question.labels.map((label, at) => element("label", { class: "pick" },
        element("input", { type: "radio", name: question.name, value: label.value }),
        element("span", {}, at < 9 ? element("kbd", {}, String(at + 1)) : null, ` ${words(label.value)}`,
          label.description ? element("span", { class: "hint" }, ` ${label.description}`) : null))));
  }

  typed(question, at) {
    const id = `said-${at}`;
    return element("div", { class: "field" }, element("label", { for: id }, words(question.name)),
      element("input", { type: "text", id, name: question.name, autocomplete: "off", maxlength: "10000" }));
  }

  /** Choose the label of a number: in the first question that has labels. */
  pick(at) {
    const radio = this.revealed === null && this.form?.querySelector("fieldset")?.querySelectorAll("input")[at];
    if (!radio) return;
    radio.checked = true;
    radio.focus();
  }

  async reveal() {
    if (this.turn === null || this.revealed !== null) return;
    const given = Object.fromEntries(new FormData(this.form));
    try {
      this.revealed = await post(`api/sample/${this.turn.name}/given`, { given });
    } catch (error) {
      this.say(error);
      return;
    }
    const { answer, by, differ, said } = this.revealed;
    const says = !said ? "Is it right?" : differ.length
      ? `It differs from you in ${differ.map(words).join(", ")}. Is it right?` : "It agrees with you. Is it right?";
    this.verdict = said ? differ.length === 0 : null;
    const button = (does, title, key) => element("button", { type: "button", "data-do": does,
      class: (does === "right") === this.verdict ? "usual" : null }, `${title} `,
    element("kbd", {}, this.verdict === (does === "right") ? `${key}, Enter` : key));
    const heading = element("h2", { tabindex: "-1" }, says);
    const row = (each) => element("tr", { role: "row", class: each.differs ? "differs" : null },
      element("th", { scope: "row", role: "rowheader", class: "name" }, words(each.name),
        each.differs ? element("span", { class: "tag" }, "differs") : null),
      element("td", { role: "cell", class: "words", "data-title": "Answer" }, shown(each.value)),
      element("td", { role: "cell", class: "words", "data-title": "You" }, each.is_given ? shown(each.given) : ""));
    this.side.replaceChildren(element("section", { class: "card answers", "aria-label": "The answer" },
      element("div", { class: "case-head" }, heading), element("p", { class: "soft" }, by),
      element("table", { class: "compare", role: "table" },
        element("caption", { class: "unseen" }, "What was published, and what you said"),
        element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...["Field", "Answer", "You"].map(
          (title) => element("th", { scope: "col", role: "columnheader", class: "words" }, title)))),
        element("tbody", { role: "rowgroup" }, ...answer.map(row)))),
    element("div", { class: "actions", role: "group", "aria-label": "Verdict" },
      button("right", "Right", "y"), button("wrong", "Wrong", "n")));
    heading.focus({ preventScroll: true });
  }

  usual() {
    if (this.revealed === null) this.form?.requestSubmit();
    else if (this.verdict !== null) this.decide(this.verdict);
  }

  async decide(right) {
    if (this.revealed === null || this.isSending) return;
    this.isSending = true;
    try {
      await post(`api/sample/${this.turn.name}/verdict`, { right });
    } catch (error) {
      this.say(error);
      return;
    } finally {
      this.isSending = false;
    }
    this.desk.note(`Labelled: ${right ? "right" : "wrong"}.`, { id: "label" });
    await this.next();
  }

  clicked(event) {
    const button = event.target.closest("button[data-do]");
    if (button === null) return;
    const does = { next: () => this.next(), right: () => this.decide(true), wrong: () => this.decide(false) };
    does[button.dataset.do]();
  }

  say(error) {
    if (!(error instanceof Refused)) throw error;
    this.desk.note(error.message, { id: "error", kind: "bad" });
  }
}
