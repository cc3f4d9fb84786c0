"use strict";
(() => {
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    toggle.textContent = theme === "dark" ? "Light" : "Dark";
    toggle.setAttribute("aria-label", `Switch to ${theme === "dark" ? "light" : "dark"} colours`);
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("tenfold-theme"); } catch { return null; } };
  const fitting = () => stored() || (system.matches ? "dark" : "light");
  setTheme(fitting());
  system.addEventListener("change", () => setTheme(fitting()));
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("tenfold-theme", theme); } catch { /* a private window forgets it */ }
    setTheme(theme);
  });

  const status = document.getElementById("status");
  const say = (text) => { status.textContent = text; };

  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    if (a !== "" && b !== "" && Number.isFinite(x) && Number.isFinite(y)) return x - y;
    if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
    return a.localeCompare(b, undefined, { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)));
        table.tBodies[0].append(...rows);
        say(`Sorted by ${button.textContent}, ${down ? "descending" : "ascending"}`);
      });
    });
  }

  const filters = [...document.querySelectorAll(".filters select")];
  const shown = document.querySelector(".filters output");
  const filter = () => {
    let count = 0;
    const items = [...document.querySelectorAll("[data-paper]")];
    for (const item of items) {
      item.hidden = filters.some((f) => f.value && !item.dataset[f.name].split(" ").includes(f.value));
      if (!item.hidden && item.matches("tr")) count += 1;
    }
    for (const section of document.querySelectorAll("section.group"))
      section.hidden = !section.querySelector("[data-paper]:not([hidden])");
    shown.textContent = `${count} ${count === 1 ? "claim" : "claims"} shown`;
  };
  filters.forEach((f) => f.addEventListener("change", filter));
  if (filters.length) filter();

  const copied = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed here: the old way */ }
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "gone";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  for (const button of document.querySelectorAll("button.copy"))
    button.addEventListener("click", async () => {
      const label = button.textContent;
      button.textContent = (await copied(button.dataset.command)) ? "Copied" : "Not copied";
      say(button.textContent);
      button.focus();
      setTimeout(() => { button.textContent = label; }, 1500);
    });
})();
