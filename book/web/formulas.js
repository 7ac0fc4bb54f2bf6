/* Displayed formulas break where the column ends: MathJax 3 draws them in one line. When it has drawn a formula, its pieces are put
   into boxes that the browser may set on a new line: at wide spaces and words first, within these before a relation (=, ≤, →), within
   these before a plus, minus or times. Nothing is measured, so a narrower window or a printed page needs no second pass. */
(() => {
  const RELATIONS = "3D 3C 3E 2248 2264 2265 2260 2261 223C 2243 221D 226A 226B 2192 21D2 21D4 27F6 27F9 27FA 2208 2254 2272 2273";
  const SUMS = "2B 2212 B1 D7 22C5 B7";
  const OPENING = "28 5B 7B 27E8 2308 230A";
  const CLOSING = "29 5D 7D 27E9 2309 230B";
  const SHELLS = "mjx-mrow, mjx-mstyle, mjx-texatom, mjx-semantics, mjx-menclose, mjx-box"; // around a whole formula
  const among = (codes) => new Set(codes.split(" ").map((code) => "mjx-c" + code));
  const [relations, sums, opening, closing] = [RELATIONS, SUMS, OPENING, CLOSING].map(among);

  const is = (element, kinds) => {
    const raised = element.matches("mjx-msup, mjx-msub, mjx-msubsup") && (kinds === opening || kinds === closing); // as in (a + b)²
    const sign = (element.matches("mjx-mo") || (raised && element.matches(":has(> mjx-mo)"))) && element.querySelector("mjx-c");
    return Boolean(sign) && [...sign.classList].some((kind) => kinds.has(kind));
  };
  const wide = (element) => {
    const space = element.matches("mjx-mspace") ? element : element.matches("mjx-mstyle") && element.querySelector("mjx-mspace");
    return Boolean(space) && !element.querySelector("mjx-c") && parseFloat(space.style.width) > 0.9;
  };
  const worded = (element) => element.matches("mjx-mtext") && element.childElementCount > 0;

  // Where a new piece begins, at each of the three levels; never between brackets.
  const BEGINNINGS = [
    (before, element) => wide(before) || worded(before) || worded(element),
    (before, element) => is(element, relations),
    (before, element) => is(element, sums) && !is(before, relations),
  ];

  function split(elements, level) {
    if (level === BEGINNINGS.length || elements.length < 2) return elements;
    const pieces = [[elements[0]]];
    let depth = is(elements[0], opening) ? 1 : 0;
    elements.slice(1).forEach((element, i) => {
      if (depth === 0 && BEGINNINGS[level](elements[i], element)) pieces.push([]);
      pieces.at(-1).push(element);
      depth = Math.max(0, depth + is(element, opening) - is(element, closing));
    });
    if (pieces.length === 1) return split(elements, level + 1);
    return pieces.map((piece) => {
      const box = document.createElement("span");
      box.className = "formula-piece";
      box.append(...split(piece, level + 1));
      if (box.querySelector(":scope > .formula-piece")) box.classList.add("formula-row");
      return box;
    });
  }

  function mayBreak(formula) {
    let row = formula;
    while (row.childElementCount === 1 && row.firstElementChild.matches(SHELLS)) {
      row = row.firstElementChild;
    }
    const table = row.childElementCount === 1 && row.firstElementChild.matches("mjx-mtable") && row.firstElementChild;
    if (table) {
      // Lines that are aligned with each other: on a narrow page each flows for itself.
      // The classes tell these rows and cells from those of a matrix inside, which stays as it is.
      const rows = table.querySelectorAll(":scope > mjx-table > mjx-itable > mjx-mtr");
      for (const part of [table, table.firstElementChild, rows[0].parentElement, ...rows]) part.classList.add("formula-lines-part");
      for (const line of rows) line.classList.add("formula-line");
      for (const cell of table.querySelectorAll(":scope > mjx-table > mjx-itable > mjx-mtr > mjx-mtd")) {
        cell.classList.add("formula-cell");
        cell.append(...split([...cell.children].filter((e) => !e.matches("mjx-tstrut")), 0));
      }
      formula.classList.add("formula-lines");
      return;
    }
    row.append(...split([...row.children], 0));
    if (!row.querySelector(":scope > .formula-piece")) return;
    for (let e = row; e !== formula.parentElement; e = e.parentElement) e.classList.add("formula-row");
  }

  const setting = (window.MathJax = window.MathJax || {});
  setting.startup = {
    ...setting.startup,
    ready() {
      MathJax.startup.defaultReady();
      MathJax.startup.promise = MathJax.startup.promise.then(() => {
        document.querySelectorAll('mjx-container[display="true"] > mjx-math').forEach(mayBreak);
      });
    },
  };
})();
