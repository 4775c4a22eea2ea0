// The view of review items: the queue beside the case that is open, and what a person decides.

import { get, post, Refused } from "./api.js";
import { Case, prefetch } from "./case.js";
import { attribute, element, keyed, text } from "./dom.js";
import { count, duration, words } from "./format.js";
import { ResultForm } from "./form.js";

const POLL_MS = 4000, VERDICTS_MS = 500, RENEW_MS = 60000, SHOWN = 100;
const ORDERS = { oldest: "oldest first", newest: "newest first", value: "largest amount first",
  doubts: "most doubted first" };
const SAID = { haiku: "Haiku's answer", sonnet: "Sonnet's answer" };

export async function open(root, desk) {
  const view = new ReviewView(root, desk);
  await view.refresh();
  return view;
}

class ReviewView {
  constructor(root, desk) {
    Object.assign(this, { root, desk, cases: [], opened: null, form: null, ahead: new Map() });
    this.settling = new Set();
    this.given = [];
    this.build();
    this.onClick = (event) => this.clicked(event);
    root.addEventListener("click", this.onClick);
    this.polling = setInterval(() => this.refresh(), POLL_MS);
    this.renewing = setInterval(() => this.renew(), RENEW_MS);
    this.desk.useKeys(this.keys());
  }

  build() {
    const select = (label, name) => {
      const node = element("select", { id: `by-${name}` });
      node.addEventListener("change", () => this.refresh());
      return [node, element("label", { for: `by-${name}` }, element("span", { class: "unseen" }, label), node)];
    };
    let stage, doubt, order;
    [this.stage, stage] = select("Stage", "stage");
    [this.doubt, doubt] = select("Doubt", "doubt");
    [this.order, order] = select("Order", "order");
    this.order.append(...Object.entries(ORDERS).map(([value, says]) => element("option", { value }, says)));
    this.summary = element("p", { class: "soft", role: "status" });
    this.problem = element("p", { class: "problem", role: "alert" });
    this.list = element("ul", { class: "queue" });
    this.queue = element("section", { class: "card", "aria-label": "Queue" },
      element("h2", {}, "Waiting for a person"),
      element("div", { class: "filters" }, stage, doubt, order), this.summary, this.problem, this.list);
    this.pane = element("section", { class: "pane", "aria-label": "Case", "aria-live": "off" });
    this.showNothing();
    this.root.append(this.queue, this.pane);
  }

  keys() {
    const when = (role, does) => () => (this.desk.may(role) ? does() : undefined);
    const onPicture = (does) => () => this.opened?.picture && does(this.opened.picture);
    return [
      { key: "j", says: "down the queue", does: () => this.move(1) },
      { key: "ArrowDown", does: () => this.move(1) },
      { key: "k", says: "up the queue", does: () => this.move(-1) },
      { key: "ArrowUp", does: () => this.move(-1) },
      { key: "n", says: "next case, and leave this one open", does: () => this.next() },
      { key: "1", says: "accept Haiku's answer", does: when("reviewer", () => this.accept("haiku")) },
      { key: "2", says: "accept Sonnet's answer", does: when("reviewer", () => this.accept("sonnet")) },
      { key: "e", says: "correct the fields", does: when("reviewer", () => this.correct()) },
      { key: "x", says: "to the dead letters, with a reason", does: when("reviewer", () => this.reject()) },
      { key: "Ctrl+Enter", says: "send the form", does: () => this.form?.send() },
      { key: "u", says: "undo the last verdict", does: when("reviewer", () => this.undo()) },
      { key: "Escape", shown: "Esc", says: "close the form, then the case", does: () => this.back() },
      { key: "]", says: "next page", does: onPicture((picture) => picture.leafTo(1)) },
      { key: "[", says: "page before", does: onPicture((picture) => picture.leafTo(-1)) },
      { key: "+", says: "larger", does: onPicture((picture) => picture.scale(1)) },
      { key: "-", says: "smaller", does: onPicture((picture) => picture.scale(-1)) },
      { key: "r", says: "turn the page", does: onPicture((picture) => picture.rotate()) },
      { key: "s", says: "choose a stage", does: () => this.stage.focus() },
      { key: "d", says: "choose a doubt", does: () => this.doubt.focus() },
      { key: "o", says: "choose the order", does: () => this.order.focus() },
    ];
  }

