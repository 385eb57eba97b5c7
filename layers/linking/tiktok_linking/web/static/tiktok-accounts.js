// <tiktok-accounts>: a person's connected accounts, in a page of your product.
//
// It shows what you give it (`element.accounts = items of GET /v1/accounts`) and says what the person
// wants (events `reconnect` and `disconnect`). It calls nobody: no token and no service is near it.
// No framework; its looks are CSS custom properties (--tta-…) and ::part. docs/connect-js.md

const SOON_DAYS = 14;
const DAY_MS = 86_400_000;
// Where TikTok's pictures were seen; it documents no list (docs/connect-js.md has the sources). A picture
// from elsewhere would tell a stranger who looks: initials are shown in its place.
const PICTURE_HOSTS = /(^|\.)tiktokcdn(-us|-eu)?\.com$/;

const TEXTS = {
  app: "this app",
  unnamed: "TikTok account",
  none: "No TikTok account is connected yet.",
  active: "Active",
  expires: "Expires {when}",
  relink_required: "Needs reconnecting",
  revoked: "Access removed in TikTok",
  failing: "Trouble reaching TikTok",
  unlinked: "Disconnected",
  unknown: "State not known",
  today: "today",
  tomorrow: "tomorrow",
  days: "in {days} days",
  reconnectBy: "Reconnect",
  by: "{when} by {date}",
  overdue: "was due by {date}",
  permissions: "Permissions",
  missing: "Missing permissions",
  nothing: "None",
  reconnect: "Reconnect",
  fix: "Fix permissions",
  disconnect: "Disconnect",
  keep: "Keep it connected",
  ask: "Disconnect {name}?",
  consequence: "{app} deletes its access to this TikTok account. What is on TikTok stays as it is.",
  elsewhere:
    "To remove {app} in TikTok too: Profile > menu > Security and login > Manage app permissions.",
  "user.info.basic": "Name and picture",
  "user.info.profile": "Profile details",
  "user.info.stats": "Follower and like counts",
  "video.list": "Public videos",
  "video.publish": "Posting videos",
  "video.upload": "Sending drafts",
};

const STYLE = `
:host { display: block; font: var(--tta-font, inherit); color: var(--tta-text, CanvasText); }
:host([hidden]), [hidden] { display: none; }
* { box-sizing: border-box; }
article, .none { background: var(--tta-card, Canvas); border: 1px solid var(--tta-line, GrayText);
  border-radius: var(--tta-radius, .75rem); padding: 1.25rem; margin: 0 0 1rem; }
.none { color: var(--tta-quiet, inherit); text-align: center; border-style: dashed; }
.row, .actions { display: flex; flex-wrap: wrap; align-items: center; gap: .75rem; }
.picture { display: grid; place-items: center; flex: none; width: 2.5rem; height: 2.5rem; overflow: hidden;
  border: 1px solid var(--tta-line, GrayText); border-radius: 50%; font-size: .875rem; font-weight: 600; }
img { width: 100%; height: 100%; object-fit: cover; }
h2, h3 { font-size: 1.0625rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
h2 { flex: 1; min-width: 6rem; }
.status { border: 1px solid transparent; border-radius: 1rem; padding: .125rem .625rem; font-size: .875rem;
  font-weight: 600; }
.good { color: var(--tta-good, inherit); background: var(--tta-good-back, transparent); }
.warn { color: var(--tta-warn, inherit); background: var(--tta-warn-back, transparent); }
.bad { color: var(--tta-bad, inherit); background: var(--tta-bad-back, transparent); }
dl { margin: 1rem 0; }
dl div { display: flex; flex-wrap: wrap; gap: 0 .75rem; padding: .25rem 0; }
dt { color: var(--tta-quiet, inherit); width: 10.5rem; }
dd { margin: 0; flex: 1 1 14rem; }
dd.missing { color: var(--tta-warn, inherit); }
p { margin: .5rem 0; }
button { min-height: 2.75rem; padding: .5rem 1rem; border-radius: .5rem; font: inherit; font-weight: 600;
  cursor: pointer; color: inherit; background: transparent; border: 1px solid var(--tta-quiet, GrayText); }
button.main { color: var(--tta-on-accent, Canvas); background: var(--tta-accent, CanvasText); }
button.danger { color: var(--tta-card, Canvas); background: var(--tta-bad, CanvasText); }
button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 3px solid var(--tta-accent, Highlight); outline-offset: 2px; }
.confirm { border-top: 1px solid var(--tta-line, GrayText); margin-top: 1rem; padding-top: 1rem; }
@media (forced-colors: active) { .status { border-color: currentColor; } }
`;

