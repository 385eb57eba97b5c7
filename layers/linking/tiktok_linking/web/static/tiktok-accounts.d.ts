/** What is shown of an account of GET /v1/accounts; the rest of it may be left out. */
export interface ShownAccount {
  id: string;
  status: "active" | "relink_required" | "revoked" | "unlinked" | (string & {});
  profile?: { display_name?: string | null; avatar_url?: string | null } | null;
  scopes?: { granted?: string[]; missing?: string[] };
  relink_by?: string | null;
  /** Without it the days of the UTC calendar are counted by the browser's clock. */
  days_until_relink?: number | null;
  refresh?: { failing_since?: string | null };
}

export interface State {
  kind: "good" | "warn" | "bad" | "";
  icon: string;
  text: "active" | "expires" | "relink_required" | "revoked" | "failing" | "unlinked" | "unknown";
}

/** Whole days of the UTC calendar: 0 is today, below 0 is past. */
export function daysUntil(instant: string, now?: Date): number;
export function stateOf(account: ShownAccount, now?: Date): State;
export function pictureOf(account: ShownAccount): string | null;

export class TikTokAccounts extends HTMLElement {
  accounts: ShownAccount[];
  /** Your words for those of ours that you want others for; permissions by their scope. */
  texts: Record<string, string>;
}

export type AccountEvent = CustomEvent<{ id: string; account: ShownAccount }>;

declare global {
  interface HTMLElementTagNameMap {
    "tiktok-accounts": TikTokAccounts;
  }
  interface HTMLElementEventMap {
    reconnect: AccountEvent;
    disconnect: AccountEvent;
  }
}
