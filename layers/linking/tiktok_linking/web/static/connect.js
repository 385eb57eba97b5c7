// Connects a TikTok account from a page of yours: connect({ createSession }) in the handler of a click.
//
// An ES module without dependencies. Loaded by <script type="module" src="…"> it is TikTokLink, too.
// How the attempt ended is always asked of the server: TikTok's pages may cut the tie between the two
// windows, and `closed` is then true of a window that is open. Messages only say that it is time to ask.
// Keeps nothing: no cookie, no storage. Describes itself in connect.d.ts and docs/connect-js.md.

export const VERSION = "1.0.0";

/** Why connect() rejects. Tolerate codes that you do not know: a later version may have more. */
export const ERROR_CODES = Object.freeze([
  "popup_blocked", // mode "popup" alone: `url` leads to the same in a full page
  "session_expired", // the stack does not know the session, or not any more
  "user_mismatch", // somebody else is signed in to your product than the session is for
  "network", // the status could not be read until the session's end
  "session_failed", // createSession did not succeed: `cause` is its error
  "invalid_session", // createSession gave no address of a connect page
  "aborted", // by your signal: `cause` is its reason
]);

const WINDOW_NAME = "ttlink";
const WINDOW_FEATURES = "popup,width=520,height=760";
const SMALL_SCREEN_PX = 600;
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 5_000;
const GRACE_MS = 60_000;
const LONGEST_ANSWER_MS = 10_000;
const MOST_FAILURES_IN_SILENCE = 3;
const LONGEST_SESSION_MS = 86_400_000;
const ATTEMPT_MS = 660_000; // begun in time, an attempt may finish ten minutes later
const MESSAGE = "tiktok-link";

export class LinkError extends Error {
  constructor(code, { cause, url } = {}) {
    super(`TikTokLink: ${code}`, { cause });
    this.name = code === "aborted" ? "AbortError" : "LinkError";
    this.code = code;
    if (url) this.url = url;
  }
}

let current = null;

/** Link an account. Call it in the click itself: a window that is opened later is blocked. */
export function connect({ createSession, mode = "auto", onEvent, signal } = {}) {
  if (current?.isOpen()) {
    current.focus();
    return current.promise;
  }
  if (typeof createSession !== "function" || !["auto", "popup", "redirect"].includes(mode)) {
    return Promise.reject(new TypeError("connect: createSession is a function, mode is auto, popup or redirect"));
  }
  if (signal?.aborted) return Promise.reject(new LinkError("aborted", { cause: signal.reason }));

  const emit = (type, more) => {
    try {
      onEvent?.({ type, ...more });
    } catch (error) {
      console.error(error); // a mistake in there must not end the attempt
    }
  };
  const opened = wantsWindow(mode) ? window.open("about:blank", WINDOW_NAME, WINDOW_FEATURES) : null;
  const popUp = opened && !opened.closed ? opened : null;
  if (wantsWindow(mode) && !popUp) emit("blocked");
  if (popUp) emit("opened");
  const way = popUp || mode === "popup" ? "popup" : "redirect";

  const attempt = {
    isLeaving: way === "redirect",
    isOpen: () => (popUp ? !popUp.closed : attempt.isLeaving),
    focus() {
      popUp?.focus();
      emit("focused");
    },
  };
  attempt.promise = carryOut({ attempt, createSession, way, popUp, emit, signal }).finally(() => {
    if (current === attempt) current = null;
  });
  current = attempt;
  return attempt.promise;
}

/**
 * Tell the page that opened this window that it is time to ask, and close the window.
 * For the page of yours at the session's return_url.
 */
export function returned({ session = new URLSearchParams(location.search).get("link_session") } = {}) {
  const message = { type: MESSAGE, session };
  const channel = new BroadcastChannel(channelOf(session));
  channel.postMessage(message);
  channel.close();
  window.opener?.postMessage(message, location.origin);
  window.close();
}

function wantsWindow(mode) {
  return mode === "popup" || (mode === "auto" && !isPhone());
}

/** By the screen: the width of a page without a viewport of its own is a desktop's on a phone, too. */
function isPhone() {
  return matchMedia("(pointer: coarse)").matches && Math.min(screen.width, screen.height) < SMALL_SCREEN_PX;
}

function channelOf(sessionId) {
  return `ttlink:${sessionId}`;
}

async function carryOut({ attempt, createSession, way, popUp, emit, signal }) {
  try {
    const session = await orAborted(newSession(createSession, way), signal);
    emit("session_created", { sessionId: session.id });
    if (popUp) {
      if (!popUp.closed) popUp.location.replace(session.url);
    } else if (way === "popup") {
      throw new LinkError("popup_blocked", { url: session.url });
    } else {
      emit("redirecting", { sessionId: session.id });
      const back = orAborted(shownAgain(), signal);
      location.assign(session.url);
      await back; // only the browser's Back button leads here: the page came out of its cache
      attempt.isLeaving = false;
      emit("still_waiting", { sessionId: session.id });
    }
    const result = await watch(session, { popUp, emit, signal });
    // A page that says what went wrong is left to be read.
    if (["completed", "cancelled"].includes(result.status)) popUp?.close();
    return result;
  } catch (error) {
    if (error.code !== "user_mismatch") popUp?.close();
    throw error;
  }
}

