// The view of dead letters: the list beside the one that is open, and putting back what is chosen.

import { get, post, Refused } from "./api.js";
import { attribute, element, keyed, text } from "./dom.js";
import { count, duration, words } from "./format.js";

const SHOWN = 200, PROGRESS_MS = 500;
const SPANS = { "": "any time", "1h": "the last hour", "24h": "the last day", "7d": "the last 7 days",
  "30d": "the last 30 days" };
const STATES = { open: "not put back", replayed: "put back or forgotten", all: "all" };

export async function open(root, desk) {
  const view = new DeadLetters(root, desk);
  await view.refresh();
  view.watch();
  return view;
}

class DeadLetters {
  constructor(root, desk) {
    Object.assign(this, { root, desk, lines: [], opened: null, form: null, watching: null });
    this.chosen = new Set();
    this.build();
    root.addEventListener("click", (event) => this.clicked(event));
    desk.useKeys(this.keys());
  }

  build() {
    const select = (label, name, choices) => {
      const node = element("select", { id: `by-${name}` }, ...Object.entries(choices).map(
        ([value, says]) => element("option", { value }, says)));
      node.addEventListener("change", () => this.refresh());
      return [node, element("label", { for: `by-${name}` }, element("span", { class: "unseen" }, label), node)];
    };
    const input = (label, name) => {
      const node = element("input", { type: "text", id: `by-${name}`, placeholder: label, maxlength: "200" });
      node.addEventListener("change", () => this.refresh());
      return [node, element("label", { for: `by-${name}` }, element("span", { class: "unseen" }, label), node)];
    };
    let state, span, reason, stage, key;
    [this.state, state] = select("State", "state", STATES);
    [this.span, span] = select("Put aside in", "span", SPANS);
    [this.reason, reason] = select("Reason", "reason", { "": "all reasons" });
    [this.stage, stage] = input("Stage", "stage");
    [this.key, key] = input("Key", "key");
    this.summary = element("p", { class: "soft", role: "status" });
    this.list = element("ul", { class: "queue" });
    const buttons = [element("button", { type: "button", "data-do": "all" }, "Choose all ", element("kbd", {}, "a"))];
    if (this.desk.may("operator")) {
      buttons.push(element("button", { type: "button", "data-do": "replay" }, "Put back ", element("kbd", {}, "p")));
    }
    this.export = element("a", { class: "button", download: "dead-letters.jsonl" }, "Export ", element("kbd", {}, "e"));
    this.root.append(
      element("section", { class: "card", "aria-label": "Dead letters" }, element("h2", {}, "Dead letters"),
        element("div", { class: "filters" }, state, span, reason, stage, key), this.summary,
        element("div", { class: "tools" }, ...buttons, this.export), this.list),
      this.pane = element("section", { class: "pane", "aria-label": "Dead letter" }));
    this.showNothing();
  }

  keys() {
    return [
      { key: "j", says: "down the list", does: () => this.move(1) },
      { key: "ArrowDown", does: () => this.move(1) },
      { key: "k", says: "up the list", does: () => this.move(-1) },
      { key: "ArrowUp", does: () => this.move(-1) },
      { key: "x", says: "choose the one in the list that has the focus, or not", does: () => this.choose() },
      { key: "a", says: "choose all that are shown, or none", does: () => this.chooseAll() },
      { key: "p", says: "put back what is chosen, else all that match", does: () => this.replay() },
      { key: "e", says: "export the same as JSON Lines", does: () => this.export.click() },
      { key: "Ctrl+Enter", says: "confirm", does: () => this.form?.requestSubmit() },
      { key: "Escape", shown: "Esc", says: "close what is open", does: () => this.back() },
      { key: "r", says: "choose a reason", does: () => this.reason.focus() },
      { key: "s", says: "name a stage", does: () => this.stage.focus() },
      { key: "t", says: "choose a time", does: () => this.span.focus() },
    ];
  }

  close() {
    clearTimeout(this.watching);
    this.watching = null;
    this.isClosed = true;
  }

  /** What is meant by the filters, as the server's options. */
  filters() {
    const given = { stage: this.stage.value.trim(), reason: this.reason.value, key: this.key.value,
      since: this.span.value };
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  }

