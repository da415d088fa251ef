// The predictions of one device for one task and horizon, each with its outcome once known.

const KEPT = 300;

const instant = (text) => (text === null ? null : Date.parse(text));

export class Series {
  constructor(kind = "forecast") {
    this.ofNumbers = kind === "forecast" || kind === "regression";
    this.byId = new Map();
    this.drift = [];
    this.newest = null;
  }

  take(one) {
    const known = this.byId.get(one.id);
    // A record from the history may be older than what was pushed in the meantime.
    if (known && known.label !== null && (one.label ?? null) === null) return;
    const point = {
      made: instant(one.made_at),
      time: instant(one.target_time),
      prediction: one.prediction,
      lower: one.lower ?? null,
      upper: one.upper ?? null,
      last: one.last_value,
      label: one.label ?? null,
      status: one.status,
      // Once labelled it no longer says so; that it is the last value, or none, still does.
      warming: one.status === "warming_up" || (this.ofNumbers ? [one.last_value, null] : [null]).includes(one.prediction),
      said: one.predicted_class ?? null,
      told: one.label_class ?? null,
      chances: one.probabilities ?? null,
      distance: one.distance ?? null,
    };
    this.byId.set(one.id, point);
    if (this.newest === null || point.made >= this.newest.made) this.newest = point;
    if (this.byId.size > 2 * KEPT) this.trim();
  }

  mark(one) {
    const time = instant(one.time);
    const same = (known) =>
      known.time === time && ["kind", "task", "horizon", "channel", "signal"].every((key) => known[key] === one[key]);
    if (this.drift.some(same)) return;
    this.drift.push({ ...one, time });
    this.drift.sort((a, b) => b.time - a.time);
    this.drift.length = Math.min(this.drift.length, 50);
  }

  trim() {
    const newest = [...this.byId].sort((a, b) => b[1].made - a[1].made).slice(0, KEPT);
    this.byId = new Map(newest);
  }

  // What can be drawn, in order of the time that it is for.
  points() {
    const drawn = [...this.byId.values()].filter(
      (point) => point.time !== null && point.status !== "expired",
    );
    return drawn.sort((a, b) => a.time - b.time).slice(-KEPT);
  }
}
