/* Filters of the claims ledger. Without this script all cards show; with it, buttons above them choose part and verdict. */
(function () {
  "use strict";

  function start() {
    const place = document.querySelector(".ledger-filters");
    const cards = [...document.querySelectorAll("article.claim-card[data-part]")];
    if (!place || !cards.length) return;
    const chosen = { part: "", verdict: "" };
    const said = document.createElement("output");
    const buttons = [];

    // The sections that hold nothing but cards: their titles go with their last card.
    const sections = [...new Set(cards.map((card) => card.closest("section")))].filter(Boolean);

    function fits(card, but) {
      return ["part", "verdict"].every((key) => key === but || !chosen[key] || card.dataset[key] === chosen[key]);
    }

    function show() {
      let shown = 0;
      for (const card of cards) {
        card.hidden = !fits(card);
        shown += !card.hidden;
      }
      for (const section of sections) {
        section.hidden = ![...section.querySelectorAll("article.claim-card")].some((card) => !card.hidden);
      }
      for (const { button, key, value, count } of buttons) {
        button.setAttribute("aria-pressed", String(chosen[key] === value));
        count.textContent = ` ${cards.filter((card) => fits(card, key) && (!value || card.dataset[key] === value)).length}`;
      }
      said.textContent = shown === cards.length ? `All ${shown} claims are shown.` : `${shown} of ${cards.length} claims are shown.`;
    }

    function row(key, title, options) {
      const set = document.createElement("fieldset");
      const legend = document.createElement("legend");
      legend.textContent = title;
      set.append(legend);
      for (const [value, name, shape] of options) {
        const button = document.createElement("button");
        const count = document.createElement("span");
        button.type = "button";
        if (shape) button.append(shape.cloneNode(true));
        button.append(name, count);
        button.addEventListener("click", () => {
          chosen[key] = chosen[key] === value ? "" : value;
          show();
        });
        buttons.push({ button, key, value, count });
        set.append(button);
      }
      place.append(set);
    }

    const values = (key) => [...new Set(cards.map((card) => card.dataset[key]))];
    // A part is called as its section is.
    const titleOf = (part) => {
      const section = cards.find((card) => card.dataset.part === part).closest("section");
      const title = section && section.querySelector("h2");
      return title ? title.firstChild.textContent.trim() : part;
    };
    const order = ["confirmed", "refuted", "undecided", "open"];
    row("part", "Part", [["", "All"], ...values("part").map((part) => [part, titleOf(part)])]);
    row("verdict", "Verdict", [["", "All"], ...values("verdict").sort((a, b) => order.indexOf(a) - order.indexOf(b))
      .map((verdict) => [verdict, verdict[0].toUpperCase() + verdict.slice(1), document.querySelector(`.claim-shape.${verdict}`)])]);
    said.setAttribute("aria-live", "polite");
    place.append(said);
    show();

    // A link to a card that is filtered away shows all cards again, and then the card.
    function follow() {
      const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!target || !target.closest("[hidden]")) return;
      chosen.part = chosen.verdict = "";
      show();
      target.scrollIntoView();
    }
    window.addEventListener("hashchange", follow);
    document.addEventListener("click", (event) => {
      if (event.target.closest('a[href^="#"]')) setTimeout(follow); // the same address again changes nothing and tells nobody
    });
    window.addEventListener("beforeprint", () => {
      for (const folded of document.querySelectorAll(".claim-card details")) folded.open = true;
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
