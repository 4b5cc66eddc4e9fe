"use strict";
// Filters and deep links. Without this script the page shows everything.
const form = document.querySelector("#filters");
const experiments = [...document.querySelectorAll("details.experiment")].map((section) => ({
  section,
  parts: document.querySelectorAll(`[data-item="${section.dataset.item}"]`),
  verdicts: section.dataset.verdicts.split("|"),
  text: `${section.dataset.theme} ${section.textContent}`.toLowerCase(),
}));

function show() {
  const theme = form.theme.value;
  const verdict = form.verdict.value;
  const words = form.q.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { section, parts, verdicts, text } of experiments) {
    const fits = (!theme || section.dataset.theme === theme)
      && (!verdict || verdicts.includes(verdict))
      && words.every((word) => text.includes(word));
    shown += fits;
    for (const part of parts) part.hidden = !fits;
    for (const row of section.querySelectorAll("tr[data-verdict]")) {
      row.hidden = Boolean(verdict) && row.dataset.verdict !== verdict;
    }
  }
  for (const group of document.querySelectorAll("[data-group]")) {
    group.hidden = !group.querySelector("[data-item]:not([hidden])");
  }
  form.querySelector("output").value = `${shown} of ${experiments.length} experiments`;
}

// What is chosen stands in the address, so that it can be passed on.
function remember() {
  const chosen = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...chosen]) if (!value) chosen.delete(name);
  try {
    history.replaceState(null, "", `?${chosen}${location.hash}`);
  } catch {
    // a browser that lets no local page do so
  }
}

function recall() {
  const chosen = new URLSearchParams(location.search);
  for (const name of ["q", "theme", "verdict"]) form[name].value = chosen.get(name) ?? "";
}

// Opens what the address points at, and what it lies in.
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.closest("[hidden]")) {
    form.reset();
    remember();
    show();
  }
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  target.scrollIntoView();
  if (target.tagName === "DETAILS") target.firstElementChild.focus({ preventScroll: true });
}

if (form) {
  form.hidden = false;
  recall();
  show();
  follow();
  form.addEventListener("input", () => { show(); remember(); });
  form.addEventListener("reset", () => setTimeout(() => { show(); remember(); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", follow);
  // The address may be the one that is there already, whose section was closed since.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) follow();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) {
      event.preventDefault();
      form.q.focus();
    }
  });
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const part of opened) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
  });
}
