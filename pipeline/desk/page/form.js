// The form in which a result is corrected, made from what the server says of the stage's schema.

import { attribute, element, text } from "./dom.js";

let count = 0;

/** A form of fields with the values of a result; read() gives the result, refuse(faults) marks. */
export class ResultForm {
  constructor(fields, result) {
    this.faults = element("p", { class: "faults", role: "alert" });
    this.controls = fields.map((field) => control(field, result[field.name], field.name));
    this.rest = Object.fromEntries(Object.entries(result).filter(([name]) =>
      !fields.some((field) => field.name === name)));
    this.node = element("div", { class: "form" }, this.faults,
      ...this.controls.map((each) => each.node));
  }

  read() {
    return { ...this.rest, ...Object.fromEntries(this.controls.map((each) =>
      [each.name, each.read()])) };
  }

  focus() {
    this.node.querySelector("input, select, textarea")?.focus();
  }

  /** Say what is wrong: [{ field: "line_items.0.amount", why }]. */
  refuse(message, faults) {
    for (const node of this.node.querySelectorAll("[aria-invalid]")) node.removeAttribute("aria-invalid");
    let first = null;
    for (const { field } of faults) {
      const node = [...this.node.querySelectorAll("[data-path]")].find((each) =>
        field === each.dataset.path || field.startsWith(`${each.dataset.path}.`));
      if (node) attribute(node, "aria-invalid", "true");
      first ??= node ?? null;
    }
    text(this.faults, message);
    first?.focus();
  }
}

const KINDS = {
  text: (field, value, path) => typed(field, value, path, element("input", { type: "text" })),
  long_text: (field, value, path) => typed(field, value, path, element("textarea", { rows: "3" })),
  amount: (field, value, path) => typed(field, value, path,
    element("input", { type: "text", inputmode: "decimal", autocomplete: "off" })),
  date: (field, value, path) => typed(field, value, path, element("input", { type: "date" })),
  number: (field, value, path) => numeric(field, value, path),
  yes_no: (field, value, path) => chosen({ ...field, options: [
    { value: "yes", description: "" }, { value: "no", description: "" }] },
    value === true ? "yes" : value === false ? "no" : null, path,
    (said) => (said === null ? null : said === "yes")),
  choice: (field, value, path) => chosen(field, value ?? null, path, (said) => said),
  choices: several,
  texts: (field, value, path) => {
    const node = element("textarea", { rows: "3" });
    node.value = (value ?? []).join("\n");
    return labelled(field, path, node, () => node.value.split("\n").map((each) => each.trim())
      .filter((each) => each), "One a line.");
  },
  lines, group, json,
};

function control(field, value, path) {
  return { name: field.name, ...(KINDS[field.kind] ?? json)(field, value, path) };
}

function labelled(field, path, input, read, hint = "") {
  const id = `field-${count += 1}`;
  input.id = id;
  input.dataset.path = path;
  const said = [field.description, hint].filter(Boolean).join(" ");
  if (said) attribute(input, "aria-describedby", `${id}-hint`);
  return {
    read,
    node: element("div", { class: `field ${field.kind}` },
      element("label", { for: id }, field.title), input,
      said ? element("p", { class: "hint", id: `${id}-hint` }, said) : null),
  };
}

function typed(field, value, path, input) {
  input.value = value ?? "";
  return labelled(field, path, input, () => {
    const said = input.value.trim();
    return said === "" && field.optional ? null : said;
  });
}

function numeric(field, value, path) {
  const input = element("input", { type: "text", inputmode: "numeric", autocomplete: "off" });
  input.value = value ?? "";
  return labelled(field, path, input, () => {
    const said = input.value.trim();
    if (said === "") return field.optional ? null : "";
    return Number.isFinite(Number(said)) ? Number(said) : said;
  });
}

function chosen(field, value, path, meaning) {
  const known = field.options.map((each) => each.value);
  const others = value !== null && !known.includes(value) ? [{ value, description: "" }] : [];
  const select = element("select", {},
    field.optional || value === null ? element("option", { value: "" }, "–") : null,
    ...[...field.options, ...others].map((each) =>
      element("option", { value: each.value }, each.value.replaceAll("_", " "))));
  select.value = value ?? "";
  const made = labelled(field, path, select, () => meaning(select.value === "" ? null : select.value));
  if (field.options.some((each) => each.description)) {
    const about = element("p", { class: "hint", "aria-live": "polite" });
    const say = () => text(about,
      field.options.find((each) => each.value === select.value)?.description ?? "");
    select.addEventListener("change", say);
    say();
    made.node.append(about);
  }
  return made;
}

function several(field, value, path) {
  const boxes = field.options.map((each) => {
    const box = element("input", { type: "checkbox", value: each.value });
    box.checked = (value ?? []).includes(each.value);
    return box;
  });
  return {
    read: () => boxes.filter((each) => each.checked).map((each) => each.value),
    node: element("fieldset", { class: "field choices", "data-path": path, tabindex: "-1" },
      element("legend", {}, field.title),
      field.description ? element("p", { class: "hint" }, field.description) : null,
      ...boxes.map((box) => element("label", {}, box, ` ${box.value.replaceAll("_", " ")}`))),
  };
}

function group(field, value, path) {
  const parts = field.parts.map((part) => control(part, value?.[part.name], `${path}.${part.name}`));
  return {
    read: () => (field.optional && value === null ? null
      : Object.fromEntries(parts.map((each) => [each.name, each.read()]))),
    node: element("fieldset", { class: "field group" }, element("legend", {}, field.title),
      ...parts.map((each) => each.node)),
  };
}

function lines(field, value, path) {
  let rows = [];
  const list = element("ol", { class: "rows" });
  const add = (line, focus = false) => {
    const parts = field.parts.map((part) =>
      control(part, line?.[part.name], `${path}.${rows.length}.${part.name}`));
    const remove = element("button", { type: "button" }, "Remove");
    const row = { parts, node: element("li", { class: "row" }, ...parts.map((each) => each.node), remove) };
    remove.addEventListener("click", () => {
      rows = rows.filter((each) => each !== row);
      row.node.remove();
      number();
      more.focus();
    });
    rows.push(row);
    list.append(row.node);
    number();
    if (focus) row.node.querySelector("input, select, textarea")?.focus();
  };
  const number = () => rows.forEach((row, at) => {
    attribute(row.node.lastElementChild, "aria-label", `Remove line ${at + 1}`);
    row.node.querySelectorAll("[data-path]").forEach((node) => {
      const rest = node.dataset.path.slice(path.length + 1).replace(/^\d+/, String(at));
      node.dataset.path = `${path}.${rest}`;
    });
  });
  const more = element("button", { type: "button" }, "Add a line");
  more.addEventListener("click", () => add(null, true));
  (value ?? []).forEach((line) => add(line));
  return {
    read: () => rows.map((row) => Object.fromEntries(row.parts.map((each) => [each.name, each.read()]))),
    node: element("fieldset", { class: "field rows" }, element("legend", {}, field.title),
      field.description ? element("p", { class: "hint" }, field.description) : null, list, more),
  };
}

function json(field, value, path) {
  const node = element("textarea", { rows: "4", spellcheck: "false" });
  node.value = JSON.stringify(value ?? null, null, 1);
  return labelled(field, path, node, () => {
    try {
      return JSON.parse(node.value);
    } catch {
      return node.value;
    }
  }, "As JSON.");
}
