// Building and updating the page. Whatever comes from events, models or brokers becomes a text
// node, never markup. What is there already is updated in place, so that focus, selection and
// what a reader has opened stay.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text, null is left out. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Set a text, if it is another one: a live region speaks with every change. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function attribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Make the children of `parent` those of `items`: one each, found again by its key. */
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const item of items) {
    const name = String(key(item));
    let node = old.get(name);
    if (node === undefined) {
      node = make(item);
      node.dataset.key = name;
    }
    old.delete(name);
    update(node, item);
    const place = before === null ? parent.firstElementChild : before.nextElementSibling;
    if (place !== node) parent.insertBefore(node, place);
    before = node;
  }
  for (const node of old.values()) node.remove();
}

/**
 * A table that is updated in place. On a phone its rows become cards: that takes the meaning of
 * a table from its elements, so the roles are said.
 */
export class Table {
  /** columns: [{ title, kind, show(cell, item) }]; kind is "name", "number" or "words". */
  constructor(node, columns, key, caption) {
    this.columns = columns;
    this.key = key;
    this.body = element("tbody", { role: "rowgroup" });
    attribute(node, "role", "table");
    node.replaceChildren(
      element("caption", { class: "unseen" }, caption),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...columns.map(
        (column) => element("th", { scope: "col", role: "columnheader", class: column.kind },
          column.title)))),
      this.body,
    );
  }

  show(items) {
    keyed(this.body, items, this.key, () => this.row(), (row, item) => {
      this.columns.forEach((column, index) => {
        const cell = row.children[index];
        const shown = column.show(item, cell);
        if (shown !== undefined) text(cell, shown);
      });
    });
  }

  row() {
    return element("tr", { role: "row" }, ...this.columns.map((column) =>
      column.kind === "name"
        ? element("th", { scope: "row", role: "rowheader", class: "name" })
        : element("td", { role: "cell", class: column.kind, "data-title": column.title })));
  }
}