async function newSession(createSession, way) {
  let given;
  try {
    given = await createSession({ mode: way });
  } catch (cause) {
    throw new LinkError("session_failed", { cause });
  }
  let url;
  try {
    url = new URL(given.url);
  } catch (cause) {
    throw new LinkError("invalid_session", { cause });
  }
  const id = /^\/connect\/(ls_[\w-]{1,128})$/.exec(url.pathname)?.[1];
  const isLoopback = /^(127\.0\.0\.1|\[::1\]|(.+\.)?localhost)$/.test(url.hostname);
  if (!id || !(url.protocol === "https:" || (url.protocol === "http:" && isLoopback))) {
    throw new LinkError("invalid_session");
  }
  const expiresAt = Date.parse(given.expires_at);
  return {
    id,
    url: url.href,
    origin: url.origin,
    statusUrl: `${url.origin}${url.pathname}/status`,
    until: (Number.isNaN(expiresAt) ? Date.now() + LONGEST_SESSION_MS : expiresAt) + ATTEMPT_MS,
  };
}

/** Ask until the server says that the attempt has ended. */
function watch(session, { popUp, emit, signal }) {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    const channel = new BroadcastChannel(channelOf(session.id));
    let timer;
    let isAsking = false;
    let mustAskAgain = false;
    let wait = FIRST_WAIT_MS;
    let last = "";
    let failures = 0;
    let closedAt = null;
    let isGraceOver = false;

    function end(settle, value) {
      stop.abort();
      clearTimeout(timer);
      channel.close();
      settle(value);
    }

    async function ask() {
      clearTimeout(timer);
      if (isAsking) {
        mustAskAgain = true;
        return;
      }
      isAsking = true;
      const told = await statusOf(session, stop.signal);
      isAsking = false;
      if (stop.signal.aborted) return;
      if (told.status === "unknown") {
        end(reject, new LinkError("session_expired"));
      } else if (told.status === "completed") {
        end(resolve, { status: "completed", missing: told.missing_scopes ?? [], sessionId: session.id });
      } else if (told.reason === "user_mismatch") {
        end(reject, new LinkError("user_mismatch"));
      } else if (["cancelled", "failed", "expired"].includes(told.status)) {
        end(resolve, { status: told.status, reason: told.reason ?? null, sessionId: session.id });
      } else {
        goOn(told);
      }
    }

    function goOn(told) {
      if (told.status === null) {
        failures += 1;
        if (failures === MOST_FAILURES_IN_SILENCE) emit("status_unreachable", { sessionId: session.id });
        if (Date.now() > session.until) {
          end(reject, new LinkError("network"));
          return;
        }
      } else {
        failures = 0;
      }
      if (told.status !== null && told.status !== last) {
        last = told.status;
        wait = FIRST_WAIT_MS;
        emit("status", { sessionId: session.id, status: last });
      } else {
        wait = Math.min(wait * 1.25, LONGEST_WAIT_MS);
      }
      lookAtWindow();
      if (mustAskAgain) {
        mustAskAgain = false;
        ask();
      } else if (document.visibilityState !== "hidden") {
        timer = setTimeout(ask, wait);
      }
    }

    function lookAtWindow() {
      if (!popUp?.closed) return;
      if (closedAt === null) {
        closedAt = Date.now();
        emit("window_closed", { sessionId: session.id });
      }
      if (Date.now() - closedAt < GRACE_MS) {
        wait = FIRST_WAIT_MS;
      } else if (!isGraceOver) {
        isGraceOver = true;
        emit("still_waiting", { sessionId: session.id });
      }
    }

    function isOurs({ origin, source, data }) {
      const isKnown = origin === session.origin || origin === location.origin;
      return isKnown && source === popUp && data?.type === MESSAGE && data.session === session.id;
    }

    const listening = { signal: stop.signal };
    channel.addEventListener("message", ask, listening);
    addEventListener("message", (event) => popUp && isOurs(event) && ask(), listening);
    addEventListener("pageshow", ask, listening);
    addEventListener("online", ask, listening);
    document.addEventListener(
      "visibilitychange",
      () => (document.visibilityState === "hidden" ? clearTimeout(timer) : ask()),
      listening,
    );
    signal?.addEventListener(
      "abort",
      () => end(reject, new LinkError("aborted", { cause: signal.reason })),
      listening,
    );
    timer = setTimeout(ask, wait);
  });
}

/** What the stack says: `unknown` for a session that it has not, null where there was no answer. */
async function statusOf(session, stopped) {
  const limit = new AbortController();
  const giveUp = () => limit.abort();
  const timer = setTimeout(giveUp, LONGEST_ANSWER_MS);
  stopped.addEventListener("abort", giveUp, { once: true });
  try {
    const answer = await fetch(session.statusUrl, {
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: limit.signal,
    });
    if (answer.status === 404) return { status: "unknown" };
    const told = answer.ok ? await answer.json() : null;
    return typeof told?.status === "string" ? told : { status: null };
  } catch {
    return { status: null };
  } finally {
    clearTimeout(timer);
    stopped.removeEventListener("abort", giveUp);
  }
}

function shownAgain() {
  return new Promise((resolve) => {
    addEventListener("pageshow", (event) => event.persisted && resolve(), { once: true });
  });
}

function orAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(new LinkError("aborted", { cause: signal.reason }));
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

globalThis.TikTokLink = Object.freeze({ connect, returned, LinkError, ERROR_CODES, VERSION });
