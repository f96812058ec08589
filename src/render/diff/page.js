
"use strict";
(() => {
  const form = document.getElementById("search");
  if (!form) return;
  const field = document.getElementById("q");
  const found = document.getElementById("found");
  const none = document.getElementById("none");
  // What each row says is taken down once; ten thousand of them are searched as fast as somebody types.
  const lists = [...document.querySelectorAll("section.list")].map((section) => {
    const details = section.querySelector("details");
    const title = section.querySelector("h2").textContent.toLowerCase();
    const rows = [...details.querySelectorAll(":scope > ul > li")];
    return { section, details, open: details.open, rows: rows.map((row) => ({ row, text: title + " " + row.textContent.toLowerCase() })) };
  });
  const search = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let all = 0;
    for (const list of lists) {
      let shown = 0;
      for (const { row, text } of list.rows) {
        const fits = words.every((word) => text.includes(word));
        if (row.hidden === fits) row.hidden = !fits;
        if (fits) shown += 1;
      }
      list.section.hidden = words.length > 0 && shown === 0;
      list.details.open = words.length > 0 ? shown > 0 : list.open;
      all += shown;
    }
    found.textContent = words.length > 0 ? all + (all === 1 ? " row" : " rows") : "";
    none.hidden = words.length === 0 || all > 0;
  };
  // An address can carry the words: page.html#q=server
  const read = () => {
    const hash = location.hash.startsWith("#q=") ? location.hash.slice(3) : null;
    if (hash === null) return;
    try {
      field.value = decodeURIComponent(hash);
    } catch {
      field.value = hash;
    }
    search();
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("input", search);
  window.addEventListener("hashchange", read);
  document.addEventListener("keydown", (event) => {
    const writing = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
      field.select();
    } else if (event.key === "Escape" && event.target === field) {
      field.value = "";
      search();
    }
  });
  read();
})();
