// The view that looks up one event; `#lookup/ID` in the address looks for it at once.

import { post, Refused } from "./api.js";
import { element, text } from "./dom.js";

const SPANS = { "1h": "the last hour", "1d": "the last day", "7d": "the last 7 days",
  "30d": "the last 30 days", "365d": "the last year" };
const PREFIX = "#lookup/";

export async function open(root, desk) {
  return new LookUpView(root, desk);
}

class LookUpView {
  constructor(root, desk) {
    Object.assign(this, { root, desk, asked: 0 });
    this.build();
    this.onHash = () => this.fromAddress();
    addEventListener("hashchange", this.onHash);
    desk.useKeys([{ key: "/", says: "look for another event", does: () => this.input.select() }]);
    desk.title("Look up");
    this.fromAddress();
  }

  build() {
    this.input = element("input", { type: "text", id: "wanted", maxlength: "1000", required: "",
      autocomplete: "off", spellcheck: "false" });
    this.since = element("select", { id: "since" }, ...Object.entries(SPANS).map(([value, says]) =>
      element("option", { value }, says)));
    this.since.value = "1d";
    const form = element("form", { class: "ask" },
      element("label", { for: "wanted" }, "Id of an event, key of its record, or topic/partition/offset"),
      this.input, element("label", { for: "since" }, "Read"), this.since,
      element("button", { type: "submit" }, "Look up"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.look();
    });
    this.status = element("p", { class: "soft", role: "status" });
    this.problem = element("p", { class: "problem", role: "alert" });
    this.found = element("div", { class: "found" });
    this.root.append(element("section", { class: "card", "aria-label": "Look up" },
      element("h2", {}, "What became of an event"), form, this.status, this.problem), this.found);
  }

  fromAddress() {
    if (!location.hash.startsWith(PREFIX)) {
      this.input.focus();
      return;
    }
    try {
      this.input.value = decodeURIComponent(location.hash.slice(PREFIX.length));
    } catch {
      text(this.problem, "The address of this page does not name an event.");
      return;
    }
    this.look();
  }

  async look() {
    const asked = this.asked += 1;
    text(this.problem, "");
    text(this.status, "Reading the topics, for up to half a minute.");
    this.found.replaceChildren();
    try {
      const story = await post("api/lookup", { wanted: this.input.value, since: this.since.value });
      if (asked === this.asked) this.show(story);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (asked !== this.asked) return;
      text(this.status, "");
      text(this.problem, error.message);
    }
  }

  show({ sentences, passages, entries }) {
    text(this.status, sentences.join(" "));
    this.found.replaceChildren(
      ...passages.map((each) => element("section", { class: "card passage" },
        element("h2", {}, [each.stage, each.event_id].filter(Boolean).join(" ") || "An event"),
        element("p", {}, each.where),
        facts([["calls", each.calls], ["cost", each.cost_usd && `${each.cost_usd} USD`],
          ["trace", each.trace_id], ["raw record", each.source]]))),
      ...entries.map((each) => element("section", { class: "card entry" },
        element("h2", {}, each.kind),
        element("p", { class: "soft" }, `${new Date(each.at).toLocaleString()}, ${each.where}`),
        facts(each.facts),
        ...each.texts.filter(([, said]) => said).flatMap(([name, said]) =>
          [element("h3", {}, name), element("p", { class: "text" }, said)]))));
  }

  close() {
    this.asked += 1;
    removeEventListener("hashchange", this.onHash);
  }
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return known.length === 0 ? null : element("dl", { class: "else" }, ...known.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
}
