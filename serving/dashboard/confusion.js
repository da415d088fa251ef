// Who was told as whom: how often labels of each class, by row, were told as each, by column.

import { count, element } from "./text.js";

export function showConfusion(score) {
  const pairs = score?.confusion ?? [];
  const classes = Object.keys(score?.per_class ?? {});
  document.getElementById("confusion-card").hidden = pairs.length === 0;
  const head = element("tr");
  head.append(element("th", "", "Actual"), ...classes.map((one) => element("th", "number", one)));
  head.append(element("th", "number", "Found"));
  document.getElementById("confusion-classes").replaceChildren(head);
  const rows = pairs.map((row, k) => {
    const line = element("tr");
    const cells = row.map((n, j) => element("td", `number ${n > 0 ? (j === k ? "good" : "bad") : ""}`, count(n)));
    const { recall } = score.per_class[classes[k]];
    const found = recall === null ? "–" : `${(100 * recall).toFixed(1)} %`;
    line.append(element("td", "name", classes[k]), ...cells, element("td", "number", found));
    return line;
  });
  document.getElementById("confusion").replaceChildren(...rows);
}
