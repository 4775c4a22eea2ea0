// Requests to the server that this page is from. What changes something carries the session's token.

const TIMEOUT_MS = 60000;
let csrf = "";

/** What the server refused; `faults` are fields of a form: [{ field, why }]. */
export class Refused extends Error {
  constructor(status, message, faults = []) {
    super(message);
    this.status = status;
    this.faults = faults;
  }
}

// What a page asks by itself keeps no session alive.
const BACKGROUND = { "X-Desk-Background": "1" };

export async function get(path, { background = false } = {}) {
  return answer(await send(path, { method: "GET", headers: background ? BACKGROUND : {} }));
}

export async function post(path, body = {}, { background = false } = {}) {
  return answer(await send(path, {
    method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf,
      ...(background ? BACKGROUND : {}) },
  }));
}

/** Who is here, what they may see; to be asked before anything else. */
export async function session() {
  const found = await get("api/session");
  csrf = found.csrf;
  return found;
}

/** End the session, and have the page loaded again, which asks who is there. */
export async function signOut() {
  await send("logout", { method: "POST", headers: { "X-CSRF-Token": csrf } });
  location.reload();
}

async function send(path, options) {
  try {
    return await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new Refused(0, error.name === "TimeoutError"
      ? "The desk does not answer in time."
      : "The desk does not answer: it has stopped, or it cannot be reached from here.");
  }
}

async function answer(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // What is not JSON comes from something between the desk and this page.
  }
  if (!response.ok || body === null) {
    throw new Refused(response.status, body?.error ?? `The desk answers with status ${
      response.status}.`, body?.faults ?? []);
  }
  return body;
}
