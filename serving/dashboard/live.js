// One stream of server-sent events that comes back by itself.

const RETRY = 3000;

export class LiveStream {
  // `on` = { prediction, outcome, drift, event, dropped, open, lost }
  constructor(on) {
    this.on = on;
    this.source = null;
    this.timer = 0;
    this.query = "";
  }

  follow(device, task) {
    const query = new URLSearchParams({ device, task });
    for (const kind of ["prediction", "outcome", "drift", "event"]) query.append("kind", kind);
    this.query = query.toString();
    this.connect();
  }

  connect() {
    this.stop();
    const source = new EventSource(`/v1/stream?${this.query}`);
    this.source = source;
    source.addEventListener("open", () => this.on.open());
    source.addEventListener("error", () => {
      this.on.lost();
      // A refusal (503, 401) ends an EventSource for good; a broken connection does not.
      if (source.readyState === EventSource.CLOSED && this.source === source) {
        this.timer = setTimeout(() => this.connect(), RETRY);
      }
    });
    for (const kind of ["prediction", "outcome", "drift", "event", "dropped"]) {
      source.addEventListener(kind, (event) => this.on[kind](JSON.parse(event.data)));
    }
  }

  stop() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }
}
