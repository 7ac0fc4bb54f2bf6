/* One neuron with two inputs: a ball of inputs goes in, an interval of outputs comes out, and SAL moves the weights. */
"use strict";
salnb.models.one_neuron = (() => {
  /* The error function by its series of positive terms; beyond 6 it is 1 to the last digit. */
  function erf(x) {
    const size = Math.abs(x);
    if (size > 6) return Math.sign(x);
    let term = size, sum = size;
    for (let n = 1; term > 1e-17 * sum; n++) {
      term *= 2 * size * size / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * Math.exp(-size * size) * sum;
  }
  const logistic = (u) => 1 / (1 + Math.exp(-u)), zero = () => 0;
  const share = (u) => (1 + erf(u / Math.SQRT2)) / 2; // of a normal variable below u
  const density = (u) => Math.exp(-u * u / 2) / Math.sqrt(2 * Math.PI);
  const leaky = (below) => [(u) => (u > 0 ? u : below * u), (u) => (u > 0 ? 1 : below), zero];

  /* f, f' and f'' of the activations that salnb.sensitivity has formulas for. */
  const ACTIVATIONS = {
    tanh: [Math.tanh, (u) => 1 - Math.tanh(u) ** 2, (u) => -2 * Math.tanh(u) * (1 - Math.tanh(u) ** 2)],
    sigmoid: [logistic, (u) => logistic(u) * (1 - logistic(u)), (u) => logistic(u) * (1 - logistic(u)) * (1 - 2 * logistic(u))],
    relu: leaky(0),
    leaky_relu: leaky(0.01),
    gelu: [(u) => u * share(u), (u) => share(u) + u * density(u), (u) => density(u) * (2 - u * u)],
    softplus: [(u) => Math.max(u, 0) + Math.log1p(Math.exp(-Math.abs(u))), logistic, (u) => logistic(u) * (1 - logistic(u))],
    identity: [(u) => u, () => 1, zero],
  };
  const GELU_LOWEST = -0.7517915246935645; // where its slope is 0

  /* U, f(U), the slope, the sensitivity s = |f'(U)| |w|, and the interval of outputs of the ball of this radius. */
  function look({ w, x, bias, radius, activation }) {
    const [f, slope] = ACTIVATIONS[activation], norm = Math.hypot(...w);
    const u = w[0] * x[0] + w[1] * x[1] + bias, from = u - radius * norm, to = u + radius * norm;
    const turns = activation === "gelu" && from < GELU_LOWEST && to > GELU_LOWEST;
    const ends = [f(from), f(to), ...(turns ? [f(GELU_LOWEST)] : [])];
    return { u, from, to, norm, output: f(u), slope: slope(u), sensitivity: Math.abs(slope(u)) * norm,
             low: Math.min(...ends), high: Math.max(...ends) };
  }

  /* The two terms of the gradient of s by w, |f'| w/|w| and |w| sgn(f') f'' x, and the derivative by the bias. */
  function gradient({ w, x, bias, activation }) {
    const [, slope, curvature] = ACTIVATIONS[activation], norm = Math.hypot(...w), u = w[0] * x[0] + w[1] * x[1] + bias;
    const size = norm > 0 ? Math.abs(slope(u)) / norm : 0, byBias = norm * Math.sign(slope(u)) * curvature(u);
    return { along: w.map((part) => size * part), turning: x.map((part) => byBias * part), bias: byBias };
  }

  function step(neuron, rate) {
    const { along, turning, bias } = gradient(neuron);
    return { ...neuron, w: neuron.w.map((part, i) => part + rate * (along[i] + turning[i])), bias: neuron.bias + rate * bias };
  }

  return { ACTIVATIONS, look, gradient, step };
})();

/* ---- What is shown of it. ---- */
salnb.playground("one_neuron", (stage) => {
  const { ACTIVATIONS, look, gradient, step } = salnb.models.one_neuron;
  const REACH = 2.6, FAR = 5, STEP = 0.1, LONGEST = { w: 2.5, x: 1.5 }; // of the plane, of U, the rate of a SAL step
  const RANGES = { tanh: [-1.2, 1.2], sigmoid: [-0.1, 1.1], identity: [-FAR, FAR] }, ABOVE = [-1, FAR];
  const polar = (length, degrees) => [length * Math.cos(degrees * Math.PI / 180), length * Math.sin(degrees * Math.PI / 180)];
  const degrees = (v) => Math.round(Math.atan2(v[1], v[0]) * 180 / Math.PI) + 0;
  const show = (x, digits = 2) => (Math.abs(x) < 0.5 / 10 ** digits ? 0 : x).toFixed(digits).replace("-", "−");
  const state = { w: polar(2, 35), x: polar(0.8, 75), bias: 0, radius: 0.3, activation: "tanh" };
  const model = stage.model = { state, pose() { model.printed = true; drawing.redraw(); } }; // for the still
  let plane = null; // the maps from numbers to pixels, for dragging

  function arrow(context, from, to, color, { width = 2.2, dash = [] } = {}) {
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]), head = Math.min(9, length);
    if (length < 1) return;
    const [x, y] = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
    Object.assign(context, { strokeStyle: color, fillStyle: color, lineWidth: width });
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] - head * x * 0.8, to[1] - head * y * 0.8);
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(...to);
    context.lineTo(to[0] - head * x - 0.45 * head * y, to[1] - head * y + 0.45 * head * x);
    context.lineTo(to[0] - head * x + 0.45 * head * y, to[1] - head * y - 0.45 * head * x);
    context.fill();
  }
  // A word at the end of an arrow, on the side to which it points, and inside the box.
  function word(context, text, from, to, ink, box) {
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]) || 1, [x, y] = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
    context.font = ink.font(12.5, true);
    const half = context.measureText(text).width / 2, clamp = (value, low, high) => Math.max(low, Math.min(high, value));
    salnb.plot.label(context, text, clamp(to[0] + x * (half + 9), box.left + half + 4, box.left + box.width - half - 4),
                     clamp(to[1] + 14 * y, box.top + 10, box.top + box.height - 10), ink,
                     { color: ink.sensitivity, size: 12.5, bold: true, align: "center", baseline: "middle" });
  }

  function drawPlane(context, box, ink, seen) {
    const f = ACTIVATIONS[state.activation][0], [low, high] = RANGES[state.activation] || ABOVE;
    const ticks = [-2, 0, 2], range = [-REACH, REACH];
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    const at = plane = salnb.plot.axes(context, box, ink, { x: range, y: range });
    const pixel = (v) => [at.x(v[0]), at.y(v[1])];
    if (seen.norm > 1e-3) { // the output as a shade, which changes along w only
      const along = (u) => state.w.map((part) => part * (u - state.bias) / seen.norm ** 2);
      const shade = context.createLinearGradient(...pixel(along(-FAR)), ...pixel(along(FAR)));
      for (let i = 0; i <= 200; i++) { // in eight even steps, so that their edges are lines of equal output
        const strength = Math.max(0, Math.min(1, (f(FAR * (i / 100 - 1)) - low) / (high - low)));
        const tint = 0.4 * Math.round(8 * strength) / 8;
        shade.addColorStop(i / 200, ink.activity.replace(/rgba?\(([^,]+,[^,]+,[^,)]+).*/, `rgba($1, ${tint})`));
      }
      context.fillStyle = shade;
      context.fillRect(box.left, box.top, box.width, box.height);
    }
    const origin = pixel([0, 0]), tip = pixel(state.w), center = pixel(state.x), unit = at.x(1) - at.x(0);
    const { along, turning } = gradient(state);
    const ends = [along, turning].map((term) => pixel(state.w.map((part, i) => part + term[i])));
    Object.assign(context, { strokeStyle: ink.text, fillStyle: ink.text, lineWidth: 1.8 });
    context.beginPath();
    context.arc(...center, state.radius * unit, 0, 7);
    context.stroke();
    arrow(context, origin, tip, ink.text, { width: 3 });
    ["lengthens", "turns"].forEach((name, i) => {
      if (Math.hypot(ends[i][0] - tip[0], ends[i][1] - tip[1]) < 3) return;
      arrow(context, tip, ends[i], ink.sensitivity, { width: 2.6, dash: i ? [5, 3] : [] });
      word(context, name, tip, ends[i], ink, box);
    });
    for (const point of [tip, center]) { // what can be dragged
      context.beginPath();
      context.arc(...point, 6, 0, 7);
      Object.assign(context, { fillStyle: ink.paper, strokeStyle: ink.text, lineWidth: 2 });
      context.fill();
      context.stroke();
    }
    const side = state.w[0] >= 0 ? -1 : 1; // the name of w stands beside it, where the arrows do not
    salnb.plot.label(context, "w", (origin[0] + tip[0]) / 2, (origin[1] + tip[1]) / 2 + 18 * Math.sign(state.w[0] * state.w[1] || 1), ink,
                     { size: 14, bold: true, align: side < 0 ? "left" : "right" });
    salnb.plot.label(context, "x", center[0], center[1] - state.radius * unit - 7, ink, { size: 14, bold: true, align: "center" });
    context.restore();
    salnb.plot.axes(context, box, ink, { x: range, y: range, xTicks: ticks, yTicks: [] });
    context.strokeStyle = ink.rule;
    context.strokeRect(box.left + 0.5, box.top + 0.5, box.width - 1, box.height - 1);
    salnb.plot.label(context, model.printed ? "inputs" : "inputs: drag w and x", box.left, box.top - 9, ink, { size: 13, bold: true });
  }

  function drawCurve(context, box, ink, seen) {
    const f = ACTIVATIONS[state.activation][0], y = RANGES[state.activation] || ABOVE;
    const at = salnb.plot.axes(context, box, ink, {
      x: [-FAR, FAR], y, xTicks: [-4, -2, 0, 2, 4], yTicks: salnb.plot.ticks(...y, 4), xLabel: "U = w·x + θ",
    });
    const bottom = box.top + box.height, curve = (from, to) => {
      for (let i = 0; i <= 60; i++) {
        const u = from + (to - from) * i / 60;
        context.lineTo(at.x(u), at.y(f(u)));
      }
    };
    context.save();
    context.beginPath();
    context.rect(box.left - 4, box.top, box.width + 4, box.height + 4);
    context.clip();
    const fill = (color, draw, alpha = 0.28) => {
      Object.assign(context, { fillStyle: color, globalAlpha: alpha });
      context.beginPath();
      draw();
      context.fill();
      context.globalAlpha = 1;
    };
    fill(ink.neutral, () => { context.moveTo(at.x(seen.from), bottom); curve(seen.from, seen.to); context.lineTo(at.x(seen.to), bottom); });
    fill(ink.sensitivity, () => { // from the curve to the axis of outputs
      context.moveTo(box.left, at.y(f(seen.from)));
      curve(seen.from, seen.to);
      context.lineTo(box.left, at.y(f(seen.to)));
    });
    fill(ink.neutral, () => context.rect(at.x(seen.from), bottom - 3, at.x(seen.to) - at.x(seen.from), 7), 1);
    const height = Math.max(2, at.y(seen.low) - at.y(seen.high));
    fill(ink.sensitivity, () => context.rect(box.left - 4, (at.y(seen.low) + at.y(seen.high) - height) / 2, 7, height), 1);
    salnb.plot.line(context, 0, 201, (i) => at.x(FAR * (i / 100 - 1)), (i) => at.y(f(FAR * (i / 100 - 1))), { color: ink.activity, width: 2.4 });
    fill(ink.text, () => context.arc(at.x(seen.u), at.y(seen.output), 4.5, 0, 7), 1);
    context.restore();
    salnb.plot.label(context, "output ", box.left, box.top - 9, ink, { size: 13, bold: true, color: ink.activity });
    const after = box.left + context.measureText("output ").width + 6;
    salnb.plot.label(context, `s = ${show(Math.abs(seen.slope))} · ${show(seen.norm)} = ${show(seen.sensitivity)}`, after, box.top - 9, ink,
                     { size: 13, bold: true, color: ink.sensitivity });
  }

  const drawing = stage.drawing({
    label: () => {
      const seen = look(state);
      return `A ${state.activation} neuron with two inputs and weights of length ${show(seen.norm)}. A ball of inputs of radius ` +
        `${show(state.radius)} becomes the outputs from ${show(seen.low)} to ${show(seen.high)}; the sensitivity is ${show(seen.sensitivity)}.`;
    },
    ratio: (width) => (width < 520 ? (2 * width + 110) / width : 0.53),
    draw(context, width, height, ink) {
      const seen = look(state), narrow = width < 520, top = 26, side = narrow ? width - 2 : Math.round(height - 66);
      drawPlane(context, { left: 1, top, width: side, height: side }, ink, seen);
      if (narrow) drawCurve(context, { left: 36, top: side + 84, width: width - 42, height: height - side - 122 }, ink, seen);
      else drawCurve(context, { left: side + 50, top, width: width - side - 58, height: side }, ink, seen);
    },
  });

  const output = stage.number({ label: "outputs from, to" });
  const ratio = stage.number({ label: "their width / the ball's", color: "sensitivity" });
  const terms = stage.number({ label: "one SAL step changes s by" });
  stage.div.append(document.createElement("div")); // the buttons begin a row of their own
  stage.choice({ label: "activation", options: Object.keys(ACTIVATIONS), value: state.activation, change: (name) => set({ activation: name }) });
  const salButton = stage.button({ label: "One SAL step", press: () => set(step(state, STEP)) });
  const sliders = {};
  for (const name of ["w", "x"]) {
    sliders[name] = [
      stage.slider({ label: `length of ${name}`, min: 0, max: LONGEST[name], step: 0.01, value: Math.hypot(...state[name]), format: show,
                     change: (length) => set({ [name]: polar(length, sliders[name][1].value) }, true) }),
      stage.slider({ label: `angle of ${name}`, min: -179, max: 180, step: 1, value: degrees(state[name]), format: (d) => `${show(d, 0)}°`,
                     change: (angle) => set({ [name]: polar(sliders[name][0].value, angle) }, true) }),
    ];
  }
  sliders.bias = stage.slider({ label: "bias θ", min: -2, max: 2, step: 0.01, value: state.bias, format: show, change: (bias) => set({ bias }, true) });
  stage.slider({ label: "radius of the ball", min: 0.05, max: 1, step: 0.01, value: state.radius, format: show, change: (radius) => set({ radius }, true) });

  function set(change, bySlider = false) {
    Object.assign(state, change);
    const seen = look(state), after = look(step(state, STEP));
    if (!bySlider) {
      for (const name of ["w", "x"]) {
        sliders[name][0].set(Math.hypot(...state[name]));
        sliders[name][1].set(degrees(state[name]));
      }
      sliders.bias.set(state.bias);
    }
    output.set(`${show(seen.low)}, ${show(seen.high)}`);
    ratio.set(show((seen.high - seen.low) / (2 * state.radius)));
    const rests = seen.sensitivity >= 1; // at its target
    terms.set(rests ? "0, it rests" : (after.sensitivity > seen.sensitivity ? "+" : "") + show(after.sensitivity - seen.sensitivity, 3));
    salButton.button.disabled = rests;
    drawing.redraw();
  }

  /* Dragging. A finger that does not touch w or x scrolls the page, as everywhere. */
  const canvas = drawing.canvas;
  let held = null;
  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const near = (event) => {
    const [x, y] = place(event), away = (name) => Math.hypot(plane.x(state[name][0]) - x, plane.y(state[name][1]) - y);
    const name = away("w") < away("x") ? "w" : "x";
    return away(name) < 28 ? name : null;
  };
  canvas.addEventListener("touchstart", (event) => { if (near(event.touches[0])) event.preventDefault(); }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    held = near(event);
    if (held) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) {
      canvas.style.cursor = near(event) ? "grab" : "";
      return;
    }
    const [x, y] = place(event), { box } = plane;
    const found = [((x - box.left) / box.width * 2 - 1) * REACH, (1 - (y - box.top) / box.height * 2) * REACH];
    const longer = Math.max(1, Math.hypot(...found) / LONGEST[held]);
    set({ [held]: found.map((part) => part / longer) });
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
  set({});
});