/** Whole days of the UTC calendar from now to a date: 0 is today, below 0 is past. */
export function daysUntil(instant, now = new Date()) {
  return Math.floor(Date.parse(instant) / DAY_MS) - Math.floor(now.getTime() / DAY_MS);
}

/** The days that are left: as the stack counted them, whose clock is right, else by the calendar. */
function daysLeft(account, now) {
  if (!account.relink_by) return null;
  return account.days_until_relink ?? daysUntil(account.relink_by, now);
}

/** How an account is doing, as {kind, icon, text}: `text` is a key of the texts. */
export function stateOf(account, now = new Date()) {
  const days = daysLeft(account, now);
  if (account.status === "revoked") return { kind: "bad", icon: "✕", text: "revoked" };
  if (account.status === "unlinked") return { kind: "", icon: "–", text: "unlinked" };
  if (account.status === "relink_required" || (account.status === "active" && days !== null && days < 0)) {
    return { kind: "bad", icon: "!", text: "relink_required" };
  }
  if (account.status !== "active") return { kind: "", icon: "?", text: "unknown" };
  if (account.refresh?.failing_since) return { kind: "warn", icon: "↻", text: "failing" };
  if (days !== null && days <= SOON_DAYS) return { kind: "warn", icon: "!", text: "expires" };
  return { kind: "good", icon: "✓", text: "active" };
}

/** The address of a picture that may be loaded: by https, from TikTok's own hosts. */
export function pictureOf(account) {
  const address = account.profile?.avatar_url;
  if (!address || !URL.canParse(address)) return null;
  const url = new URL(address);
  return url.protocol === "https:" && PICTURE_HOSTS.test(url.hostname) && !url.port ? url.href : null;
}

function made(name, { part, text, ...properties } = {}, ...children) {
  const element = document.createElement(name);
  if (part) element.setAttribute("part", part);
  if (text !== undefined) element.textContent = text;
  Object.assign(element, properties);
  element.append(...children.filter(Boolean));
  return element;
}

// A server that renders this page imports the file too, and has no elements.
const Base = globalThis.HTMLElement ?? class {};

export class TikTokAccounts extends Base {
  static observedAttributes = ["avatars", "app-name"];
  #accounts = [];
  #texts = TEXTS;
  #asking = null;

  connectedCallback() {
    if (!this.shadowRoot) {
      const sheet = new CSSStyleSheet(); // not <style>, which a policy without unsafe-inline refuses
      sheet.replaceSync(STYLE);
      this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
    }
    for (const name of ["texts", "accounts"]) {
      if (!Object.hasOwn(this, name)) continue; // given before this file was loaded
      const given = this[name];
      delete this[name];
      this[name] = given;
    }
    this.#show();
  }

  attributeChangedCallback() {
    this.#show();
  }

  get accounts() {
    return this.#accounts;
  }

  set accounts(accounts) {
    this.#accounts = [...accounts];
    this.#asking = null;
    this.#show();
  }

  /** Your words for those of ours that you want others for, permissions by scope among them. */
  get texts() {
    return this.#texts;
  }

  set texts(texts) {
    this.#texts = { ...TEXTS, ...texts };
    this.#show();
  }

