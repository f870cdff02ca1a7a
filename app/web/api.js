// Requests to the service, and the curl command that shows the same request.

const MAX_CONCURRENT = 4; // requests; the rest wait here and not in the server's queue
const MAX_RETRY_AFTER = 30; // seconds; a longer Retry-After is not waited for

export class Problem extends Error {
  /** Title and detail are those of application/problem+json (RFC 9457). Status 0: no answer came. */
  constructor(status, title, detail) {
    super(title);
    Object.assign(this, { status, title, detail });
  }
}

let apiKey = ""; // kept in memory only
let authScheme = "";

export const keyHeader = (value = apiKey) =>
  !value ? {} : /bearer/i.test(authScheme) ? { Authorization: `Bearer ${value}` } : { "X-API-Key": value };

export function setKey(value) {
  apiKey = value;
}

/** The URL of POST /explain. It is relative to the page, so that it works behind a path prefix. */
export function requestUrl({ mode, background }) {
  const url = new URL("explain", document.baseURI);
  if (mode !== "auto") url.searchParams.set("mode", mode);
  if (background !== "auto" && mode !== "native") url.searchParams.set("background", background);
  return url;
}

/** POST /explain. Tries once more after a 503. Rejects with Problem, or AbortError. */
export async function explain(file, options, { signal, onWait }) {
  let sent = performance.now();
  let response = await limitConcurrency(() => post(file, options, signal), signal);
  const pause = Number(response.headers.get("Retry-After"));
  if (response.status === 503 && pause <= MAX_RETRY_AFTER) {
    onWait(pause);
    await sleep(1000 * pause, signal);
    sent = performance.now();
    response = await limitConcurrency(() => post(file, options, signal), signal);
  }
  if (response.status === 401) authScheme = response.headers.get("WWW-Authenticate") ?? "";
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) {
    throw new Problem(response.status, body?.title ?? `The server answered ${response.status}`, body?.detail ?? "");
  }
  return { ...body, round_trip: performance.now() - sent };
}

async function post(file, options, signal) {
  const form = new FormData();
  form.append("file", file, file.name);
  try {
    return await fetch(requestUrl(options), { method: "POST", body: form, headers: keyHeader(), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const unreadable = await file.slice(0, 1).arrayBuffer().then(() => false, () => true);
    throw unreadable
      ? new Problem(0, "The file cannot be read", "Perhaps it is a folder, or it was moved or changed.")
      : new Problem(0, "The server cannot be reached", "Is it running, and are you online?");
  }
}

let running = 0;
const waiting = []; // functions that start the next request

async function limitConcurrency(task, signal) {
  if (running >= MAX_CONCURRENT) await new Promise((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    signal.throwIfAborted();
    return await task();
  } finally {
    if (waiting.length) waiting.shift()();
    else running -= 1;
  }
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** The same request for a POSIX shell. A sample picture of this page is fetched first. */
export function curlCommand(file, options) {
  const simpleName = !/[;,"\\]/.test(file.name);
  const name = file.source ? "-" : simpleName ? file.name : `"${file.name.replace(/["\\]/g, "\\$&")}"`;
  const [header] = Object.entries(keyHeader(apiKey && "KEY"));
  return [file.source && `curl -s ${quote(file.source)} |`, "curl", header && `-H ${quote(header.join(": "))}`, `-F ${quote(`file=@${name}`)}`, quote(requestUrl(options).href)]
    .filter(Boolean)
    .join(" ");
}

const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** GET /health, or null. */
export const health = () =>
  fetch(new URL("health", document.baseURI)).then((response) => response.json()).catch(() => null);
