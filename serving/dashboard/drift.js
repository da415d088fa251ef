// Drift in words: that of the chosen device and task, and that of the whole fleet, put together.

import { clock, count, element, number } from "./text.js";

const SHOWN = 6;
// Alarms of one task that follow each other within this time are told as one.
const TOGETHER = 30e3;
// A device counts as drifting for this long after its error rose.
const RECENT = 120e3;

const rose = (one) => one.kind === "drift_up";
const kind = (one) => element("span", rose(one) ? "bad" : "good", rose(one) ? "error rose" : "error fell");

function line(time, what, below) {
  const row = element("tr");
  const cell = element("td");
  cell.append(...what, element("span", "what", below));
  row.append(element("td", "name", clock(time)), cell);
  return row;
}

export function driftRows(drift, unit) {
  return drift.slice(0, SHOWN).map((one) => {
    const means = `${number(one.before)} → ${number(one.after)}`;
    return line(one.time, [kind(one)], unit ? `${means} ${unit}` : means);
  });
}

// Newest first in, newest first out: { task, horizon, kind, time, first, devices, worst }.
function together(items) {
  const groups = [];
  for (const one of items) {
    const time = Date.parse(one.time);
    const same = (group) =>
      group.task === one.task && group.horizon === one.horizon && group.kind === one.kind;
    const known = groups.find((group) => same(group) && group.first - time <= TOGETHER);
    const group = known ?? { ...one, time, devices: new Set(), worst: one };
    if (!known) groups.push(group);
    group.first = time;
    if (one.device) group.devices.add(one.device);
    if (one.after / one.before > group.worst.after / group.worst.before) group.worst = one;
  }
  return groups;
}

export class FleetDrift {
  // `choose(device, task, horizon)` is called with the device that drifted most.
  constructor(table, none, choose) {
    this.table = table;
    this.none = none;
    this.choose = choose;
  }

  show(items) {
    const groups = together(items);
    this.none.hidden = groups.length > 0;
    // What got worse comes first; each part is newest first.
    const shown = [...groups.filter(rose), ...groups.filter((group) => !rose(group))];
    this.table.replaceChildren(...shown.slice(0, SHOWN).map((group) => this.row(group)));
  }

  row(group) {
    const task = group.horizon ? `${group.task}, ${group.horizon}` : group.task;
    return line(group.time, [kind(group), " at ", this.where(group)], task);
  }

  where(group) {
    const { device } = group.worst;
    if (!device) return "the fleet";
    const who = group.devices.size > 1 ? `${count(group.devices.size)} devices` : device;
    const button = element("button", "link", who);
    button.type = "button";
    button.title = `show ${device}, where it is strongest`;
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
