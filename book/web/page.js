/* Two small helps of every page: what a word or a source means while the pointer or the keyboard is on its link (tools/page/hover.py writes
   the texts), and a list of contents that makes way where a note stands in the margin. */
(function () {
  "use strict";
  let box = null, link = null;

  function show(target) {
    link = target;
    if (!box) {
      box = document.createElement("div");
      box.id = "salnb-tip";
      box.setAttribute("role", "tooltip");
      document.body.appendChild(box);
    }
    box.textContent = link.dataset.tip;
    link.setAttribute("aria-describedby", box.id);
    box.style.display = "block";
    const at = link.getClientRects()[0], wide = document.documentElement.clientWidth;
    const left = Math.max(12, Math.min(at.left, wide - box.offsetWidth - 12));
    const below = at.bottom + 8 + box.offsetHeight < window.innerHeight;
    box.style.left = `${left + window.scrollX}px`;
    box.style.top = `${(below ? at.bottom + 8 : at.top - box.offsetHeight - 8) + window.scrollY}px`;
  }

  function hide() {
    if (!link) return;
    link.removeAttribute("aria-describedby");
    box.style.display = "none";
    link = null;
  }

  for (const [event, act] of [["mouseover", show], ["focusin", show], ["mouseout", hide], ["focusout", hide]]) {
    document.addEventListener(event, function (e) {
      const target = e.target.closest && e.target.closest("a[data-tip]");
      if (target) act(target);
    });
  }
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") hide(); });

  const contents = document.querySelector(".bd-sidebar-secondary"), notes = [...document.querySelectorAll(".margin-note")];
  function makeWay() {
    const at = contents.getBoundingClientRect();
    const covered = notes.some(function (note) {
      const box = note.getBoundingClientRect();
      return box.left < at.right && box.right > at.left && box.top < at.bottom + 12 && box.bottom > at.top;
    });
    contents.classList.toggle("behind-a-note", covered);
  }
  if (contents && notes.length) {
    document.addEventListener("scroll", makeWay, { passive: true });
    window.addEventListener("resize", makeWay);
    makeWay();
  }
})();