  #say(key, values = {}) {
    const app = this.getAttribute("app-name") ?? this.#texts.app;
    return this.#texts[key].replace(/\{(\w+)\}/g, (_, name) => ({ app, ...values })[name]);
  }

  #names(scopes) {
    return scopes.map((scope) => this.#texts[scope] ?? scope).join(", ");
  }

  #when(days) {
    if (days === 0) return this.#say("today");
    return days === 1 ? this.#say("tomorrow") : this.#say("days", { days });
  }

  #show() {
    if (!this.shadowRoot) return;
    const none = made("slot", { name: "none" }, made("p", { part: "none", className: "none", text: this.#say("none") }));
    const shown = this.#accounts.map((account) => this.#card(account));
    this.shadowRoot.replaceChildren(...(shown.length ? shown : [none]));
    this.shadowRoot.querySelector(".confirm button.keep")?.focus();
  }

  #card(account) {
    const name = account.profile?.display_name || this.#say("unnamed");
    const state = stateOf(account);
    const days = daysLeft(account, new Date());
    const missing = account.scopes?.missing ?? [];
    const works = state.text !== "relink_required" && account.status === "active";
    const isAsking = this.#asking === account.id;
    const needs = !works || missing.length > 0 || state.text === "expires";
    const id = `name-${account.id}`;

    const row = made("div", { className: "row" });
    row.append(this.#picture(account, name), made("h2", { id, part: "name", text: name }));
    const words = this.#say(state.text, { when: days === null ? "" : this.#when(days) });
    const icon = made("span", { text: `${state.icon} ` });
    icon.setAttribute("aria-hidden", "true");
    row.append(made("span", { part: `status ${state.kind}`, className: `status ${state.kind}` }, icon, words));

    const facts = made("dl", { part: "facts" });
    if (days !== null && account.status === "active") facts.append(this.#deadline(account, days));
    facts.append(this.#fact("permissions", this.#names(account.scopes?.granted ?? []) || this.#say("nothing")));
    if (missing.length) facts.append(this.#fact("missing", this.#names(missing), "missing"));

    const actions = made("div", { part: "actions", className: "actions", hidden: isAsking });
    actions.append(made("slot", { name: account.id }));
    if (needs && account.status !== "unlinked") {
      const key = works && missing.length ? "fix" : "reconnect";
      const main = works ? "" : "main";
      actions.append(this.#button(key, `reconnect ${main}`, main, () => this.#tell("reconnect", account)));
    }
    if (account.status !== "unlinked") {
      actions.append(this.#button("disconnect", "disconnect", "ask", () => this.#ask(account.id)));
    }
    const card = made("article", { part: "card" }, row, facts, actions);
    card.setAttribute("aria-labelledby", id);
    if (isAsking) card.append(this.#confirmation(account, name));
    return card;
  }

  #picture(account, name) {
    const initials = name.split(/\s+/).slice(0, 2).map((word) => [...word][0] ?? "").join("").toUpperCase();
    const box = made("span", { part: "avatar", className: "picture", text: initials });
    box.setAttribute("aria-hidden", "true");
    const address = this.hasAttribute("avatars") ? pictureOf(account) : null;
    if (address) {
      const image = made("img", { alt: "", referrerPolicy: "no-referrer", decoding: "async" });
      image.addEventListener("load", () => box.replaceChildren(image), { once: true });
      image.src = address;
    }
    return box;
  }

  #deadline(account, days) {
    const written = (zone) =>
      new Intl.DateTimeFormat(this.closest("[lang]")?.lang || "en", { dateStyle: "long", ...zone }).format(
        new Date(account.relink_by),
      );
    const [utc, local] = [written({ timeZone: "UTC" }), written({})];
    const date = utc === local ? utc : `${utc} (UTC)`;
    const text = days < 0 ? this.#say("overdue", { date }) : this.#say("by", { when: this.#when(days), date });
    const time = made("time", { dateTime: account.relink_by, title: account.relink_by, text });
    return this.#fact("reconnectBy", time);
  }

  #fact(key, value, className = "") {
    const told = made("dd", { part: className || "fact", className }, value);
    return made("div", {}, made("dt", { text: this.#say(key) }), told);
  }

  #button(key, part, className, act) {
    const button = made("button", { part: `button ${part}`, className, type: "button", text: this.#say(key) });
    button.addEventListener("click", act);
    return button;
  }

  #confirmation(account, name) {
    const id = `ask-${account.id}`;
    const disable = (event) => {
      event.target.disabled = true; // until the page gives new accounts
      this.#tell("disconnect", account);
    };
    const buttons = made("div", { className: "actions" });
    buttons.append(
      this.#button("disconnect", "confirm-disconnect", "danger", disable),
      this.#button("keep", "keep", "keep", () => this.#ask(null, account.id)),
    );
    const group = made("div", { part: "confirm", className: "confirm" });
    group.setAttribute("role", "group");
    group.setAttribute("aria-labelledby", id);
    group.append(
      made("h3", { id, text: this.#say("ask", { name }) }),
      made("p", { text: this.#say("consequence") }),
      made("p", { text: this.#say("elsewhere") }),
      buttons,
    );
    group.addEventListener("keydown", (event) => event.key === "Escape" && this.#ask(null, account.id));
    return group;
  }

  #ask(id, backTo = null) {
    this.#asking = id;
    this.#show();
    if (backTo) {
      const card = this.shadowRoot.querySelector(`[aria-labelledby="${CSS.escape(`name-${backTo}`)}"]`);
      card?.querySelector("button.ask")?.focus();
    }
  }

  /** In the click itself, so that a listener may open a window. */
  #tell(type, account) {
    this.dispatchEvent(new CustomEvent(type, { bubbles: true, composed: true, detail: { id: account.id, account } }));
  }
}

if (globalThis.customElements && !customElements.get("tiktok-accounts")) {
  customElements.define("tiktok-accounts", TikTokAccounts);
}
