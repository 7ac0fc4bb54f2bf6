/* Shows what a word or a source means while the pointer or the keyboard is on its link. tools/hover.py writes the texts. */
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
})();
