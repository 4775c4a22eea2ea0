// Numbers as people read them. Null and undefined are what is not known: a dash.

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const tenths = new Intl.NumberFormat("en", {
  minimumFractionDigits: 1, maximumFractionDigits: 1,
});
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const cents = new Intl.NumberFormat("en", {
  style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 2,
});
const fractions = new Intl.NumberFormat("en", {
  style: "currency", currency: "USD", minimumSignificantDigits: 2, maximumSignificantDigits: 2,
});
const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

const known = (format) => (value) =>
  value === null || value === undefined ? NONE : format(value);

export const count = known((value) => whole.format(value));
export const large = known((value) => (value < 10000 ? whole : compact).format(value));
export const pace = known((value) => (value === 0 || value >= 100 ? whole : tenths).format(value));
export const share = known((value) => `${
  (value === 0 || value >= 0.1 ? whole : tenths).format(value * 100)} %`);
export const dollars = known((value) =>
  (value !== 0 && Math.abs(value) < 0.1 ? fractions : cents).format(value));
export const tick = known((value) => short.format(value));
export const dollarTick = known((value) =>
  (value === 0 || value >= 5 ? `$${whole.format(value)}` : dollars(value)));
export const time = known((value) => clock.format(new Date(value)));
export const words = (code) => code.replaceAll("_", " ");

export const duration = known((seconds) => {
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${whole.format(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${whole.format(seconds)} s`;
  if (seconds < 7200) return `${whole.format(seconds / 60)} min`;
  if (seconds < 172800) return `${whole.format(seconds / 3600)} h`;
  return `${whole.format(seconds / 86400)} days`;
});

export const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
export const sumKnown = (values) => {
  const found = values.filter((value) => value !== null && value !== undefined);
  return found.length ? sum(found) : null;
};
export const largest = (values) => {
  const found = values.filter((value) => value !== null && value !== undefined);
  return found.length ? Math.max(...found) : null;
};
export const ratio = (part, all) => (all ? part / all : null);

/** Counts by name, summed over several, the largest first. */
export function merged(several) {
  const sums = new Map();
  for (const counts of several) {
    for (const [name, value] of Object.entries(counts)) {
      sums.set(name, (sums.get(name) ?? 0) + value);
    }
  }
  return [...sums].filter(([, value]) => value > 0).sort((one, other) => other[1] - one[1]);
}
