// Rows of the tables: the channels of a device, and the scores of a task.

import { kindOf } from "./kinds.js";
import { count, element, number, percent, steps, verdict } from "./text.js";

// What a device's newest answer is and how good they were: name, value and look of each tile.
export const tileRows = (tiles) =>
  tiles.map(([name, value, look, short, means]) => {
    const tile = element("div");
    const term = element("dt", "", short ? `${name} ` : name);
    if (short) term.append(element("abbr", "", short));
    if (means) (term.firstElementChild ?? term).title = means;
    tile.append(term, element("dd", look, value));
    return tile;
  });

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
    ...kindOf(task).row(task, score).map((text) => element("td", "number", text)),
    element("td", "number", count(score.scores.labels ?? 0)),
    model,
  );
  return row;
}