  close() {
    clearInterval(this.polling);
    clearInterval(this.renewing);
    clearTimeout(this.watching);
    this.turn = null;
    this.root.removeEventListener("click", this.onClick);
    this.leave();
  }

  // The queue

  async refresh() {
    const asked = new URLSearchParams({ order: this.order.value || "oldest", limit: SHOWN });
    if (this.stage.value) asked.set("stage", this.stage.value);
    if (this.doubt.value) asked.set("doubt", this.doubt.value);
    let found;
    try {
      found = await get(`api/review?${asked}`, { background: true });
    } catch (error) {
      this.say(error);
      return;
    }
    text(this.problem, found.problem ?? "");
    this.cases = found.cases.filter((each) => !this.settling.has(each.place));
    this.options(this.stage, "all stages", found.stages);
    this.options(this.doubt, "all doubts", found.doubts);
    const parts = [`${count(found.matching)} ${found.matching === 1 ? "case" : "cases"}`];
    if (!found.loaded) parts.push("still loading");
    if (found.matching > found.cases.length) parts.push(`the first ${found.cases.length} are shown`);
    if (found.left_out) parts.push(`${count(found.left_out)} more when these are done`);
    if (found.unreadable) parts.push(`${count(found.unreadable)} records cannot be read`);
    text(this.summary, `${parts.join(", ")}.`);
    this.desk.title(`${count(found.waiting)} waiting`);
    this.showList(new Date(found.now));
  }

  options(select, all, counts) {
    const names = Object.keys(counts).sort();
    if (select.value && !names.includes(select.value)) names.push(select.value);
    const wanted = ["", ...names];
    keyed(select, wanted, (name) => name, (name) => element("option", { value: name }),
      (node, name) => text(node, name === "" ? all : `${words(name)} (${counts[name] ?? 0})`));
  }

  showList(now) {
    this.now = now ?? this.now;
    keyed(this.list, this.cases, (each) => each.place, () => element("li", {},
      element("button", { type: "button", "data-do": "open" },
        element("span", { class: "id" }), element("span", { class: "about" }),
        element("span", { class: "codes" }))),
    (node, each) => {
      const button = node.firstElementChild, [id, about, codes] = button.children;
      button.dataset.place = each.place;
      attribute(button, "aria-current", String(this.opened?.place === each.place));
      text(id, each.event_id);
      const age = Math.max(0, Math.round((this.now - new Date(each.came_at)) / 1000));
      const worth = each.value === null ? "" : ` · ${each.value} ${each.currency}`.trimEnd();
      const taken = this.isTaken(each) ? ` · ${each.claimed_by} works on it` : "";
      text(about, `${each.stage} · ${duration(age)}${worth}${taken}`);
      text(codes, each.doubts.map(words).join(", "));
    });
  }

  isTaken(each) {
    return each.claimed_by !== null && each.claimed_by !== this.desk.session.person;
  }

  move(by) {
    const buttons = [...this.list.querySelectorAll("button")];
    if (!buttons.length) return;
    const at = buttons.indexOf(document.activeElement);
    const current = buttons.findIndex((each) => each.dataset.place === this.opened?.place);
    const from = at >= 0 ? at : current;
    buttons[Math.min(buttons.length - 1, Math.max(0, from + by))].focus();
  }

  clicked(event) {
    const button = event.target.closest("button[data-do]");
    if (button === null) return;
    const does = {
      open: () => this.open(button.dataset.place), haiku: () => this.accept("haiku"),
      sonnet: () => this.accept("sonnet"), correct: () => this.correct(),
      reject: () => this.reject(), next: () => this.next(), back: () => this.back(),
    };
    does[button.dataset.do]();
  }

  // The case

  fetched(place) {
    if (!this.ahead.has(place)) this.ahead.set(place, prefetch(place));
    return this.ahead.get(place);
  }

