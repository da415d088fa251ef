// What fires, most severe first; hidden where nothing does.

import { clock, element } from "./text.js";

const SHOWN = 10;
const ORDER = ["critical", "warning", "info"];

export function showAlerts({ items }) {
  const card = document.getElementById("alerts-card");
  const body = document.getElementById("alerts");
  const firing = items.filter((one) => one.status === "firing");
  firing.sort((one, other) => ORDER.indexOf(one.severity) - ORDER.indexOf(other.severity));
  card.hidden = firing.length === 0;
  body.replaceChildren(...firing.slice(0, SHOWN).map(row));
  if (firing.length > SHOWN) {
    const more = element("tr");
    const cell = element("td", "", `and ${firing.length - SHOWN} more`);
    cell.colSpan = 3;
    more.append(cell);
    body.append(more);
  }
}

function row(one) {
  const made = element("tr");
  const what = element("td", "", one.summary);
  const held = one.held ? ` Nobody is told: ${one.held.replace("_", " ")}.` : "";
  what.append(element("span", "what", `${one.description}${held}`));
  const severity = element("td");
  severity.append(element("span", `chip ${one.severity === "info" ? "" : "bad"}`, one.severity));
  made.append(element("td", "name", clock(Date.parse(one.starts_at))), severity, what);
  return made;
}
