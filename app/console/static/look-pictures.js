// The pictures of a series: which there are, where they come from, and those that are kept around the present one.

const LIST_PAGES = 12; // of a list that are kept: the longest series takes no more memory than these
const CONNECTIONS = 5; // a browser has six for one host; one is left for the list
const SIDES = [1024, 2048, 4096]; // sizes in which pictures larger than the first are loaded
const LONGEST_RING = 48;
const SLIDE_SIDE = 2048; // a level of a slide is put together in this size at most

/** An answer that is no picture; `status` is 0 if there was no answer. */
export class Failure extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

async function get(url, accept, signal) {
  let answer;
  try {
    answer = await fetch(url, { headers: { Accept: accept }, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0);
  }
  if (!answer.ok) throw new Failure(answer.status);
  return answer;
}

/** The instances of a series, fetched page by page. Pictures count from 0. */
export class PictureList {
  constructor(url, pageSize, total) {
    this.url = url;
    this.pageSize = pageSize;
    this.total = total;
    this.pages = new Map();
  }

  /** The instance of a picture; undefined if its page was not fetched, or was dropped. */
  find(picture) {
    const page = this.pages.get(Math.floor(picture / this.pageSize));
    return Array.isArray(page) ? page.find((one) => one.start <= picture && picture < one.start + one.pictures) : undefined;
  }

  /** Fetch the page of a picture; Failure if that cannot be had. */
  async load(picture) {
    const number = Math.floor(picture / this.pageSize);
    const held = this.pages.get(number);
    if (held) return held;
    const fetching = this.fetched(number);
    this.pages.set(number, fetching);
    try {
      const page = await fetching;
      this.pages.delete(number);
      this.pages.set(number, page);
      for (const oldest of this.pages.keys()) {
        if (this.pages.size <= LIST_PAGES) break;
        this.pages.delete(oldest);
      }
      return page;
    } catch (error) {
      this.pages.delete(number);
      throw error;
    }
  }

  async fetched(number) {
    const answer = await get(`${this.url}?from=${number * this.pageSize}`, "application/json");
    const page = await answer.json();
    this.total = page.total;
    return page.instances;
  }
}

/** Where a picture comes from: `url`, or the URLs of its tiles. `side` bounds its longer side, 0 for no bound. */
export function source(base, instance, picture, window, side) {
  const object = `${base}/instances/${encodeURIComponent(instance.uid)}`;
  const chosen = instance.window && window ? `&window=${window}` : "";
  const query = `/rendered?accept=${instance.type}${chosen}`;
  if (instance.tiles) {
    const tile = tileSide(instance);
    const sized = tile < Math.max(instance.rows, instance.columns) ? `&viewport=${tile},${tile}` : "";
    const count = instance.tiles[0] * instance.tiles[1];
    const tiles = Array.from({ length: count }, (_, index) => `${object}/frames/${index + 1}${query}${sized}`);
    return { url: `${object}/tiles`, tiles, across: instance.tiles[0], tile };
  }
  const frames = instance.frames ? `/frames/${picture - instance.start + 1}` : "";
  return { url: `${object}${frames}${query}${side ? `&viewport=${side},${side}` : ""}`, type: instance.type };
}

function tileSide(instance) {
  const most = Math.floor(SLIDE_SIDE / Math.max(...instance.tiles));
  return Math.min(most, Math.max(instance.rows, instance.columns));
}

/** The bound of a side in which to load a picture that is shown so large; 0 for the whole picture. */
export function sideFor(instance, shownPixels) {
  const whole = Math.max(instance.rows || 0, instance.columns || 0);
  return SIDES.find((side) => side >= shownPixels && side < whole) || 0;
}

/** Decoded pictures, up to a number of bytes; those that were used last stay. */
export class PictureCache {
  constructor(maxBytes) {
    this.maxBytes = maxBytes;
    this.bytes = 0;
    this.held = new Map();
  }

  get(picture) {
    const one = this.held.get(picture);
    if (one) {
      this.held.delete(picture);
      this.held.set(picture, one);
    }
    return one;
  }

  has(picture, url) {
    return this.held.get(picture)?.url === url;
  }

  put(picture, one) {
    this.drop(picture);
    this.held.set(picture, one);
    this.bytes += sizeOf(one);
    for (const oldest of this.held.keys()) {
      if (this.bytes <= this.maxBytes || oldest === picture) break;
      this.drop(oldest);
    }
  }

  clear() {
    for (const picture of [...this.held.keys()]) this.drop(picture);
  }

  drop(picture) {
    const one = this.held.get(picture);
    if (!one) return;
    this.held.delete(picture);
    this.bytes -= sizeOf(one);
    one.bitmap.close();
  }
}

function sizeOf(one) {
  return one.bitmap.width * one.bitmap.height * 4;
}

/** The numbers of the pictures to hold around one, nearest first, more of them in the direction of the last step. */
export function ring(picture, total, direction, count) {
  const numbers = [picture];
  const isThere = (number) => number >= 0 && number < total;
  let ahead = picture + direction;
  let behind = picture - direction;
  while (numbers.length < Math.min(count, total)) {
    if (isThere(ahead) && (numbers.length % 4 || !isThere(behind))) {
      numbers.push(ahead);
      ahead += direction;
    } else {
      numbers.push(behind);
      behind -= direction;
    }
  }
  return numbers;
}

/** How many pictures a ring may have, so that half of the cache holds it. */
export function ringLength(maxBytes, instance, side) {
  const sides = side ? [side, side] : [instance.rows || 1024, instance.columns || 1024];
  const bytes = instance.tiles ? SLIDE_SIDE * SLIDE_SIDE * 4 : sides[0] * sides[1] * 4;
  return Math.max(1, Math.min(LONGEST_RING, Math.floor(maxBytes / 2 / bytes)));
}

/** Loads the pictures that are wanted, the first ones first, and gives up those that no longer are. */
export class Loader {
  constructor(cache, loaded, failed) {
    this.cache = cache;
    this.loaded = loaded;
    this.failed = failed;
    this.running = new Map();
    this.failures = new Map();
    this.wanted = [];
  }

  /** `wanted` are pictures with `picture`, `window` and a source. */
  want(wanted) {
    this.wanted = wanted;
    const urls = new Set(wanted.map((one) => one.url));
    for (const [url, abort] of this.running) if (!urls.has(url)) abort.abort();
    this.start();
  }

  failure(url) {
    return this.failures.get(url);
  }

  /** Forget failures, so that the pictures are tried again. */
  forgive() {
    this.failures.clear();
  }

  start() {
    for (const one of this.wanted) {
      if (this.running.size >= CONNECTIONS) return;
      if (!this.running.has(one.url) && !this.failures.has(one.url) && !this.cache.has(one.picture, one.url)) this.run(one);
    }
  }

  async run(one) {
    const abort = new AbortController();
    this.running.set(one.url, abort);
    try {
      const bitmap = one.tiles ? await putTogether(one, abort.signal) : await decoded(one.url, one.type, abort.signal);
      this.cache.put(one.picture, { bitmap, url: one.url, window: one.window });
      this.running.delete(one.url);
      this.loaded(one);
    } catch (error) {
      this.running.delete(one.url);
      if (error.name !== "AbortError") {
        this.failures.set(one.url, error instanceof Failure ? error : new Failure(-1));
        this.failed(one);
      }
    }
    this.start();
  }
}

async function decoded(url, type, signal) {
  const answer = await get(url, type, signal);
  return createImageBitmap(await answer.blob());
}

/** A level of a slide, from its tiles; each is as large as `one.tile` at most. */
async function putTogether(one, signal) {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  const waiting = one.tiles.map((url, index) => ({ url, index }));
  let sides = null;
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const tile = await decoded(next.url, "image/jpeg", signal);
      if (!sides) {
        sides = [tile.width, tile.height];
        canvas.width = sides[0] * one.across;
        canvas.height = sides[1] * Math.ceil(one.tiles.length / one.across);
      }
      pen.drawImage(tile, (next.index % one.across) * sides[0], Math.floor(next.index / one.across) * sides[1]);
      tile.close();
    }
  };
  await work_first(waiting, work);
  return createImageBitmap(canvas);
}

/** The first tile tells the size of all; the others follow side by side. */
async function work_first(waiting, work) {
  const rest = waiting.splice(1);
  await work();
  waiting.push(...rest);
  await Promise.all(Array.from({ length: CONNECTIONS }, work));
}
