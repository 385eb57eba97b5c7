// "Connect in a pop-up": the window opens in the click itself, since browsers block it later, and the result is
// asked of Acme's own server, since TikTok's pages may cut the tie between the two windows.
"use strict";

const POLL_MS = 1500;
const FORGET_AFTER_CLOSING_MS = 60_000;
const ENDED = ["completed", "cancelled", "failed", "expired"];

const form = document.getElementById("connect");
const button = form.querySelector("button[type=button]");
button.hidden = false;

function say(text) {
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.textContent = text;
  document.getElementById("notices").replaceChildren(notice);
}

async function watch(id, popUp) {
  let closedAt = null;
  for (;;) {
    await new Promise((done) => setTimeout(done, POLL_MS));
    const answer = await fetch(`${form.dataset.status}?link_session=${id}`).catch(() => null);
    const told = answer?.ok ? await answer.json().catch(() => null) : null;
    const status = told?.status ?? "unknown";
    if (ENDED.includes(status)) {
      popUp.close();
      location.assign(`${form.dataset.return}?link_session=${id}`);
      return;
    }
    // `closed` may be true while the window is open at TikTok, so it only starts a grace period.
    if (popUp.closed) {
      closedAt ??= Date.now();
      say("The window was closed. Waiting a moment for TikTok…");
      if (Date.now() - closedAt > FORGET_AFTER_CLOSING_MS) {
        say("Nothing was connected. You can try again.");
        button.disabled = false;
        return;
      }
    }
  }
}

button.addEventListener("click", async () => {
  const popUp = window.open("about:blank", "acme-tiktok", "popup,width=520,height=760");
  if (popUp === null) {
    form.submit(); // blocked: the same thing in this window
    return;
  }
  button.disabled = true;
  const answer = await fetch(form.dataset.popUp, { method: "POST", body: new FormData(form) }).catch(() => null);
  if (!answer?.ok) {
    popUp.close();
    say("That did not work. Please wait a few minutes and try again.");
    button.disabled = false;
    return;
  }
  const { id, url } = await answer.json();
  say("Continue in the window that has opened.");
  popUp.location = url;
  await watch(id, popUp);
});
