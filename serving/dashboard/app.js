// The page: one stream, its devices, and one device with one task, live.

import { showAlerts } from "./alerts.js";
import * as api from "./api.js";
import { showBanner } from "./banner.js";
import { Chart } from "./chart.js";
import { showConfusion } from "./confusion.js";
import { FleetEvents, drifting, eventRows } from "./drift.js";
import { offerTags, onTag, showGroups } from "./groups.js";
import { LiveStream } from "./live.js";
import { DeviceList } from "./list.js";
import { showQuarantine } from "./quarantine.js";
import { kindOf } from "./kinds.js";
import { channelRows, scoreRow, tileRows } from "./rows.js";
import { Series } from "./series.js";
import { ago, clock, count, option, put } from "./text.js";

const STATUS_EVERY = 2000;
const SCORES_EVERY = 5000;
const QUARANTINE_EVERY = 10000;
const HISTORY = 300;

const byId = (id) => document.getElementById(id);
const chart = new Chart(byId("chart"), byId("tip"), byId("spoken"));
const list = new DeviceList((device) => choose(device, now.task));
const now = { device: "", task: null, tasks: [], series: new Series(), score: null, silences: [], choice: 0, rates: [] };
const fleet = new FleetEvents(byId("fleet-drift"), byId("no-fleet-drift"), (device, task, horizon) => {
  // A silence is of no task: the one that is shown stays.
  const found = now.tasks.find((one) => one.task === task && one.horizon === horizon);
  switchTo(device, found ?? now.task);
});
const down = new Set();

// ---- connection ----------------------------------------------------------------------------

function connection(what, works) {
  if (works) down.delete(what);
  else down.add(what);
  const lost = down.size > 0;
  const text = lost ? "connection lost, retrying" : "live";
  byId("connection").dataset.state = lost ? "lost" : "live";
  put("connection", text);
}

// Milliseconds after which the history holds what was pushed before; it is committed each second.
const COMMITTED_WITHIN = 2_000;

const live = new LiveStream({
  prediction: (one) => arrived(one),
  outcome: (one) => arrived(one),
  drift: (one) => drifted(one),
  event: (one) => heard(one),
  dropped: () => loadHistory(now.choice),
  open: () => {
    connection("stream", true);
    // What happened between the last history and now is in the history, or will be when its next
    // commit is done: without the second look those labels would be a gap in the line.
    const { choice } = now;
    loadHistory(choice);
    setTimeout(() => choice === now.choice && loadHistory(choice), COMMITTED_WITHIN);
  },
  lost: () => connection("stream", false),
});

async function attempt(work) {
  try {
    await work();
    connection("api", true);
    return true;
  } catch (error) {
    if (error instanceof api.Unreachable) connection("api", false);
    else if (error instanceof api.Refused) connection("api", true);
    else throw error;
    return false;
  }
}

// ---- the chosen device ---------------------------------------------------------------------

function choose(device, task) {
  if (!device || !task) return;
  now.device = device;
  now.task = task;
  now.series = new Series(task.kind);
  now.score = null;
  showConfusion(null);
  now.silences = [];
  now.choice += 1;
  history.replaceState(null, "", `#${new URLSearchParams({ device, task: keyOf(task) })}`);
  put("device-name", device);
  byId("task").value = keyOf(task);
  list.mark(device);
  chart.leave();
  draw();
  live.follow(device, task.task);
  attempt(loadDevice);
  attempt(loadScores);
}

async function loadHistory(choice) {
  await attempt(async () => {
    const { device, task } = now;
    const [found, drift, silences] = await Promise.all([
      api.predictions(device, task.task, task.horizon, HISTORY),
      api.drift(device),
      api.events(device),
    ]);
    if (choice !== now.choice) return;
    for (const one of [...found.history].reverse()) now.series.take(one);
    for (const one of found.items) if (one.horizon === task.horizon) now.series.take(one);
    for (const one of drift.items) now.series.mark(one);
    now.silences = silences.items;
    draw();
  });
}

function arrived(one) {
  if (one.device !== now.device || one.task !== now.task.task) return;
  if (one.horizon !== now.task.horizon) return;
  now.series.take(one);
  draw();
}

function drifted(one) {
  now.series.mark(one);
  draw();
}

function heard(one) {
  now.silences = [one, ...now.silences];
  draw();
}

const FOUND = { anomaly: "scoring", clustering: "grouping" };
const STATUS = {
  warming_up: ["warming up", "warming"],
  pending: ["predicting", "good"],
  labelled: ["predicting", "good"],
  expired: ["no label came", "bad"],
};

function draw() {
  const { series, task } = now;
  const unit = task ? task.unit : "";
  const points = series.points();
  const drift = series.drift.filter((one) => one.task === "" || keyOf(one) === (task && keyOf(task)));
  chart.show(points, drift, task);
  byId("no-points").hidden = points.length > 0;
  const newest = series.newest;
  if (task) byId("tiles").replaceChildren(...tileRows(kindOf(task).tiles(task, newest, points, now.score)));
  byId("legend").dataset.kind = task ? task.kind : "";
  const chip = byId("model-status");
  chip.hidden = !newest;
  if (newest) {
    const status = newest.warming ? "warming_up" : newest.status;
    const [words, look] = STATUS[status] ?? [status, ""];
    put("model-status", look === "good" ? (FOUND[task.kind] ?? words) : words);
    chip.className = `chip ${look}`;
  }
  drawEvents(drift, unit);
}

