// What was refused or dropped and not sent again since: counts by reason, and the newest.

import { clock, count, element } from "./text.js";

const words = (reason) => reason.replaceAll("_", " ");

function row(one) {
  const line = element("tr");
  const cells = [clock(Date.parse(one.received)), one.device || one.topic, words(one.reason)];
  line.append(...cells.map((text, k) => element("td", k === 1 ? "name" : "", text)));
  line.append(element("td", "", one.detail));
  line.title = one.rule;
  return line;
}

export function showQuarantine({ items, counts }) {
  const reasons = Object.entries(counts).map(([reason, n]) => `${count(n)} ${words(reason)}`);
  document.getElementById("quarantine").hidden = reasons.length === 0;
  document.getElementById("quarantine-counts").textContent = reasons.join(", ");
  document.getElementById("quarantine-newest").replaceChildren(...items.map(row));
}