  async open(place) {
    if (this.opened?.place === place) return;
    this.leave();
    const ticket = this.ticket = {};
    const found = this.fetched(place);
    text(this.pane, "");
    this.root.classList.add("has-case");
    let document;
    try {
      if (this.desk.may("reviewer")) await post(`api/review/${place}/claim`);
      this.claimed = place;
      document = await found.document;
    } catch (error) {
      this.ahead.delete(place);
      if (this.ticket !== ticket) return;
      this.say(error);
      this.showNothing();
      await this.refresh();
      return;
    }
    if (this.ticket !== ticket) {
      this.release(place);
      return;
    }
    this.opened = new Case(document);
    this.actions = this.buttons(document);
    this.pane.replaceChildren(this.opened.node, this.actions);
    this.pane.scrollTo?.(0, 0);
    this.opened.event.showFile(found.file, found.image);
    this.opened.heading.focus({ preventScroll: true });
    scrollTo(0, 0);
    this.showList();
    const next = this.following(place);
    if (next !== null) this.fetched(next.place);
  }

  buttons(document) {
    const button = (does, says, key, isOff = false) => element("button", {
      type: "button", "data-do": does, disabled: isOff ? "" : null, class: does,
    }, `${says} `, element("kbd", {}, key));
    const mayDecide = this.desk.may("reviewer");
    return element("div", { class: "actions", role: "group", "aria-label": "Verdict" },
      button("back", "Queue", "Esc"),
      ...(mayDecide ? [
        button("haiku", "Accept Haiku's", "1", !document.has_answer.haiku),
        button("sonnet", "Accept Sonnet's", "2", !document.has_answer.sonnet),
        button("correct", "Correct", "e", !document.form.length),
        button("reject", "Dead letter", "x"),
      ] : []),
      button("next", "Next", "n"));
  }

  /** The case after a place in the queue that nobody else works on; null where there is none. */
  following(place) {
    const at = this.cases.findIndex((each) => each.place === place);
    const others = [...this.cases.slice(at + 1), ...this.cases.slice(0, Math.max(0, at))];
    return others.find((each) => each.place !== place && !this.isTaken(each)
      && !this.settling.has(each.place)) ?? null;
  }

  async next(after = this.opened?.place) {
    const next = this.following(after);
    if (next === null) {
      this.leave();
      await this.refresh();
      this.showNothing(this.cases.length ? "Nobody is needed for another case now." : null);
      return;
    }
    await this.open(next.place);
  }

  back() {
    if (this.form !== null) {
      this.closeForm();
      return;
    }
    const place = this.opened?.place;
    this.leave();
    this.showNothing();
    this.showList();
    [...this.list.querySelectorAll("button")].find((each) => each.dataset.place === place)?.focus();
  }

  leave() {
    this.ticket = null;
    this.form = null;
    if (this.opened !== null) {
      this.ahead.delete(this.opened.place);
      this.opened.close();
      this.opened = null;
    }
    if (this.claimed && !this.settling.has(this.claimed)) this.release(this.claimed);
    this.claimed = null;
    // What was asked for ahead of time is old by the time that anybody comes back to it.
    if (this.ahead.size > 3) this.ahead.clear();
  }

  release(place) {
    if (this.desk.may("reviewer")) post(`api/review/${place}/release`).catch(() => {});
  }

  async renew() {
    if (this.claimed === null || this.opened === null || document.hidden) return;
    if (!this.desk.may("reviewer")) return;
    try {
      await post(`api/review/${this.claimed}/claim`, {}, { background: true });
    } catch (error) {
      this.say(error);
    }
  }

  showNothing(said = null) {
    this.root.classList.remove("has-case");
    this.pane.replaceChildren(element("p", { class: "card none" }, said
      ?? "Choose a case: j and k go through the queue, Enter opens, n opens the next one."));
  }

  // Verdicts

  accept(tier) {
    if (this.opened?.document.has_answer[tier] && this.form === null) {
      this.decide({ accept: tier }, SAID[tier]);
    }
  }

  correct() {
    if (this.opened === null || this.form !== null || !this.opened.document.form.length) return;
    const { form, result } = this.opened.document;
    const fields = new ResultForm(form, result);
    this.showForm("Correct the result", fields.node, "Publish", () =>
      this.decide({ result: fields.read() }, "The corrected result", fields));
    fields.focus();
  }

