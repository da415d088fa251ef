// The list of devices: those that do worst against their last value first, or all by name.

import * as api from "./api.js";
import { element, percent, verdict } from "./text.js";

const PAGE = 50;

export class DeviceList {
  constructor(choose) {
    this.choose = choose;
    this.list = document.getElementById("devices");
    this.more = document.getElementById("more");
    this.none = document.getElementById("no-devices");
    this.search = document.getElementById("search");
    this.order = document.getElementById("order");
    this.task = null;
    this.drifting = new Set();
    this.chosen = "";
    this.room = PAGE;
    this.asked = 0;
    let timer = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.restart(), 200);
    });
    this.order.addEventListener("change", () => this.restart());
    this.more.addEventListener("click", () => {
      this.room += PAGE;
      this.refresh();
    });
    this.list.addEventListener("keydown", (event) => this.key(event));
  }

  restart() {
    this.room = PAGE;
    return this.refresh();
  }

  async refresh() {
    const number = ++this.asked;
    const found = await this.load();
    if (number !== this.asked) return;
    this.show(found);
  }

  async load() {
    const search = this.search.value.trim();
    const [worst, named] = await Promise.all([this.worst(), this.named(search)]);
    const skills = new Map(worst.map((one) => [one.device, one.skill]));
    const ids = named.items.map((one) => one.id);
    const first = this.order.value === "worst" && !search ? worst.map((one) => one.device) : [];
    const all = [...new Set([...first, ...ids])];
    const rows = all.slice(0, this.room).map((id) => ({ id, skill: skills.get(id) ?? null }));
    return { rows, more: all.length > this.room || named.next !== null, search };
  }

  async worst() {
    if (!this.task) return [];
    const limit = Math.min(1000, Math.max(this.room, 200));
    const { task, horizon } = this.task;
    const { items } = await api.scores(task, { devices: limit, horizon });
    return items.filter((one) => one.device !== null);
  }

  named(search) {
    return api.devices(search, "", Math.min(this.room, 1000));
  }

  show({ rows, more, search }) {
    const old = new Map([...this.list.children].map((item) => [item.dataset.device, item]));
    const focused = document.activeElement?.closest?.("li")?.dataset.device;
    const items = rows.map((row) => this.item(old.get(row.id) ?? this.create(row.id), row));
    this.list.replaceChildren(...items);
    if (focused !== undefined && this.list.contains(old.get(focused))) {
      old.get(focused).firstElementChild.focus({ preventScroll: true });
    }
    this.more.hidden = !more;
    this.none.hidden = rows.length > 0;
    this.none.textContent = search
      ? `No device's id contains “${search}”.`
      : "Waiting for the first reading.";
  }

  create(id) {
    const item = element("li");
    item.dataset.device = id;
    const button = element("button", "device");
    button.type = "button";
    button.append(element("span", "name", id), element("span", "skill"));
    button.addEventListener("click", () => this.choose(id));
    item.append(button);
    return item;
  }

  item(item, row) {
    const button = item.firstElementChild;
    const skill = button.lastElementChild;
    skill.textContent = row.skill === null ? "" : percent(row.skill);
    skill.className = `skill ${verdict(row.skill)}`;
    const alarm = this.drifting.has(row.id);
    button.classList.toggle("drifting", alarm);
    button.title = alarm ? `${row.id}: its error rose within the last two minutes` : row.id;
    button.setAttribute("aria-current", String(row.id === this.chosen));
    return item;
  }

  mark(id) {
    this.chosen = id;
    for (const item of this.list.children) {
      item.firstElementChild.setAttribute("aria-current", String(item.dataset.device === id));
    }
  }

  first() {
    return this.list.firstElementChild?.dataset.device;
  }

  key(event) {
    const item = event.target.closest("li");
    const to = { ArrowDown: item?.nextElementSibling, ArrowUp: item?.previousElementSibling }[event.key];
    if (!to) return;
    event.preventDefault();
    to.firstElementChild.focus();
  }
}
