/* What the tests measure on an open page. Each question is answered with a list of complaints. */
window.measure = (() => {
  const unseen = "mjx-assistive-mml, .visually-hidden, .sr-only, .headerlink, [hidden]";
  const xhtml = "http://www.w3.org/1999/xhtml";
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pixel = canvas.getContext("2d", { willReadFrequently: true });

  // The colours, listed from below, as one opaque colour; the browser reads every notation that CSS has.
  function laidOver(layers) {
    pixel.globalAlpha = 1;
    pixel.fillStyle = "white";
    pixel.fillRect(0, 0, 1, 1);
    for (const [colour, opacity] of layers) {
      pixel.globalAlpha = opacity;
      pixel.fillStyle = colour;
      pixel.fillRect(0, 0, 1, 1);
    }
    return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
  }

  function luminance(rgb) {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast(one, other) {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  function ancestors(element) {
    const found = [];
    for (let e = element; e; e = e.parentElement) found.push(e);
    return found;
  }

  const behind = (element) => ancestors(element).reverse().map((e) => [getComputedStyle(e).backgroundColor, 1]);

  // Of a picture's element up to its svg: text and lines may be faint by their own opacity or by a group's.
  const opacity = (element) => ancestors(element).reduce((product, e) => product * Number(getComputedStyle(e).opacity), 1);

  const shown = (element) => element.getClientRects().length > 0 && element.checkVisibility({ visibilityProperty: true });

  const words = (element) => (element.textContent || "").replace(/\s+/g, " ").trim().slice(0, 40);

  function name(element) {
    const kinds = element.getAttribute("class");
    return element.tagName.toLowerCase() + (kinds ? "." + kinds.trim().split(/\s+/).join(".") : "");
  }

  function figureWords() {
    return [...document.querySelectorAll("svg.ink text")].filter((e) => shown(e) && words(e));
  }

  // Words of figures whose contrast with what lies behind them is below `least`.
  function faintWords(least) {
    return figureWords().flatMap((e) => {
      const style = getComputedStyle(e);
      const ground = behind(e.closest("svg").parentElement);
      const ratio = contrast(laidOver(ground), laidOver([...ground, [style.fill, opacity(e) * Number(style.fillOpacity)]]));
      return ratio < least ? [`"${words(e)}" has contrast ${ratio.toFixed(2)} (${style.fill})`] : [];
    });
  }

  // The book's colours as the page has them now.
  function palette() {
    const style = getComputedStyle(document.documentElement);
    const names = ["ink", "sensitivity", "exponent", "gradient", "activity", "neutral"];
    return names.map((n) => style.getPropertyValue("--salnb-" + n).trim()).filter(Boolean);
  }

  // Lines in one of the book's colours whose contrast with the page is below `least`. How faint one of many lines is drawn is
  // the figure's business: the colour counts, not its opacity.
  function faintLines(least) {
    const book = new Set(palette().map((colour) => laidOver([[colour, 1]]).join()));
    const found = new Set();
    for (const e of document.querySelectorAll("svg.ink :is(path, line, polyline, polygon, circle, rect, use)")) {
      const style = getComputedStyle(e);
      if (style.stroke === "none" || !shown(e)) continue;
      const colour = laidOver([[style.stroke, 1]]);
      const ratio = contrast(laidOver(behind(e.closest("svg").parentElement)), colour);
      if (book.has(colour.join()) && ratio < least) found.add(`a line in ${style.stroke} has contrast ${ratio.toFixed(2)}`);
    }
    return [...found];
  }

  // Words of figures whose letters are shown smaller than `least` pixels. A word is as large as its largest letters: an index
  // is smaller than the letter that it belongs to.
  function smallWords(least) {
    return figureWords().flatMap((e) => {
      const matrix = e.getScreenCTM();
      const scale = Math.sqrt(Math.abs(matrix.a * matrix.d - matrix.b * matrix.c));
      const parts = [e, ...e.querySelectorAll("tspan")].filter((p) => [...p.childNodes].some((c) => c.nodeType === 3 && c.data.trim()));
      const size = scale * Math.max(...parts.map((p) => parseFloat(getComputedStyle(p).fontSize)));
      return size < least - 0.05 ? [`"${words(e)}" is ${size.toFixed(1)} px`] : [];
    });
  }

  // Words of figures that the edge of their figure cuts.
  function clippedWords() {
    return figureWords().flatMap((e) => {
      const [word, frame] = [e.getBoundingClientRect(), e.closest("svg").getBoundingClientRect()];
      const beyond = Math.max(frame.left - word.left, word.right - frame.right, frame.top - word.top, word.bottom - frame.bottom);
      const cut = beyond > 2 && getComputedStyle(e.closest("svg")).overflow !== "visible";
      return cut ? [`"${words(e)}" is cut by ${beyond.toFixed(0)} px`] : [];
    });
  }

  // The corners of a word on the screen, in order: around its letters, without the empty strips that every font keeps above and
  // below them, and with `aside` pixels to the left and to the right.
  function corners(e, aside) {
    const matrix = e.getScreenCTM();
    const scale = Math.hypot(matrix.a, matrix.b);
    const [xs, ys] = [[], []];
    const letters = e.textContent;
    for (let i = 0; i < e.getNumberOfChars(); i++) {
      if (/\s/.test(letters[i])) continue;
      const cell = e.getExtentOfChar(i);
      xs.push(cell.x - aside / scale, cell.x + cell.width + aside / scale);
      ys.push(cell.y + 0.24 * cell.height, cell.y + 0.86 * cell.height);
    }
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    return [[left, top], [right, top], [right, bottom], [left, bottom]].map(([x, y]) => [
      matrix.a * x + matrix.c * y + matrix.e,
      matrix.b * x + matrix.d * y + matrix.f,
    ]);
  }

  // By how many pixels two boxes, which may be turned, lie on each other: the least shift that parts them; 0 if they are apart.
  function overlap(one, other) {
    let least = Infinity;
    for (const box of [one, other]) {
      for (const [from, to] of [[0, 1], [1, 2]]) {
        const [dx, dy] = [box[to][0] - box[from][0], box[to][1] - box[from][1]];
        const long = Math.hypot(dx, dy) || 1;
        const span = (b) => b.map(([x, y]) => (x * dx + y * dy) / long);
        const [a, b] = [span(one), span(other)];
        least = Math.min(least, Math.min(Math.max(...a), Math.max(...b)) - Math.max(Math.min(...a), Math.min(...b)));
      }
    }
    return Math.max(least, 0);
  }

  // Words of one figure that lie on each other, or closer side by side than `apart` pixels, by more than half a pixel. Formulas
  // are left out: the browser gives their raised and lowered letters the height of whole lines.
  function touchingWords(apart) {
    const found = [];
    for (const svg of document.querySelectorAll("svg.ink")) {
      const plain = [...svg.querySelectorAll("text:not(:has(tspan:is([x], [dy])))")];
      const all = plain.filter((e) => shown(e) && words(e)).map((e) => [e, corners(e, apart / 2)]);
      all.forEach(([e, box], i) => {
        for (const [other, place] of all.slice(i + 1)) {
          const by = overlap(box, place);
          const figure = (svg.parentElement.getAttribute("aria-label") || "").slice(0, 40);
          if (by > 0.5) found.push(`"${words(e)}" touches "${words(other)}" by ${by.toFixed(1)} px (${figure})`);
        }
      });
    }
    return found;
  }

  // Whether a cell of the page that drew something shows it.
  function emptyFigures() {
    const pictures = "svg.ink, img, canvas"; // and not the little pictures of buttons
    return [...document.querySelectorAll(`.cell_output:has(${pictures}), figure`)].flatMap((e) =>
      [...e.querySelectorAll(pictures)].some((p) => shown(p) && p.getBoundingClientRect().width > 40) ? [] : [`${name(e)} shows no picture`],
    );
  }

  // What does not fit: boxes that scroll sideways or cut, formulas and pictures wider than their place. `passed` names boxes
  // that may scroll.
  function cutOff(passed) {
    const found = [];
    const skip = (e) => e.closest(unseen) || (passed && e.closest(passed)) || !shown(e);
    for (const e of document.querySelectorAll(".bd-article, .bd-article *")) {
      if (e.namespaceURI !== xhtml || e.closest("mjx-container, .math") || skip(e) || getComputedStyle(e).overflowX === "visible") continue;
      if (e.clientWidth && e.scrollWidth > e.clientWidth + 1) {
        found.push(`${name(e)} is ${e.clientWidth} px wide, its content ${e.scrollWidth}: ${words(e)}`);
      }
    }
    for (const e of document.querySelectorAll(".bd-article mjx-container, .bd-article :is(img, svg, canvas, table, .playground)")) {
      const within = e.parentElement.closest("mjx-container, svg, pre, details:not([open])");
      if (within || skip(e)) continue;
      // The container of a displayed formula is as wide as the column, whatever the formula is.
      const inner = (e.matches("mjx-container") && e.querySelector("mjx-math, svg")) || e;
      let box = e.parentElement;
      while (!/^(block|flow-root|list-item|flex|grid|table-cell)$/.test(getComputedStyle(box).display)) box = box.parentElement;
      const [mine, place] = [inner.getBoundingClientRect(), box.getBoundingClientRect()];
      const beyond = Math.max(mine.right - place.right, mine.width - place.width);
      if (beyond > 1.5) {
        const said = e.querySelector("math, annotation");
        found.push(`${name(e)} sticks out of ${name(box)} by ${beyond.toFixed(0)} px: ${words(said || e)}`);
      }
    }
    return found;
  }

  const sideways = () => {
    const beyond = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    return beyond > 0 ? [`the page scrolls sideways by ${beyond} px`] : [];
  };

  return { contrast, laidOver, palette, faintWords, faintLines, smallWords, clippedWords, touchingWords, emptyFigures, cutOff, sideways };
})();