  reject() {
    if (this.opened === null || this.form !== null) return;
    const reason = element("input", { type: "text", id: "reason", maxlength: "500", required: "" });
    const faults = element("p", { class: "faults", role: "alert" });
    const node = element("div", { class: "form" }, faults,
      element("label", { for: "reason" }, "Why can nothing be made of this event?"), reason);
    const refused = { refuse: (message) => { text(faults, message); reason.focus(); } };
    this.showForm("To the dead letters", node, "To the dead letters", () =>
      this.decide({ dead_letter: reason.value }, "A dead letter", refused));
    reason.focus();
  }

  showForm(title, fields, says, send) {
    const cancel = element("button", { type: "button", "data-do": "back" }, "Cancel ", element("kbd", {}, "Esc"));
    const node = element("form", { class: "card correct", "aria-label": title }, element("h2", {}, title),
      fields, element("div", { class: "send" },
        element("button", { type: "submit" }, `${says} `, element("kbd", {}, "Ctrl Enter")), cancel));
    node.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
    });
    this.form = { node, send: () => node.requestSubmit() };
    this.opened.form.replaceChildren(node);
    this.opened.answers.hidden = this.actions.hidden = true;
    node.scrollIntoView({ block: "nearest" });
  }

  closeForm() {
    this.form?.node.remove();
    this.form = null;
    this.opened.answers.hidden = this.actions.hidden = false;
    this.opened?.heading.focus({ preventScroll: true });
  }

  async decide(verdict, said, fields = null) {
    const { place } = this.opened;
    if (this.settling.has(place)) return;
    this.settling.add(place);
    try {
      const given = await post(`api/review/${place}/verdict`, verdict);
      this.given.unshift({ ...given, said });
    } catch (error) {
      this.settling.delete(place);
      if (fields !== null && error instanceof Refused && error.status === 422) {
        fields.refuse(error.message, error.faults);
      } else this.say(error);
      return;
    }
    this.watch();
    const after = place;
    await this.next(after);
    this.cases = this.cases.filter((each) => each.place !== place);
    this.showList();
  }

  async undo() {
    const last = this.given.find((each) => each.state === "waiting");
    if (last === undefined) {
      this.desk.note("There is nothing to undo: verdicts are published.", { id: "undo" });
      return;
    }
    try {
      await post(`api/review/verdicts/${last.number}/undo`);
    } catch (error) {
      this.say(error);
      return;
    }
    this.given = this.given.filter((each) => each !== last);
    this.settling.delete(last.place);
    this.ahead.delete(last.place);
    this.desk.note(`Undone: ${last.event_id} is open again.`, { id: "verdict" });
    await this.refresh();
    await this.open(last.place);
  }

  /** Follow verdicts until all are published, and say what became of them. */
  async watch() {
    clearTimeout(this.watching);
    const turn = this.turn = {};
    this.showVerdict();
    let states;
    try {
      states = new Map((await get("api/review/verdicts", { background: true })).map((each) => [each.number, each]));
    } catch (error) {
      this.say(error);
      states = new Map();
    }
    // What was decided meanwhile is followed by a later turn.
    if (this.turn !== turn) return;
    // The newest last: what is said of it stays.
    for (const each of [...this.given].reverse()) {
      const now = states.get(each.number);
      if (now === undefined || now.state === each.state) continue;
      Object.assign(each, now);
      if (each.state === "waiting" || each.state === "publishing") continue;
      this.settling.delete(each.place);
      if (each.state === "published") {
        this.desk.note(`${each.said} for ${each.event_id} is published.`, { id: "verdict" });
      } else {
        this.desk.note(`${each.event_id}: ${each.message}`,
          { id: `verdict-${each.number}`, kind: "bad", stays: true });
      }
    }
    const isOpen = this.given.some((each) => ["waiting", "publishing"].includes(each.state));
    if (isOpen) this.watching = setTimeout(() => this.watch(), VERDICTS_MS);
    else this.refresh();
  }

  showVerdict() {
    const last = this.given.find((each) => each.state === "waiting");
    if (last === undefined) return;
    this.desk.note(`${last.said} for ${last.event_id} is published in ${
      Math.ceil(last.seconds_left)} s.`, {
      id: "verdict", stays: true, action: { says: "Undo (u)", does: () => this.undo() },
    });
  }

  say(error) {
    if (!(error instanceof Refused)) throw error;
    this.desk.note(error.message, { id: "error", kind: "bad" });
  }
}
