// Keyboard, live progress and copying. Everything works without it: links, forms and loading the page again.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  // unfold names the page's main part by its id alone
  document.getElementById("content")?.setAttribute("role", "main");
  keyboard();
  document.querySelectorAll("[data-progress-url]").forEach(watch);
  document.querySelectorAll("details[data-load-url]").forEach((panel) => panel.addEventListener("toggle", () => load(panel)));
  document.querySelectorAll("[data-copy]").forEach((button) => {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
      }
    });
  });
  // A reason of the model's that the rule pack knows only as "other" says itself in the note.
  document.querySelectorAll(".ld-decide select[name=reason]").forEach((select) => {
    const note = select.form.elements.note;
    select.addEventListener("change", () => {
      const said = select.selectedOptions[0].dataset.note;
      if (said && !note.value.trim()) note.value = said;
    });
  });
  // A column's details follow what it is said to be; its values' meanings are asked once that is kept.
  document.querySelectorAll(".ld-mapping select[data-role]").forEach((select) => {
    const row = select.closest("tr"), first = select.value;
    select.addEventListener("change", () => {
      row.dataset.details = select.selectedOptions[0].dataset.details;
      row.querySelectorAll(".ld-meanings").forEach((box) => { box.hidden = select.value !== first; });
    });
  });
  // Who opens a form types at once; what was refused is put right below.
  document.querySelectorAll(".ld-decide details, details.ld-decide").forEach((panel) => panel.addEventListener("toggle", () => {
    const field = panel.querySelector("input:not([type=hidden]), select, textarea");
    if (panel.open && field && !document.activeElement.closest("form")) field.focus();
  }));
  // What was refused is what the officer wants to mend.
  const wrong = document.querySelector(".ld-decide details[open] .ld-wrong") || document.querySelector(".ld-decide details[open] select");
  if (document.querySelector(".ld-decide [role=alert]") && wrong) wrong.focus();
});

function keyboard() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target.closest(".ld-tip")) return event.target.blur();
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing && typing.closest(".ld-decide")) {
      typing.closest("details").open = false;
      typing.blur();
      return;
    }
    if (typing) return;
    const key = { j: "n", k: "p" }[event.key] || event.key;
    if ((event.key === "j" || event.key === "k") && moveRow(event.key === "j" ? 1 : -1)) return event.preventDefault();
    const form = document.querySelector(`.ld-decide details[data-key="${CSS.escape(key)}"]`);
    if (form) {
      document.querySelectorAll(".ld-decide details").forEach((other) => { other.open = other === form; });
      form.scrollIntoView({ block: "nearest" });
      form.querySelector("input:not([type=hidden]), select, textarea").focus();
      return event.preventDefault();
    }
    const link = document.querySelector(`a[data-key="${CSS.escape(key)}"], button[data-key="${CSS.escape(key)}"]`);
    if (link) { event.preventDefault(); link.click(); }
  });
}

// What takes a second to work out is asked for when its panel is first opened. Where that fails, the link to its own page stays.
async function load(panel) {
  if (!panel.open || panel.dataset.loading) return;
  panel.dataset.loading = "yes";
  const into = panel.querySelector("[data-load-into]");
  const before = [...into.childNodes];
  const said = document.createElement("p");
  said.textContent = "Trying out changes…";
  into.replaceChildren(said);
  into.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(panel.dataset.loadUrl, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    into.replaceChildren(...page.body.childNodes);
  } catch {
    said.textContent = "It could not be worked out just now.";
    into.replaceChildren(said, ...before);
    delete panel.dataset.loading;
  }
  into.removeAttribute("aria-busy");
}

// In a list j and k go from row to row, and Enter opens the focused row's link as any link does.
function moveRow(step) {
  const rows = [...document.querySelectorAll("#result_list tbody tr")].filter((row) => row.querySelector("a"));
  if (!rows.length) return false;
  const now = rows.findIndex((row) => row.classList.contains("ld-current"));
  const next = rows[Math.min(Math.max(now + step, 0), rows.length - 1)];
  rows.forEach((row) => row.classList.toggle("ld-current", row === next));
  next.querySelector("a").focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

function watch(box) {
  const bar = box.querySelector("[data-progress-bar]");
  const step = box.querySelector("[data-progress-step]");
  const share = box.querySelector("[data-progress-share]");
  let failures = 0;
  const look = async () => {
    try {
      const answer = await fetch(box.dataset.progressUrl, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const run = await answer.json();
      failures = 0;
      // Another state has another badge, and other things to do.
      if (!run.active || (box.dataset.state && box.dataset.state !== run.state)) return location.reload();
      bar.style.width = `${run.percent}%`;
      bar.parentElement.setAttribute("aria-valuenow", run.percent);
      share.textContent = `${run.percent}%`;
      step.textContent = run.cancelling ? "Stopping at the next step" : run.step || run.label;
    } catch {
      failures += 1;
      if (failures === 3) step.textContent = "No answer from the desk; still trying";
    }
    // Slower while nobody answers or looks, so that forgotten tabs cost nothing.
    setTimeout(look, document.hidden || failures ? 5000 : 1000);
  };
  setTimeout(look, 1000);
}
