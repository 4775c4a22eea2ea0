// The event of a case as people know it: its texts, the mail that it is, the pages of its file.

import { get } from "./api.js";
import { element } from "./dom.js";
import { words } from "./format.js";
import { Picture } from "./picture.js";

/** The file of an event, asked for ahead of time: { file, image }, promises; `path` is the case's. */
export function prefetchFile(path, document) {
  const file = document.then((found) => (found.event.file === null ? null : get(`${path}/file`)));
  const image = Promise.all([document, file]).then(([{ edges }, found]) => {
    if (!found?.pages || found.text !== null) return null;
    const node = element("img");
    node.src = `${path}/pages/1?edge=${edges.at(-2)}`;
    return node;
  });
  // Whoever shows it awaits these; until then a failure is nobody's.
  for (const each of [document, file, image]) each.catch(() => {});
  return { file, image };
}

export class EventCard {
  /** `document` has the event and the edges of its pages, which are below `path`. */
  constructor(path, document) {
    Object.assign(this, { path, document, picture: null });
    this.node = element("section", { class: "card event", "aria-label": "The event" },
      ...this.parts());
  }

  parts() {
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
      this.picture = new Picture(this.path, found, {
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
