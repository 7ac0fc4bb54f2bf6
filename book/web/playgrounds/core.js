/* What all playgrounds share: the stage with its controls and drawings, plotting, random numbers. Small linear algebra is in
   linear.js. Classic scripts without modules and without requests, so that a page works straight from a folder. */
"use strict";
const salnb = { data: {}, models: {} };

/* ---- Colours and type: read from the page when something is drawn, so that light and dark are both right. ---- */
salnb.ink = (() => {
  const light = { ink: "#24292e", rule: "#d5d7d8", paper: "#fdfdfb", sensitivity: "#b8470f", exponent: "#1f6cb5",
                  gradient: "#0a7355", activity: "#93428f", neutral: "#62676f" };
  const dark = { ink: "#d7dade", rule: "#3b4148", paper: "#16191d", sensitivity: "#f08a55", exponent: "#74b3ee",
                 gradient: "#41c79b", activity: "#d492cf", neutral: "#a0a6ae" };
  const names = { text: "ink", rule: "rule", paper: "paper", sensitivity: "sensitivity", exponent: "exponent",
                  gradient: "gradient", activity: "activity", neutral: "neutral" };
  let known = null;
  const read = () => {
    const root = document.documentElement, probe = document.createElement("span");
    const isDark = root.dataset.theme === "dark", found = { dark: isDark };
    (document.body || root).append(probe);
    for (const [key, name] of Object.entries(names)) {
      // A colour may be made of other variables; as the colour of an element the browser works it out.
      const fallback = (isDark ? dark : light)[name];
      probe.style.color = `var(--salnb-${name}, ${fallback})`;
      found[key] = getComputedStyle(probe).color || fallback;
    }
    const family = getComputedStyle(root).getPropertyValue("--pst-font-family-heading").trim() || "sans-serif";
    found.font = (px = 12, bold = false) => `${bold ? "600 " : ""}${px}px ${family}`;
    probe.remove();
    return found;
  };
  return { now: () => known || (known = read()), forget: () => { known = null; } };
})();

/* ---- The stage: the place of one playground on a page. ---- */
salnb.stage = (div) => {
  const stage = { div, get model() { return div.model; }, set model(model) { div.model = model; } };
  const drawings = [], make = (tag, properties, parent) => {
    const element = Object.assign(document.createElement(tag), properties);
    if (parent) parent.append(element);
    return element;
  };
  const row = (kind = "controls") => { // controls that follow each other share a row, sliders one of their own
    const last = div.lastElementChild;
    return last && last.className === kind ? last : make("div", { className: kind }, div);
  };
  const named = (label, control, kind) => {
    const box = make("label", { className: `control ${kind}` }, row(kind === "slider" ? "controls sliders" : "controls"));
    make("span", { className: "name", textContent: label }, box);
    box.append(control);
    // Named by `for`: a label without it would belong to the output that stands before a slider.
    box.htmlFor = control.id = `salnb-control-${document.querySelectorAll(".playground .control").length}`;
    return box;
  };

  stage.drawing = ({ label, ratio = 0.5, draw }) => {
    const canvas = make("canvas", {}, div);
    let width = 0, spoken = -Infinity;
    canvas.setAttribute("role", "img");
    const redraw = () => {
      if (width <= 0) return;
      const height = Math.round(width * (typeof ratio === "function" ? ratio(width) : ratio));
      const scale = Math.min(devicePixelRatio || 1, 3), context = canvas.getContext("2d");
      if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
        canvas.style.height = `${height}px`;
      }
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.clearRect(0, 0, width, height);
      draw(context, width, height, salnb.ink.now());
      if (performance.now() - spoken < 1000) return; // a screen reader need not hear more often than once a second
      spoken = performance.now();
      canvas.setAttribute("aria-label", typeof label === "function" ? label() : label);
    };
    new ResizeObserver(([entry]) => {
      const found = Math.round(entry.contentRect.width);
      if (found !== width) { width = found; redraw(); }
    }).observe(div);
    drawings.push(redraw);
    return { canvas, redraw };
  };

  stage.slider = ({ label, min, max, step, value, format = String, unit = "", change }) => {
    const input = make("input", { type: "range", min, max, step, value }), output = make("output");
    named(label, input, "slider").insertBefore(output, input);
    const show = () => {
      output.textContent = format(Number(input.value)) + (unit && ` ${unit}`);
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => { show(); change(Number(input.value)); });
    show();
    return { input, get value() { return Number(input.value); }, set(number) { input.value = number; show(); } };
  };

  stage.button = ({ label, pressed, press }) => {
    const button = make("button", { type: "button", textContent: label, onclick: () => press() }, row());
    const set = (to) => {
      if (to.label !== undefined) button.textContent = to.label;
      if (to.pressed !== undefined) button.setAttribute("aria-pressed", to.pressed);
    };
    set({ pressed });
    return { button, set };
  };

  stage.choice = ({ label, options, value, change }) => {
    const select = make("select", { onchange: () => change(select.value) });
    for (const option of options) {
      const [key, text] = Array.isArray(option) ? option : [option, option];
      make("option", { value: key, textContent: text }, select);
    }
    select.value = value;
    named(label, select, "choice");
    return { select, get value() { return select.value; }, set(key) { select.value = key; } };
  };

  // A number that is read off; `color` is the name of a quantity ("exponent").
  stage.number = ({ label, color }) => {
    const box = make("span", { className: "control number" }, row());
    make("span", { className: "name", textContent: label }, box);
    const output = make("output", {}, box);
    output.setAttribute("aria-live", "off"); // it changes many times a second
    if (color) box.classList.add(color);
    return { set(text) { if (output.textContent !== text) output.textContent = text; } };
  };

  // Calls frame(milliseconds since the last one) while the figure is in view, the page is visible, and it plays.
  stage.loop = (frame, { step = () => frame(1000 / 60) } = {}) => {
    let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    let inView = false, last = 0, request = 0;
    const tick = (now) => {
      request = requestAnimationFrame(tick);
      frame(Math.min(now - last || 1000 / 60, 100)); // after a long pause it goes on where it was
      last = now;
    };
    const update = () => {
      cancelAnimationFrame(request);
      last = request = 0;
      toggle.set({ label: playing ? "Pause" : "Play" });
      single.button.disabled = playing;
      if (playing && inView && !document.hidden) request = requestAnimationFrame((now) => { last = now; tick(now); });
    };
    const play = (on) => { playing = on; update(); };
    const toggle = stage.button({ label: "Play", press: () => play(!playing) });
    const single = stage.button({ label: "Step", press: () => step() });
    toggle.button.classList.add("play");
    new IntersectionObserver((entries) => { inView = entries[entries.length - 1].isIntersecting; update(); }).observe(div);
    document.addEventListener("visibilitychange", update);
    update();
    return { play: () => play(true), pause: () => play(false), get playing() { return playing; } };
  };

  const redrawAll = () => { salnb.ink.forget(); drawings.forEach((redraw) => redraw()); };
  new MutationObserver(redrawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  if (document.fonts) document.fonts.ready.then(redrawAll);
  stage.redraw = redrawAll;
  return stage;
};

