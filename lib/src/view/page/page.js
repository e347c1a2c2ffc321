"use strict";
(() => {
  const words = document.getElementById("words");
  const state = document.getElementById("state");
  const count = document.getElementById("count");
  const all = [...document.querySelectorAll("[data-stream]")];
  const rows = all.filter((element) => element.localName === "tr");
  const states = new Map(rows.map((row) => [row.dataset.stream, row.dataset.state]));
  const filter = () => {
    const parts = words.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const shows = (name) =>
      (parts.length === 0 || parts.some((part) => name.toLowerCase().includes(part))) &&
      (state.value === "" || states.get(name) === state.value);
    for (const element of all) {
      element.hidden = !shows(element.dataset.stream);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} streams`;
  };
  const fold = (open) => {
    for (const details of document.querySelectorAll("details:not([hidden])")) {
      details.open = open;
    }
  };
  words.addEventListener("input", filter);
  state.addEventListener("change", filter);
  document.getElementById("open").addEventListener("click", () => fold(true));
  document.getElementById("close").addEventListener("click", () => fold(false));
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("filter").hidden = false;
  filter();
})();
