"use strict";
// Replaces the main part of the page by that of a new one. Without this script, the page reloads itself.
(() => {
  const main = document.querySelector("main");
  const live = document.getElementById("live");
  const pause = Number(document.body.dataset.refresh);
  let last = Date.now();

  function tell(text, isLate) {
    live.textContent = text;
    live.classList.toggle("late", isLate);
  }

  // A form that somebody fills in remains.
  const isEdited = () => main.querySelector("details[open]") !== null;

  async function refresh() {
    if (isEdited()) {
      tell("paused while a form is open", false);
    } else if (!document.hidden) {
      try {
        const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(10000) });
        if (!answer.ok) throw new Error(answer.statusText);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (!isEdited()) main.replaceChildren(...page.querySelector("main").childNodes);
        last = Date.now();
        tell("live", false);
      } catch {
        tell(`no answer for ${Math.round((Date.now() - last) / 1000)} s`, true);
      }
    }
    setTimeout(refresh, pause);
  }

  tell("live", false);
  setTimeout(refresh, pause);
})();
