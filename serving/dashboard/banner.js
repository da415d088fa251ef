// Which parts do not work, why, and since when.

import { clock, put } from "./text.js";

export function showBanner(parts) {
  const broken = parts.filter((part) => !part.ok);
  const since = (part) => (part.since ? ` (since ${clock(Date.parse(part.since))})` : "");
  document.getElementById("banner").hidden = broken.length === 0;
  put("banner", broken.map((part) => `${part.name}: ${part.why}${since(part)}`).join(" · "));
}
