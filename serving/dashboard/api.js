// Questions to the service. A session that has ended leads back to the login form.

export class Refused extends Error {}
export class Unreachable extends Error {}

async function answerTo(address) {
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    return [answer, answer.status === 401 ? null : await answer.json()];
  } catch (error) {
    throw new Unreachable(String(error));
  }
}

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  const [answer, body] = await answerTo(text ? `${path}?${text}` : path);
  if (answer.status === 401) {
    location.reload();
    throw new Refused("the session has ended");
  }
  if (!answer.ok) throw new Refused(body.detail);
  return body;
}

export const status = () => ask("/v1/status");
export const tasks = () => ask("/v1/tasks");
export const devices = (search, after, limit) => ask("/v1/devices", { search, after, limit });
export const device = (id) => ask(`/v1/devices/${encodeURIComponent(id)}`);
export const drift = (id, limit = 50) => ask("/v1/drift", { device: id, limit });
export const alerts = () => ask("/v1/alerts");
export const events = (id, limit = 50) => ask("/v1/events", { device: id, limit });

export function predictions(id, task, horizon, history) {
  const path = `/v1/devices/${encodeURIComponent(id)}/predictions`;
  return ask(path, { task, horizon, history });
}

export function scores(task, parameters) {
  return ask(`/v1/tasks/${encodeURIComponent(task)}/scores`, parameters);
}