  async refresh() {
    const turn = this.turn = {};
    const asked = new URLSearchParams({ ...this.filters(), state: this.state.value, limit: SHOWN });
    text(this.summary, "Reading the topic …");
    let found;
    try {
      found = await get(`api/dead-letters?${asked}`);
    } catch (error) {
      if (this.turn === turn) {
        text(this.summary, "");
        this.say(error);
      }
      return;
    }
    if (this.turn !== turn) return;
    this.lines = found.lines;
    this.matching = found.matching;
    const places = new Set(found.lines.map((each) => each.place));
    this.chosen = new Set([...this.chosen].filter((place) => places.has(place)));
    const names = Object.keys(found.reasons).sort();
    if (this.reason.value && !names.includes(this.reason.value)) names.push(this.reason.value);
    keyed(this.reason, ["", ...names], (name) => name, (name) => element("option", { value: name }),
      (node, name) => text(node, name === "" ? "all reasons" : `${words(name)} (${found.reasons[name] ?? 0})`));
    this.now = new Date(found.now);
    this.desk.title(`${count(found.matching)} dead letters`);
    this.show();
  }

  show() {
    const parts = [`${count(this.matching)} ${this.matching === 1 ? "matches" : "match"}`];
    if (this.matching > this.lines.length) parts.push(`the newest ${this.lines.length} are shown`);
    if (this.chosen.size) parts.push(`${this.chosen.size} chosen`);
    text(this.summary, `${parts.join(", ")}.`);
    const places = this.chosen.size ? [...this.chosen].map((place) => ["place", place]) : [];
    this.export.href = `api/dead-letters/export?${new URLSearchParams(
      places.length ? places : Object.entries(this.filters()))}`;
    keyed(this.list, this.lines, (each) => each.place, () => element("li", { class: "choice" },
      element("input", { type: "checkbox", "data-do": "choose" }),
      element("button", { type: "button", "data-do": "open" }, element("span", { class: "id" }),
        element("span", { class: "about" }))),
    (node, each) => {
      const [box, button] = node.children, [id, about] = button.children;
      box.dataset.place = button.dataset.place = each.place;
      attribute(box, "aria-label", `Choose ${each.place}`);
      box.checked = this.chosen.has(each.place);
      attribute(button, "aria-current", String(this.opened === each.place));
      text(id, `${words(each.reason) || "no reason"} · ${each.place}`);
      const age = duration(Math.max(0, Math.round((this.now - new Date(each.died_at)) / 1000)));
      const state = each.forgotten ? " · forgotten" : each.replayed ? ` · put back ${each.replayed}×` : "";
      text(about, `${each.stage || "another program"} · ${age} · ${count(each.size)} bytes${
        each.key ? ` · ${each.key}` : ""}${state}`);
    });
  }

  clicked(event) {
    const node = event.target.closest("[data-do]");
    if (node === null) return;
    const does = {
      open: () => this.open(node.dataset.place), choose: () => this.choose(node.dataset.place),
      all: () => this.chooseAll(), replay: () => this.replay(), back: () => this.back(),
    };
    does[node.dataset.do]();
  }

  move(by) {
    const buttons = [...this.list.querySelectorAll("button")];
    if (!buttons.length) return;
    const at = buttons.findIndex((each) => each.parentElement.contains(document.activeElement));
    const from = at >= 0 ? at : buttons.findIndex((each) => each.dataset.place === this.opened);
    buttons[Math.min(buttons.length - 1, Math.max(0, from + by))].focus();
  }

  choose(place = document.activeElement.dataset.place) {
    if (!place) return;
    if (!this.chosen.delete(place)) this.chosen.add(place);
    this.show();
  }

  chooseAll() {
    const isAll = this.chosen.size === this.lines.length;
    this.chosen = new Set(isAll ? [] : this.lines.map((each) => each.place));
    this.show();
  }

  async open(place) {
    this.opened = place;
    this.closeForm();
    this.show();
    let found;
    try {
      found = await get(`api/dead-letters/${place}`);
    } catch (error) {
      this.opened = null;
      this.say(error);
      await this.refresh();
      return;
    }
    if (this.opened !== place) return;
    const row = (name, value) => value === null || value === "" ? null
      : element("div", {}, element("dt", {}, name), element("dd", {}, value));
    const heading = element("h2", { tabindex: "-1" }, `${words(found.reason) || "no reason"} · ${place}`);
    this.root.classList.add("has-case");
    this.pane.replaceChildren(element("div", { class: "card" }, element("div", { class: "case-head" }, heading),
      element("p", { class: "why" }, found.detail),
      element("dl", { class: "else" }, ...[
        row("Stage", found.stage), row("From", found.source), row("Put aside", found.died_at),
        row("By", found.version || "another program"), row("Key", found.key),
        row("Calls", found.attempts === null ? "" : String(found.attempts)),
        row("Before", found.replayed_from === null ? "" : `${found.replayed_from} (put back, and failed again)`),
        row("Put back", found.replayed_at === null || found.forgotten ? ""
          : `${found.replayed_at} (${found.replayed} times)`),
        row("Forgotten", found.forgotten ? String(found.replayed_at) : ""),
        row("Original", found.original === null ? "" : `not in this dead letter: ${found.original}`),
        ...found.headers.map(([name, value]) => row(name, value)),
      ].filter((each) => each !== null)),
      element("h3", { id: "value" }, `Value, ${count(found.size)} bytes`),
      element("pre", { class: "bytes", tabindex: "0", "aria-labelledby": "value" }, found.value)),
    element("div", { class: "actions" },
      element("button", { type: "button", "data-do": "back" }, "List ", element("kbd", {}, "Esc"))));
    heading.focus({ preventScroll: true });
  }

