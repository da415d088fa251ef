// Scores of the chosen task by a tag of devices.

import * as api from "./api.js";
import { kindOf } from "./kinds.js";
import { count, element, option, percent, verdict } from "./text.js";

const card = document.getElementById("groups-card");
const tag = document.getElementById("tag");

export function offerTags(tags) {
  card.hidden = tags.length === 0;
  tag.replaceChildren(...tags.map((name) => option(name, name)));
}

function row(task, score) {
  const line = element("tr");
  line.append(
    element("td", "name", score.group || "no value"),
    element("td", "number", count(score.of_devices)),
    element("td", `number ${verdict(score.skill)}`, percent(score.skill)),
    ...kindOf(task).row(task, score).map((text) => element("td", "number", text)),
    element("td", "number", count(score.scores.labels ?? 0)),
  );
  return line;
}

export async function showGroups(task) {
  if (card.hidden) return;
  const { items } = await api.scores(task.task, { by: `tag:${tag.value}`, horizon: task.horizon });
  document.getElementById("groups").replaceChildren(...items.map((score) => row(task, score)));
}

export const onTag = (work) => tag.addEventListener("change", work);
