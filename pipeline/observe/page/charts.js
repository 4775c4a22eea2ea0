// Four charts of the last ten minutes, drawn by uPlot. Beside each stands a legend with the
// present numbers, or those under the pointer: that is what a screen reader gets.

import { attribute, byId, element, keyed, text } from "./dom.js";
import { count, dollarTick, dollars, duration, pace, tick as plainTick } from "./format.js";

const MINUTES = 10, HEIGHT = 168;

const CHARTS = [
  { id: "lag", title: "Lag", unit: "events", column: "lag_events", format: count, least: 5 },
  { id: "pace", title: "Throughput", unit: "events a second", column: "completed_per_second",
    format: pace, ticks: plainTick, least: 1 },
  { id: "latency", title: "Latency", unit: "receipt to end, p95", column: "p95_seconds",
    format: duration, least: 0.5, more: { column: "p50_seconds", name: "p50" }, name: "p95" },
  { id: "spending", title: "Spending", unit: "US dollars an hour", column: "cost_usd_per_hour",
    format: dollars, ticks: dollarTick, least: 0.1, isOwn: true },
];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});

/** Seconds shown: ten minutes, or fewer of a process that is younger. */
const span = (first, last) => Math.min(MINUTES * 60, Math.max(60, last - first));

class Chart {
  constructor(spec) {
    this.spec = spec;
    this.plot = null;
    this.lines = [];
    this.names = "";
    this.legend = element("ul", { class: "legend across" });
    this.area = element("div", { class: "plot", role: "img" });
    this.empty = element("p", { class: "none" }, "Nothing yet.");
    this.node = element("figure", { class: "card chart" },
      element("figcaption", {}, element("strong", {}, spec.title), " ",
        element("span", {}, spec.unit)), this.area, this.legend);
    new ResizeObserver(() => this.resize()).observe(this.area);
  }

  show(series, stages, hues) {
    this.lines = this.chosen(series, stages, hues);
    const data = [series.at, ...this.lines.map((line) => line.values)];
    const names = this.lines.map((line) => line.name).join();
    if (names !== this.names || this.plot === null) {
      this.plot?.destroy();
      this.names = names;
      this.plot = new uPlot(this.options(), data, this.area);
    } else {
      this.plot.setData(data);
    }
    this.report(null);
  }

  chosen(series, stages, hues) {
    const { column, more, isOwn, name } = this.spec;
    if (stages.length === 1) {
      const own = series.stages[stages[0].name], hue = hues.get(stages[0].name);
      const lines = [{ name: name ?? stages[0].name, hue, values: own[column] }];
      if (more) lines.push({ name: more.name, hue, isSoft: true, values: own[more.column] });
      return lines;
    }
    return stages
      .filter((stage) => !(isOwn && stage.name === "escalations"))
      .map((stage) => ({
        name: stage.name, hue: hues.get(stage.name), values: series.stages[stage.name][column],
      }));
  }

  options() {
    const { format, least, ticks: asTick = format } = this.spec;
    const axis = {
      stroke: () => colour("--soft"), font: "11px Inter, system-ui, sans-serif",
      grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false },
    };
    return {
      width: this.area.clientWidth || 300, height: HEIGHT, padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 } },
      scales: {
        x: { time: true, range: (_, first, last) => [last - span(first, last), last] },
        y: { range: (_, __, most) => [0, Math.max(least, (most ?? 0) * 1.12)] },
      },
      axes: [
        { ...axis, space: 64, gap: 5, size: 25, incrs: [60, 120, 300, 600],
          values: (_, ticks) => ticks.map((tick) => clock.format(new Date(tick * 1000))) },
        { ...axis, size: 54, gap: 6, space: 34,
          values: (_, ticks) => ticks.map((tick) => asTick(tick)) },
      ],
      series: [{}, ...this.lines.map((line) => ({
        label: line.name, width: 1.75, spanGaps: false, points: { show: false },
        stroke: () => colour(`--hue-${line.hue}`), dash: line.isSoft ? [4, 4] : undefined,
        fill: this.lines.length === 1 ? () => colour(`--wash-${line.hue}`) : undefined,
      }))],
      hooks: { setCursor: [(plot) => this.report(plot.cursor.idx)] },
    };
  }

  /** Show the values at an index, or the last ones. */
  report(index) {
    const at = (values) => (index === null || index === undefined ? values.at(-1) : values[index]);
    const { format, title, unit } = this.spec;
    keyed(this.legend, this.lines, (line) => line.name,
      (line) => element("li", {}, element("span", {
        class: `swatch hue-${line.hue}${line.isSoft ? " dashed" : ""}` }),
      element("span", { class: "label" }, line.name), element("span", { class: "value" })),
      (node, line) => text(node.lastElementChild, format(at(line.values))));
    const now = this.lines.map((line) => `${line.name} ${format(line.values.at(-1))}`).join(", ");
    attribute(this.area, "aria-label", `${title}, ${unit}, ${MINUTES} minutes. Now: ${now}.`);
  }

  resize() {
    const width = this.area.clientWidth;
    if (this.plot !== null && width > 0 && width !== this.plot.width) {
      this.plot.setSize({ width, height: HEIGHT });
    }
  }
}

const charts = CHARTS.map((spec) => new Chart(spec));

export function showCharts(view, stages) {
  const parent = byId("charts");
  if (!parent.hasChildNodes()) parent.append(...charts.map((chart) => chart.node));
  const hues = new Map(view.stages.map((stage, index) => [stage.name, index + 1]));
  for (const chart of charts) chart.show(view.series, stages, hues);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of charts) chart.plot?.redraw();
});
