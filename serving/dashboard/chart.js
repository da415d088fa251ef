// The chart: actual values at their time, predictions at the time they are for, drift as marks.

import { kindOf } from "./kinds.js";
import { clock } from "./text.js";

const MARGIN = { top: 14, right: 16, bottom: 28, left: 58 };
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function niceStep(span, wanted) {
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= rough);
}

function timeStep(span, wanted) {
  const seconds = span / 1000 / wanted;
  const step = STEPS.find((one) => one >= seconds) ?? Math.ceil(seconds / 86400) * 86400;
  return step * 1000;
}

const shortened = (text) => (text.length > 8 ? `${text.slice(0, 7)}…` : text);

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || value === undefined) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

export class Chart {
  constructor(canvas, tip, spoken) {
    this.canvas = canvas;
    this.tip = tip;
    this.spoken = spoken;
    this.points = [];
    this.drift = [];
    this.task = null;
    this.cursor = null;
    this.pending = false;
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    canvas.addEventListener("pointermove", (event) => this.point(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("blur", () => this.leave());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  show(points, drift, task) {
    const kept = this.cursor === null ? null : this.points[this.cursor];
    this.points = points;
    this.drift = drift;
    this.task = task;
    const found = kept ? points.findIndex((one) => one.time === kept.time) : -1;
    this.cursor = found < 0 ? null : found;
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  colour(name) {
    return getComputedStyle(this.canvas).getPropertyValue(`--${name}`).trim();
  }

  scale() {
    const box = this.canvas.getBoundingClientRect();
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    let [from, to] = extent(this.points.map((one) => one.time));
    if (from === to) [from, to] = [from - 30e3, to + 30e3];
    const labels = this.task?.kind === "anomaly" ? [] : this.points.map((one) => one.label);
    const said = this.points.flatMap((one) => [one.prediction, one.lower, one.upper]);
    let [low, high] = extent([...said, ...labels]);
    if (low > high) [low, high] = [0, 1];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    [low, high] = [low - room, high + room];
    const [right, bottom] = [box.width - MARGIN.right, box.height - MARGIN.bottom];
    return {
      ratio, from, to, low, high, right, bottom, width: box.width, height: box.height,
      x: (time) => MARGIN.left + ((time - from) / (to - from)) * (right - MARGIN.left),
      y: (value) => bottom - ((value - low) / (high - low)) * (bottom - MARGIN.top),
    };
  }

  draw() {
    const scale = this.scale();
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale.ratio, 0, 0, scale.ratio, 0, 0);
    pen.clearRect(0, 0, scale.width, scale.height);
    this.canvas.dataset.points = String(this.points.length);
    if (!this.points.length) return;
    this.drawAhead(pen, scale);
    this.drawAxes(pen, scale);
    this.drawDrift(pen, scale);
    this.drawBand(pen, scale);
    // Labels of anomalies are no scores.
    const actual = this.points.map((one) => [one.time, this.task?.kind === "anomaly" ? null : one.label]);
    this.drawLine(pen, scale, actual, this.colour("actual"), 1.8);
    const served = this.points.map((one) => [one.time, one.warming ? null : one.prediction]);
    const warming = this.points.map((one) => [one.time, one.warming ? one.prediction : null]);
    this.drawLine(pen, scale, warming, this.colour("warming"), 1.5, [4, 4]);
    this.drawLine(pen, scale, served, this.colour("prediction"), 1.8);
    this.drawCursor(pen, scale);
    this.describe();
  }

  // Between the ends of the intervals, each run of points that have one.
  drawBand(pen, scale) {
    pen.fillStyle = this.colour("band");
    const runs = [[]];
    for (const one of this.points) {
      if (one.lower !== null && one.upper !== null) runs.at(-1).push(one);
      else if (runs.at(-1).length) runs.push([]);
    }
    for (const run of runs.filter((one) => one.length > 1)) {
      pen.beginPath();
      run.forEach((one) => pen.lineTo(scale.x(one.time), scale.y(one.upper)));
      run.toReversed().forEach((one) => pen.lineTo(scale.x(one.time), scale.y(one.lower)));
      pen.fill();
    }
  }

  drawAhead(pen, scale) {
    const newest = Math.max(...this.points.map((one) => one.made));
    const start = Math.max(MARGIN.left, scale.x(newest));
    if (start >= scale.right) return;
    pen.fillStyle = this.colour("ahead");
    pen.fillRect(start, MARGIN.top, scale.right - start, scale.bottom - MARGIN.top);
  }

  drawAxes(pen, scale) {
    pen.font = "12px system-ui, sans-serif";
    pen.lineWidth = 1;
    pen.strokeStyle = this.colour("grid");
    pen.fillStyle = this.colour("muted");
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    const { axis } = kindOf(this.task);
    const fine = niceStep(scale.high - scale.low, Math.max(3, scale.height / 60));
    const step = axis ? Math.max(1, fine) : fine;
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    for (let value = Math.ceil(scale.low / step) * step; value <= scale.high; value += step) {
      const y = Math.round(scale.y(value)) + 0.5;
      this.stroke(pen, MARGIN.left, y, scale.right, y);
      const plain = digits > 6 || Math.abs(value) >= 1e7 ? value.toExponential(1) : value.toFixed(digits);
      pen.fillText(axis ? shortened(axis(this.task, Math.round(value))) : plain.replace("-", "−"), MARGIN.left - 8, y);
    }
    pen.textAlign = "center";
    pen.textBaseline = "top";
    const [span, wanted] = [scale.to - scale.from, Math.max(2, (scale.right - MARGIN.left) / 110)];
    const tick = timeStep(span, wanted);
    for (let time = Math.ceil(scale.from / tick) * tick; time <= scale.to; time += tick) {
      const x = scale.x(time);
      if (x < MARGIN.left + 20 || x > scale.right - 20) continue;
      const text = clock(time, span);
      pen.fillText(tick < 60e3 ? text : text.replace(/(:\d\d):00$/, "$1"), x, scale.bottom + 9);
    }
  }

  drawDrift(pen, scale) {
    pen.lineWidth = 1.5;
    pen.setLineDash([3, 3]);
    for (const one of this.drift) {
      const x = scale.x(one.time);
      if (x < MARGIN.left || x > scale.right) continue;
      pen.strokeStyle = pen.fillStyle = this.colour(one.severity === "note" ? "good" : "drift");
      this.stroke(pen, x, MARGIN.top, x, scale.bottom);
      pen.beginPath();
      pen.moveTo(x - 5, MARGIN.top - 6);
      pen.lineTo(x + 5, MARGIN.top - 6);
      pen.lineTo(x, MARGIN.top + 2);
      pen.fill();
    }
    pen.setLineDash([]);
  }

  // Where a value is missing the line has a gap; a value alone between gaps is a dot.
  drawLine(pen, scale, pairs, colour, width, dash = []) {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = width;
    pen.lineJoin = "round";
    pen.setLineDash(dash);
    pen.beginPath();
    const stepped = kindOf(this.task).axis !== undefined;
    const known = ([, value]) => value !== null && value !== undefined;
    pairs.forEach((pair, i) => {
      if (!known(pair)) return;
      const [x, y] = [scale.x(pair[0]), scale.y(pair[1])];
      const before = i > 0 && known(pairs[i - 1]);
      const after = i + 1 < pairs.length && known(pairs[i + 1]);
      // Between two classes there is nothing.
      if (before && stepped) pen.lineTo(x, scale.y(pairs[i - 1][1]));
      if (before) pen.lineTo(x, y);
      else pen.moveTo(x, y);
      if (!before && !after) pen.arc(x, y, 1.5, 0, 2 * Math.PI);
    });
    pen.stroke();
    pen.setLineDash([]);
  }

  drawCursor(pen, scale) {
    const one = this.cursor === null ? null : this.points[this.cursor];
    this.tip.hidden = !one;
    if (!one) return;
    const x = scale.x(one.time);
    pen.strokeStyle = this.colour("muted");
    pen.lineWidth = 1;
    this.stroke(pen, x, MARGIN.top, x, scale.bottom);
    const label = this.task?.kind === "anomaly" ? null : one.label;
    for (const [value, name] of [[label, "actual"], [one.prediction, "prediction"]]) {
      if (value === null) continue;
      pen.fillStyle = this.colour(name);
      pen.beginPath();
      pen.arc(x, scale.y(value), 4, 0, 2 * Math.PI);
      pen.fill();
    }
    this.tip.textContent = this.words(one);
    const left = x > scale.width / 2 ? x - this.tip.offsetWidth - 12 : x + 12;
    this.tip.style.left = `${Math.max(0, left)}px`;
  }

  words(one) {
    const lines = [clock(one.time), ...kindOf(this.task).words(this.task, one)];
    if (one.warming) lines.push("warming up");
    return lines.join("\n");
  }

  describe() {
    const labelled = this.points.filter((one) => one.label !== null).length;
    const marks = this.drift.length;
    this.canvas.setAttribute(
      "aria-label",
      `${this.points.length} predictions, ${labelled} with the actual value, ${marks} drift marks. ` +
        "Use the arrow keys to read them.",
    );
  }

  stroke(pen, x1, y1, x2, y2) {
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
  }

  point(offset) {
    if (!this.points.length) return;
    const { x } = this.scale();
    const far = (i) => Math.abs(x(this.points[i].time) - offset);
    this.cursor = this.points.reduce((best, _, i) => (far(i) < far(best) ? i : best), 0);
    this.redraw();
  }

  leave() {
    this.cursor = null;
    this.redraw();
  }

  key(event) {
    const last = this.points.length - 1;
    const now = this.cursor ?? last;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.cursor = to === null ? null : Math.min(last, Math.max(0, to));
    if (this.cursor !== null) {
      this.spoken.textContent = this.words(this.points[this.cursor]).replaceAll("\n", ", ");
    }
    this.redraw();
  }
}