salnb.playground = (name, setup) => {
  const start = () => {
    for (const div of document.querySelectorAll(`div.playground[data-playground="${name}"]`)) {
      const still = div.querySelector("noscript"), print = document.createElement("div");
      print.className = "on-paper";
      print.innerHTML = still ? still.textContent : "";
      div.replaceChildren();
      div.setAttribute("role", "group");
      div.classList.add("alive");
      const stage = salnb.stage(div);
      setup(stage);
      stage.redraw();
      div.append(print);
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
};

/* ---- Plotting on a canvas. ---- */
salnb.plot = {
  // About `count` round numbers between low and high.
  ticks(low, high, count = 5) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power, found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
    return found;
  },

  label(context, text, x, y, ink, { color = ink.text, size = 12, bold = false, align = "left", baseline = "alphabetic" } = {}) {
    Object.assign(context, { font: ink.font(size, bold), fillStyle: color, textAlign: align, textBaseline: baseline });
    context.fillText(text, x, y);
  },

  // A frame with horizontal rules. box: {left, top, width, height}; x, y: [low, high]; ticks: numbers or [number, text].
  // Returns the maps from numbers to pixels.
  axes(context, box, ink, { x, y, xTicks = [], yTicks = [], title = "", xLabel = "" }) {
    const at = {
      box,
      x: (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * box.width,
      y: (value) => box.top + box.height - ((value - y[0]) / (y[1] - y[0])) * box.height,
    };
    const { label } = salnb.plot, bottom = box.top + box.height;
    const pair = (tick) => (Array.isArray(tick) ? tick : [tick, String(tick).replace("-", "−")]);
    context.lineWidth = 1;
    context.strokeStyle = ink.rule;
    for (const [value, text] of yTicks.map(pair)) {
      const height = Math.round(at.y(value)) + 0.5;
      context.beginPath();
      context.moveTo(box.left, height);
      context.lineTo(box.left + box.width, height);
      context.stroke();
      label(context, text, box.left - 6, height, ink, { color: ink.neutral, size: 11.5, align: "right", baseline: "middle" });
    }
    for (const [value, text] of xTicks.map(pair)) {
      label(context, text, at.x(value), bottom + 15, ink, { color: ink.neutral, size: 11.5, align: "center" });
    }
    if (xLabel) label(context, xLabel, box.left + box.width, bottom + 30, ink, { color: ink.neutral, align: "right" });
    if (title) label(context, title, box.left, box.top - 9, ink, { size: 13, bold: true });
    return at;
  },

  // A line through (x(i), y(i)) for i in [from, to); numbers that are not finite leave a gap.
  line(context, from, to, x, y, { color, width = 2, dash = [], alpha = 1 }) {
    Object.assign(context, { strokeStyle: color, lineWidth: width, globalAlpha: alpha, lineJoin: "round" });
    context.setLineDash(dash);
    context.beginPath();
    for (let i = from, pen = false; i < to; i++) {
      const height = y(i);
      if (!Number.isFinite(height)) { pen = false; continue; }
      if (pen) context.lineTo(x(i), height); else context.moveTo(x(i), height);
      pen = true;
    }
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  },
};

/* ---- Random numbers with a seed (the generator mulberry32; normal numbers by Box and Muller). ---- */
salnb.random = (seed) => {
  let state = seed >>> 0, spare = null;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () => {
    if (spare !== null) { const kept = spare; spare = null; return kept; }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  return { uniform, normal };
};
