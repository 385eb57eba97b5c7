// What the page does better with a script: connecting in a pop-up, and asking in place before disconnecting.
// Without it everything on the page is a form or a link.
import { connect } from "/scripts/connect.js";
import "/scripts/tiktok-accounts.js";

const SAID = {
  opened: "Continue in the window that has opened.",
  // Or out of sight: a policy of TikTok's pages may hide it from this page.
  window_closed: "Waiting for TikTok… If its window is closed, start again.",
  still_waiting: "Nothing was heard of it yet. You can try again.",
  status_unreachable: "The connection service cannot be reached. Still trying…",
  user_mismatch: "This was started for another Acme account. Nothing was connected.",
};

const form = document.getElementById("connect");
const list = document.querySelector("tiktok-accounts");
const button = form.querySelector("button[type=button]");

function say(text) {
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.textContent = text;
  document.getElementById("notices").replaceChildren(notice);
}

/** Called in the click itself: a window that is opened later is blocked. */
async function link(address) {
  const createSession = async ({ mode }) => {
    const body = new FormData(form);
    body.set("mode", mode);
    const answer = await fetch(address, { method: "POST", body });
    if (!answer.ok) throw new Error(`Acme answers ${answer.status}`);
    return answer.json();
  };
  const onEvent = ({ type }) => SAID[type] && say(SAID[type]);
  try {
    const { sessionId } = await connect({ createSession, onEvent });
    // Acme's server says how it ended, by its own look at the stack.
    location.assign(`${form.dataset.return}?link_session=${sessionId}`);
  } catch (error) {
    say(SAID[error.code] ?? "That did not work. Please wait a few minutes and try again.");
  }
}

function disconnect(id) {
  const asked = form.cloneNode(true); // with its CSRF token
  asked.action = `/accounts/${id}/disconnect`;
  asked.hidden = true;
  document.body.append(asked);
  asked.submit();
}

list.accounts = JSON.parse(list.dataset.accounts);
list.addEventListener("reconnect", ({ detail }) => link(`/accounts/${detail.id}/reconnect`));
list.addEventListener("disconnect", ({ detail }) => disconnect(detail.id));
button.addEventListener("click", () => link(form.action));
button.hidden = false;