function drawEvents(drift, unit) {
  const rows = eventRows(drift, now.silences, unit);
  byId("no-drift").hidden = rows.length > 0;
  byId("drift").replaceChildren(...rows);
}

async function loadDevice() {
  const choice = now.choice;
  const [view, silences] = await Promise.all([api.device(now.device), api.events(now.device)]);
  if (choice !== now.choice) return;
  now.silences = silences.items;
  draw();
  const when = view.time === null ? "no reading yet" : `newest reading ${clock(Date.parse(view.time))}`;
  const came = view.received === null ? "" : `, came ${ago(Date.parse(view.received), now.clock)}`;
  put("device-meta", `${count(view.readings)} readings, ${when}${came}`);
  byId("channels").replaceChildren(...channelRows(view));
}

// ---- tasks and scores ----------------------------------------------------------------------

const keyOf = (task) => JSON.stringify([task.task, task.horizon]);

function showTasks({ items: tasks, tags }) {
  now.tasks = tasks;
  offerTags(tags);
  const named = (task) => (task.horizon ? `${task.task}, ${task.horizon}` : task.task);
  byId("task").replaceChildren(...tasks.map((task) => option(keyOf(task), named(task))));
}

async function loadScores() {
  const choice = now.choice;
  const names = [...new Set(now.tasks.map((task) => task.task))];
  const overall = (await Promise.all(names.map((name) => api.scores(name)))).flatMap((one) => one.items);
  const rows = now.tasks.flatMap((task) => {
    const score = overall.find((one) => one.task === task.task && one.horizon === task.horizon);
    return score ? [scoreRow(task, score)] : [];
  });
  byId("tasks").replaceChildren(...rows);
  if (now.task) await showGroups(now.task);
  if (!now.device) return;
  const own = (await api.scores(now.task.task, { device: now.device })).items;
  const score = own.find((one) => one.horizon === now.task.horizon);
  if (choice !== now.choice || !score) return;
  now.score = score;
  showConfusion(score);
  draw();
}

// ---- the stream ----------------------------------------------------------------------------

function rate(readings, time) {
  now.rates.push([time, readings]);
  if (now.rates.length > 6) now.rates.shift();
  const [[then, before]] = now.rates;
  return time > then ? ((readings - before) * 1000) / (time - then) : null;
}

async function loadStatus() {
  const found = await api.status();
  now.clock = Date.parse(found.time);
  const readings = Object.values(found.counts.readings ?? {}).reduce((sum, n) => sum + n, 0);
  const perSecond = rate(readings, now.clock);
  document.title = `${found.name} · streamgauge`;
  put("stream-name", found.name);
  put("count-devices", count(found.counts.devices));
  put("count-readings", count(readings));
  put("count-rate", perSecond === null ? "–" : count(Math.round(perSecond * 10) / 10));
  put("count-predictions", count(found.counts.predictions));
  put("count-labels", count(found.counts.labels));
  byId("logout").hidden = !found.login;
  showBanner(found.parts);
}

function repeat(work, every) {
  const again = async () => {
    if (!document.hidden) await attempt(work);
    setTimeout(again, every);
  };
  setTimeout(again, every);
}

async function loadDrift() {
  const [{ items }, silences] = await Promise.all([api.drift("", 500), api.events("", 500)]);
  fleet.show(items, silences.items);
  list.drifting = drifting(items, now.task?.task, now.clock);
}

const loadQuarantine = async () => showQuarantine(await api.quarantine(5));

async function refresh() {
  showAlerts(await api.alerts());
  await loadDrift();
  await list.refresh();
  if (!now.device) choose(list.first(), now.task ?? now.tasks[0]);
  if (now.device) await loadDevice();
  await loadScores();
}

async function start() {
  await loadStatus();
  showTasks(await api.tasks());
  const wanted = new URLSearchParams(location.hash.slice(1));
  const task = now.tasks.find((one) => keyOf(one) === wanted.get("task")) ?? now.tasks[0];
  now.task = task ?? null;
  list.task = now.task;
  await loadDrift();
  await list.refresh();
  choose(wanted.get("device") || list.first(), task);
  connection("api", true);
}

function switchTo(device, task) {
  now.task = task;
  list.task = task;
  choose(device, task);
  attempt(loadDrift).then(() => attempt(() => list.refresh()));
}

byId("task").addEventListener("change", (event) => {
  switchTo(now.device, now.tasks.find((one) => keyOf(one) === event.target.value));
});
onTag(() => attempt(loadScores));
byId("logout").addEventListener("click", async () => {
  await fetch("/logout", { method: "POST" });
  location.assign("/");
});
document.addEventListener("visibilitychange", () => {
  // A browser keeps only six connections to one server: a hidden page gives its own back.
  if (document.hidden) live.stop();
  else if (now.device) live.connect();
});

while (!(await attempt(start))) await new Promise((resolve) => setTimeout(resolve, STATUS_EVERY));
repeat(loadStatus, STATUS_EVERY);
repeat(refresh, SCORES_EVERY);
attempt(loadQuarantine);
repeat(loadQuarantine, QUARANTINE_EVERY);