  back() {
    if (this.form !== null) {
      this.closeForm();
      return;
    }
    const place = this.opened;
    this.opened = null;
    this.showNothing();
    this.show();
    [...this.list.querySelectorAll("button")].find((each) => each.dataset.place === place)?.focus();
  }

  showNothing() {
    this.root.classList.remove("has-case");
    this.pane.replaceChildren(element("p", { class: "card none" },
      "Choose a dead letter: j and k go through the list, Enter opens, x chooses. What is chosen, or "
      + "all that match, can be exported, and put back on the topics that it came from."));
  }

  // Putting back

  async replay() {
    if (!this.desk.may("operator") || this.form !== null) return;
    const meant = this.chosen.size ? { place: [...this.chosen] } : this.filters();
    const faults = element("p", { class: "faults", role: "alert" });
    const rate = element("input", { type: "text", inputmode: "decimal", id: "rate", value: "50" });
    const again = element("input", { type: "checkbox", id: "again" });
    const would = element("p", { role: "status" }, "Looking what would be done …");
    const send = element("button", { type: "submit", disabled: "" }, "Put back ", element("kbd", {}, "Ctrl Enter"));
    const asked = () => ({ ...meant, rate: Number(rate.value), again: again.checked });
    const fail = (error) => {
      if (!(error instanceof Refused)) throw error;
      text(faults, error.message);
    };
    const rehearse = async () => {
      send.disabled = true;
      text(faults, "");
      text(would, "Looking what would be done …");
      try {
        const found = await post("api/dead-letters/rehearsal", asked());
        const refused = found.refusals.map((each) => `${each.place}: ${each.because}`);
        text(would, [`${found.sentence}.`, ...refused].join(" "));
        send.disabled = found.replayed === 0;
      } catch (error) {
        text(would, "");
        fail(error);
      }
    };
    const form = element("form", { class: "card correct", "aria-label": "Put back" },
      element("h2", {}, this.chosen.size
        ? `Put back ${count(this.chosen.size)} ${this.chosen.size === 1 ? "dead letter" : "dead letters"}`
        : "Put back all that match the filter"),
      faults, would,
      element("div", { class: "field" }, element("label", { for: "rate" }, "At most so many a second"), rate),
      element("div", { class: "choices" }, element("label", {}, again, "those too that were put back before")),
      element("div", { class: "send" }, send,
        element("button", { type: "button", "data-do": "back" }, "Cancel ", element("kbd", {}, "Esc"))));
    again.addEventListener("change", rehearse);
    rate.addEventListener("change", rehearse);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (send.disabled) return;
      send.disabled = true;
      try {
        await post("api/dead-letters/replay", asked());
      } catch (error) {
        send.disabled = false;
        fail(error);
        return;
      }
      this.closeForm();
      this.chosen.clear();
      this.watch(true);
    });
    this.form = form;
    this.pane.prepend(form);
    this.root.classList.add("has-case");
    rate.focus();
    await rehearse();
  }

  closeForm() {
    this.form?.remove();
    this.form = null;
    if (this.opened === null) this.root.classList.remove("has-case");
  }

  /** Follow a replay that is under way, whoever asked for it, and say what came of it. */
  async watch(isNews = false) {
    clearTimeout(this.watching);
    let found;
    try {
      found = (await get("api/dead-letters/replay", { background: true })).replay;
    } catch (error) {
      if (isNews) this.say(error);
      return;
    }
    if (found === null || this.isClosed) return;
    if (found.result === null && found.problem === null) {
      this.desk.note(`${found.by} puts back: ${count(found.done)} so far.`, { id: "replay", stays: true });
      this.watching = setTimeout(() => this.watch(true), PROGRESS_MS);
    } else if (isNews) {
      this.desk.note(found.problem ?? `${found.result.sentence}.`,
        { id: "replay", kind: found.problem ? "bad" : "", stays: found.problem !== null });
      await this.refresh();
    }
  }

  say(error) {
    if (!(error instanceof Refused)) throw error;
    this.desk.note(error.message, { id: "error", kind: "bad" });
  }
}
