// The service's answers; every error has a message and, where there is one, a hint.

const ROOT = "/api/v1";

export class Problem extends Error {
  constructor(status, body, after = 2) {
    super(body.error ?? `The service answered with ${status}.`);
    this.status = status;
    this.hint = body.hint;
    this.after = after;
  }

  // Whether the service may answer the same later: it is away, too slow or has too much to do.
  get passing() {
    return [0, 408, 429, 503].includes(this.status);
  }
}

export const address = (path) => ROOT + path;

async function once(path, options) {
  let answer;
  try {
    answer = await fetch(ROOT + path, options);
  } catch {
    throw new Problem(0, { error: "The service does not answer.", hint: "Is it still running? Try again." });
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  throw new Problem(answer.status, await answer.json().catch(() => ({})), Number(answer.headers.get("Retry-After")) || 2);
}

async function enter() {
  const box = document.getElementById("key");
  const word = document.getElementById("key-word");
  word.value = "";
  box.showModal();
  await new Promise((done) => box.addEventListener("close", done, { once: true }));
  await once("/session", json("POST", { key: word.value })).catch(() => null);
}

async function call(path, options) {
  for (;;) {
    try {
      return await once(path, options);
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      await enter();
    }
  }
}

function json(method, body) {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

export const get = (path) => call(path);
export const post = (path, body) => call(path, json("POST", body ?? {}));
export const patch = (path, body) => call(path, json("PATCH", body));
export const remove = (path) => call(path, { method: "DELETE" });

export function inspect(file) {
  const body = new FormData();
  body.append("photos", file, file.name);
  return call("/inspect?map=overlay&reconstruction=true", { method: "POST", body }).then((found) => found.results[0]);
}
