// What is sent to the server and what comes back.

const AT_ONCE = 4; // pictures under way; the rest wait here and not in the server's queue
const LONGEST_WAIT = 30; // seconds of Retry-After that are worth waiting

export class Problem extends Error {
  /** title and detail as in application/problem+json (RFC 9457); status 0 where no answer came. */
  constructor(status, title, detail) {
    super(title);
    Object.assign(this, { status, title, detail });
  }
}

let key = ""; // in memory only
let scheme = "";

export const keyHeader = (value = key) =>
  !value ? {} : /bearer/i.test(scheme) ? { Authorization: `Bearer ${value}` } : { "X-API-Key": value };

export function setKey(value) {
  key = value;
}

/** The address of the same request: relative to the page, so that it works behind a prefix. */
export function address({ mode, background }) {
  const url = new URL("explain", document.baseURI);
  if (mode !== "auto") url.searchParams.set("mode", mode);
  if (background !== "auto" && mode !== "native") url.searchParams.set("background", background);
  return url;
}

/** POST /explain. Tries once more after a 503. Rejects with Problem, or AbortError. */
export async function explain(file, options, { signal, onWait }) {
  let sent = performance.now();
  let response = await inTurn(() => post(file, options, signal), signal);
  const pause = Number(response.headers.get("Retry-After"));
  if (response.status === 503 && pause <= LONGEST_WAIT) {
    onWait(pause);
    await sleep(1000 * pause, signal);
    sent = performance.now();
    response = await inTurn(() => post(file, options, signal), signal);
  }
  if (response.status === 401) scheme = response.headers.get("WWW-Authenticate") ?? "";
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
    return await fetch(address(options), { method: "POST", body: form, headers: keyHeader(), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const unreadable = await file.slice(0, 1).arrayBuffer().then(() => false, () => true);
    throw unreadable
      ? new Problem(0, "The file cannot be read", "Perhaps it is a folder, or it was moved or changed.")
      : new Problem(0, "The server cannot be reached", "Is it running, and are you online?");
  }
}

let running = 0;
const waiting = [];

async function inTurn(task, signal) {
  if (running >= AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
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

/** The same request for a POSIX shell; a picture of this page's, which nobody has as a file, is fetched first. */
export function curl(file, options) {
  const plain = !/[;,"\\]/.test(file.name);
  const name = file.source ? "-" : plain ? file.name : `"${file.name.replace(/["\\]/g, "\\$&")}"`;
  const [header] = Object.entries(keyHeader(key && "KEY"));
  return [file.source && `curl -s ${quote(file.source)} |`, "curl", header && `-H ${quote(header.join(": "))}`, `-F ${quote(`file=@${name}`)}`, quote(address(options).href)]
    .filter(Boolean)
    .join(" ");
}

const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** GET /health, or null. */
export const health = () =>
  fetch(new URL("health", document.baseURI)).then((response) => response.json()).catch(() => null);
