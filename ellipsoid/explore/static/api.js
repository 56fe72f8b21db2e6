// Requests to the server: points and numbers as JSON, pictures as bytes with their metadata in a header.

const token = new URLSearchParams(location.search).get("token") ?? "";

let running = 0;
function count(step) {
  running += step;
  document.querySelector("main").setAttribute("aria-busy", String(running > 0));
}

async function post(name, body, type) {
  count(1);
  try {
    return await answered(name, body, type);
  } finally {
    count(-1);
  }
}

async function answered(name, body, type) {
  const response = await fetch(`api/${name}`, {
    method: "POST",
    headers: { "x-ellipsoid-token": token, "content-type": type },
    body,
  }).catch(() => {
    throw new Error("The server does not answer. It may have been stopped.");
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new Error(answer?.error ?? `The server answered ${response.status}.`);
  }
  return response;
}

/** Send an object; the answer is a Response. */
export const ask = (name, fields = {}) => post(name, JSON.stringify(fields), "application/json");

/** Send an object; the answer is an object. */
export const askJson = async (name, fields) => (await ask(name, fields)).json();

/** Send the bytes of a file. */
export const send = (name, file) => post(name, file, "application/octet-stream");

/** Picture or pictures of an answer (null if the space has no decoder), with their metadata. */
export async function pictured(response) {
  const header = response.headers.get("x-ellipsoid");
  if (header === null) return { bitmap: null, about: await response.json() };
  return { bitmap: await createImageBitmap(await response.blob()), about: JSON.parse(header) };
}

/** One request at a time: while it runs, only the newest of the others waits. */
export class Newest {
  #work;
  #waiting = null;
  #busy = false;

  constructor(work) {
    this.#work = work;
  }

  async call(...words) {
    this.#waiting = words;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#waiting !== null) {
        const next = this.#waiting;
        this.#waiting = null;
        await this.#work(...next);
      }
    } finally {
      this.#busy = false;
    }
  }
}
