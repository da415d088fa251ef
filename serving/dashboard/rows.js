// Rows of the tables: the channels of a device, and the scores of a task.

import { count, element, number, percent, steps, verdict } from "./text.js";

// A row per channel; below its name what cleaning did to it.
export const channelRows = (view) =>
  Object.entries(view.values).map(([channel, value]) => {
    const row = element("tr");
    const cell = element("td", "", channel);
    const flags = Object.entries(view.flags[channel] ?? {}).map(
      ([flag, { share }]) => `${flag.replaceAll("_", " ")} ${number(100 * share)} %`,
    );
    if (view.watched?.[channel] === "calibrating") flags.push("calibrating");
    if (flags.length) cell.append(element("span", "what", flags.join(", ")));
    row.append(cell, element("td", "number", number(value)));
    return row;
  });

export function scoreRow(task, score) {
  const row = element("tr");
  const model = element("td", "", steps(task.model));
  model.title = task.model;
  const badge = element("span", `chip ${task.compiled ? "good" : ""}`, task.compiled ? "compiled" : "River");
  badge.title = task.why;
  model.append(" ", badge);
  row.append(
    element("td", "name", task.task),
    element("td", "", task.horizon || "–"),
    element("td", `number ${verdict(score.skill)}`, percent(score.skill)),
    element("td", "number", number(score.scores.mae, task.unit)),
    element("td", "number", number(score.scores.persistence_mae, task.unit)),
    element("td", "number", count(score.scores.labels ?? 0)),
    model,
  );
  return row;
}
