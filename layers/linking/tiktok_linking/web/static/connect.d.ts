/** A link session as your backend got it from POST /v1/link-sessions: at least its address. */
export interface Session {
  url: string;
  expires_at?: string;
}

export interface Options {
  /** Ask your backend for a session. `mode` is what it will be used in. */
  createSession(how: { mode: "popup" | "redirect" }): Session | Promise<Session>;
  /** auto, the default: a pop-up, or the full page where it is blocked and on small touch screens. */
  mode?: "auto" | "popup" | "redirect";
  onEvent?(event: LinkEvent): void;
  signal?: AbortSignal;
}

/** Tolerate types and statuses that you do not know. */
export interface LinkEvent {
  type:
    | "opened"
    | "blocked"
    | "focused"
    | "session_created"
    | "redirecting"
    | "status"
    | "window_closed"
    | "still_waiting"
    | "status_unreachable"
    | (string & {});
  sessionId?: string;
  status?: "pending" | "started" | "awaiting_completion" | (string & {});
}

export type Result =
  | { status: "completed"; missing: string[]; sessionId: string }
  | { status: "cancelled" | "failed" | "expired"; reason: string | null; sessionId: string };

export type ErrorCode =
  | "popup_blocked"
  | "session_expired"
  | "user_mismatch"
  | "network"
  | "session_failed"
  | "invalid_session"
  | "aborted";

export class LinkError extends Error {
  constructor(code: ErrorCode | (string & {}), more?: { cause?: unknown; url?: string });
  readonly code: ErrorCode | (string & {});
  /** With popup_blocked: where the same goes on in a full page. */
  readonly url?: string;
}

export const VERSION: string;
export const ERROR_CODES: readonly ErrorCode[];

/** Link an account. Call it in the handler of a click, before any await. */
export function connect(options: Options): Promise<Result>;

/** For your page at return_url: tell the page that opened this window, and close it. */
export function returned(options?: { session?: string | null }): void;

declare global {
  var TikTokLink: Readonly<{
    connect: typeof connect;
    returned: typeof returned;
    LinkError: typeof LinkError;
    ERROR_CODES: typeof ERROR_CODES;
    VERSION: typeof VERSION;
  }>;
}
