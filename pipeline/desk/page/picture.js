// A page of a file, drawn by the server: zoomed, turned, leafed through.

import { attribute, element, text } from "./dom.js";

const ZOOMS = [1, 1.5, 2, 3, 4];

export class Picture {
  /** Its pages are below `path`; `file` is { pages }, `boxes` are [{ field, page, box }] in fractions of the page. */
  constructor(path, file, { edges, boxes, name, ready = null }) {
    Object.assign(this, { path, edges, boxes, name, pages: file.pages });
    this.page = 1;
    this.zoom = 0;
    this.turn = 0;
    this.leaf = element("div", { class: "leaf" });
    this.sheet = element("div", { class: "sheet" }, this.leaf);
    this.scroll = element("div", {
      class: "pages", role: "region", tabindex: "0", "aria-label": `Pages of ${name}`,
    }, this.sheet);
    this.state = element("p", { class: "state", role: "status" });
    this.node = element("div", { class: "picture" }, this.tools(), this.scroll);
    this.resizing = new ResizeObserver(() => this.fit());
    this.resizing.observe(this.scroll);
    this.load(ready);
  }

  tools() {
    const button = (says, label, does) => {
      const node = element("button", { type: "button", "aria-label": label, title: label }, says);
      node.addEventListener("click", does);
      return node;
    };
    return element("div", { class: "tools" },
      ...(this.pages > 1 ? [button("‹", "Page before", () => this.leafTo(-1)),
        button("›", "Next page", () => this.leafTo(1))] : []),
      button("−", "Smaller", () => this.scale(-1)), button("+", "Larger", () => this.scale(1)),
      button("⟳", "Turn", () => this.rotate()), this.state);
  }

  leafTo(by) {
    const page = Math.min(this.pages, Math.max(1, this.page + by));
    if (page === this.page) return;
    this.page = page;
    this.scroll.scrollTo(0, 0);
    this.load();
  }

  scale(by) {
    const before = this.edge();
    this.zoom = Math.min(ZOOMS.length - 1, Math.max(0, this.zoom + by));
    if (this.edge() === before) this.fit();
    else this.load();
  }

  rotate() {
    this.turn = (this.turn + 90) % 360;
    this.fit();
  }

  edge() {
    return this.zoom > 0 ? this.edges.at(-1) : this.edges.at(-2);
  }

  load(ready = null) {
    const image = ready ?? element("img");
    attribute(image, "alt", `Page ${this.page} of ${this.pages} of ${this.name}`);
    this.image = image;
    const show = () => {
      if (this.image !== image) return;
      const marks = this.boxes.filter((each) => each.page === this.page && each.box);
      this.leaf.replaceChildren(image, ...marks.map((each) => this.mark(each)));
      this.fit();
    };
    if (ready === null) {
      image.addEventListener("load", show, { once: true });
      image.addEventListener("error", () => text(this.state, "This page cannot be shown."));
      text(this.state, "Drawing");
      image.src = `${this.path}/pages/${this.page}?edge=${this.edge()}`;
    } else if (image.complete) show();
    else image.addEventListener("load", show, { once: true });
  }

  mark({ field, box: [left, top, right, bottom] }) {
    const node = element("div", { class: "box", title: field });
    node.style.left = `${left * 100}%`;
    node.style.top = `${top * 100}%`;
    node.style.width = `${(right - left) * 100}%`;
    node.style.height = `${(bottom - top) * 100}%`;
    return node;
  }

  fit() {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    if (!width) return;
    const isTurned = this.turn % 180 !== 0;
    const room = Math.max(100, this.scroll.clientWidth) * ZOOMS[this.zoom];
    const across = room, down = room * (isTurned ? width / height : height / width);
    this.sheet.style.width = `${across}px`;
    this.sheet.style.height = `${down}px`;
    this.leaf.style.width = `${isTurned ? down : across}px`;
    this.leaf.style.transform = `translate(-50%, -50%) rotate(${this.turn}deg)`;
    const shown = this.pages > 1 ? `Page ${this.page} of ${this.pages}, ` : "";
    text(this.state, `${shown}${ZOOMS[this.zoom] * 100} %${this.turn ? `, turned ${this.turn}°` : ""}`);
  }

  close() {
    this.resizing.disconnect();
    this.image = null;
  }
}
