// Drift and silence in words: of the chosen device and task, and of the whole fleet, put together.

import { detail, isSilence, words, worse } from "./silences.js";
import { clock, count, element, number } from "./text.js";

const SHOWN = 6;
// Alarms of one task, or silences of one channel, that follow each other within this time are told as one.
const TOGETHER = 30e3;
// A device counts as drifting for this long after its error rose.
const RECENT = 120e3;

const VERBS = { drift_up: "rose", drift_down: "fell", drift: "changed" };
const rose = (one) => one.signal === "error" && one.kind === "drift_up";
const bad = (one) => worse(one) || isAnomaly(one) || one.severity === "alarm";
const isAnomaly = (one) => one.kind === "anomaly";
const isCluster = (one) => one.kind === "new_cluster";
const ACTIONS = { restarted: "model began anew", learns_faster: "model learns faster", relearns: "another model learns", replaced: "model replaced", kept: "model kept", effect: "effect" };
const isAction = (one) => one.kind in ACTIONS;
const said = (one) => (isAction(one) ? ACTIONS[one.kind] : isCluster(one) ? "new cluster" : isAnomaly(one) ? "anomaly" : isSilence(one) ? words(one) : `${one.signal} ${VERBS[one.kind]}`);
const kind = (one) => element("span", bad(one) ? "bad" : isAction(one) || ["evicted", "new_cluster"].includes(one.kind) ? "" : "good", said(one));

const moved = (one) => `${one.task}: from ${one.before ?? "none"} to ${one.after}`;

const beyond = (one) => `${one.task}: score ${number(one.after)}, alarm beyond ${number(one.before)}${one.channel ? `, strangest: ${one.channel}` : ""}`;

function line(time, what, below) {
  const row = element("tr");
  const cell = element("td");
  cell.append(...what, element("span", "what", below));
  row.append(element("td", "name", clock(time)), cell);
  return row;
}

// Both newest first: drift with its time in milliseconds, silences as the API gives them.
export function eventRows(drift, silences, unit) {
  const all = [...drift, ...silences.map((one) => ({ ...one, time: Date.parse(one.time) }))];
  all.sort((one, other) => other.time - one.time);
  return all.slice(0, SHOWN).map((one) => {
    if (isSilence(one)) return line(one.time, [kind(one)], detail(one));
    if (isAnomaly(one)) return line(one.time, [kind(one)], beyond(one));
    if (isCluster(one)) return line(one.time, [kind(one)], moved(one));
    if (isAction(one)) return line(one.time, [kind(one)], one.text);
    return line(one.time, [kind(one)], means(one, unit));
  });
}

// Of a channel which it is and since when; a shape's numbers are distances, which say little to people.
function means(one, unit) {
  const pair = one.kind === "drift" ? "" : `${number(one.before)} → ${number(one.after)}`;
  if (!one.channel) return unit ? `${pair} ${unit}` : pair;
  const since = one.since ? `since ${clock(Date.parse(one.since))}` : "";
  return [one.channel, pair, since].filter(Boolean).join(", ");
}

// Newest first in, newest first out: { task, horizon, channel, kind, time, first, devices, worst }.
function together(items) {
  const groups = [];
  for (const one of items) {
    const time = Date.parse(one.time);
    const same = (group) =>
      ["task", "horizon", "channel", "signal", "kind"].every((key) => group[key] === one[key]);
    const known = groups.find((group) => same(group) && group.first - time <= TOGETHER);
    const group = known ?? { ...one, time, devices: new Set(), worst: one };
    if (!known) groups.push(group);
    group.first = time;
    if (one.device) group.devices.add(one.device);
    if (isSilence(one) ? one.seconds > group.worst.seconds : one.after / one.before > group.worst.after / group.worst.before) group.worst = one;
  }
  return groups;
}

export class FleetEvents {
  // `choose(device, task, horizon)` is called with the device that drifted most.
  constructor(table, none, choose) {
    this.table = table;
    this.none = none;
    this.choose = choose;
  }

  show(drift, silences) {
    const newest = (one, other) => Date.parse(other.time) - Date.parse(one.time);
    const groups = together([...drift, ...silences].sort(newest));
    this.none.hidden = groups.length > 0;
    // What got worse comes first; each part is newest first.
    const shown = [...groups.filter(bad), ...groups.filter((group) => !bad(group))];
    this.table.replaceChildren(...shown.slice(0, SHOWN).map((group) => this.row(group)));
  }

  row(group) {
    if (isSilence(group)) {
      return line(group.time, [kind(group), ": ", this.where(group)], detail(group.worst));
    }
    const task = group.horizon ? `${group.task}, ${group.horizon}` : group.task;
    const below = isAction(group) ? group.worst.text : isCluster(group) ? moved(group.worst) : isAnomaly(group) ? beyond(group.worst) : task || means(group.worst, "");
    return line(group.time, [kind(group), " at ", this.where(group)], below);
  }

  where(group) {
    const { device } = group.worst;
    if (!device) return "the fleet";
    const who = group.devices.size > 1 ? `${count(group.devices.size)} devices` : device;
    const button = element("button", "link", who);
    button.type = "button";
    button.title = `show ${device}, where it is ${isSilence(group) ? "longest" : "strongest"}`;
    button.addEventListener("click", () => this.choose(device, group.task, group.horizon));
    return button;
  }
}

// The devices whose error rose lately, in the given task.
export function drifting(items, task, now) {
  const recent = items.filter(
    (one) => rose(one) && one.device && one.task === task && now - Date.parse(one.time) < RECENT,
  );
  return new Set(recent.map((one) => one.device));
}
