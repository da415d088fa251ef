// Devices and channels that fell silent, returned or were forgotten, and values that came back, in words.

import { number } from "./text.js";

const WORDS = { silent: "fell silent", returned: "returned", evicted: "forgotten", recovered: "recovered" };
const UNITS = [[86400, "days"], [3600, "h"], [60, "min"], [1, "s"]];

export const isSilence = (one) => one.kind in WORDS;
export const words = (one) => WORDS[one.kind];
export const worse = (one) => one.kind === "silent";

function span(seconds) {
  const [size, name] = UNITS.find(([least]) => seconds >= 2 * least) ?? [1, "s"];
  return `${Math.round((seconds / size) * 10) / 10} ${name}`;
}

// What of the device, and for how long nothing was heard of it.
export function detail(one) {
  if (one.kind === "recovered") return `${one.channel} = ${number(one.value)}`;
  const what = one.channel ? `channel ${one.channel}` : "the device";
  if (one.seconds === null || one.seconds === undefined) return what;
  return one.kind === "silent" ? `${what}, nothing for ${span(one.seconds)}` : `${what}, after ${span(one.seconds)}`;
}
