// Numbers, times and elements. Text always goes in as text: a device may name itself anything.

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== "") made.textContent = text;
  return made;
}

export function option(value, text) {
  const made = element("option", "", text);
  made.value = value;
  return made;
}

export function put(id, text) {
  const target = document.getElementById(id);
  if (target.textContent !== text) target.textContent = text;
}

const COUNT = new Intl.NumberFormat("en");

export function count(value) {
  return value === null || value === undefined ? "–" : COUNT.format(value);
}

export function number(value, unit = "") {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-3 && size < 1e6);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : 2;
  const small = size > 0 && size < 1;
  const written = small && plain ? value.toPrecision(3) : plain ? value.toFixed(digits) : value.toExponential(2);
  return (unit ? `${written} ${unit}` : written).replace("-", "−");
}

export function percent(skill) {
  if (skill === null || skill === undefined) return "–";
  const rounded = Math.round(skill * 100);
  if (rounded < -999) return "< −999 %";
  return `${rounded > 0 ? "+" : rounded < 0 ? "−" : ""}${Math.abs(rounded)} %`;
}

// A model's steps without the modules they come from.
export function steps(model) {
  return model.split(" | ").map((step) => step.split(/[.:]/).at(-1)).join(" | ");
}

export function verdict(skill) {
  if (skill === null || skill === undefined) return "";
  return skill > 0.005 ? "good" : skill < -0.005 ? "bad" : "";
}

export function timeOfDay(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}

export function clock(milliseconds, span = 0) {
  const moment = new Date(milliseconds);
  const time = moment.toLocaleTimeString("en-GB");
  if (span <= 12 * 3600e3 && sameDay(moment, new Date())) return time;
  const day = moment.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return span > 12 * 3600e3 ? `${day} ${time.slice(0, 5)}` : `${day} ${time}`;
}

function sameDay(one, other) {
  return one.toDateString() === other.toDateString();
}

export function ago(milliseconds, now) {
  const seconds = Math.max(0, Math.round((now - milliseconds) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}
