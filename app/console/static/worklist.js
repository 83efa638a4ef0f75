"use strict";
// Keys of the work list: up and down, or k and j, go from study to study; Enter opens one; / goes to the search field.

const rows = () => [...document.querySelectorAll("#results a.open")];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("input, select, textarea");
  const search = document.querySelector("input[name=q]");
  if (field) {
    if (field === search && event.key === "ArrowDown") move(event, 1);
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "ArrowDown" || event.key === "j") move(event, 1);
  else if (event.key === "ArrowUp" || event.key === "k") move(event, -1);
});

function move(event, by) {
  const all = rows();
  if (!all.length) return;
  event.preventDefault();
  const at = all.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
  all[next].focus();
}
