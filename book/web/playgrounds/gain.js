/* Gain: one random matrix, multiplied; its eigenvalues, what the network does, and its largest exponents. */
"use strict";

/* ---- The network without input, h' = tanh(g B h). Nothing here knows of the page. ---- */
salnb.models.gain = (() => {
  const FOLLOWED = 20; // how many exponents, by as many tangent vectors
  const normals = (random, count, scale) => Float64Array.from({ length: count }, () => scale * random.normal());

  // base (n, n) ~ N(0, 1 / n) is the matrix at gain 1; it and the state may be given.
  function create({ n = 80, gain = 1, seed = 1, base, state } = {}) {
    const random = salnb.random(seed), k = Math.min(n, FOLLOWED);
    const network = {
      n, k, gain, random, base: Float64Array.from(base || normals(random, n * n, 1 / Math.sqrt(n))),
      state: Float64Array.from(state || normals(random, n, 0.5)),
      tangents: normals(random, k * n, 1), // one vector after the other
      sums: new Float64Array(k), counted: 0, next: new Float64Array(n), moved: new Float64Array(k * n),
    };
    salnb.linear.orthonormalize(network.tangents, k, n);
    return network;
  }

  function setGain(network, gain) {
    network.gain = gain;
    restart(network);
    const size = Math.hypot(...network.state) / Math.sqrt(network.n);
    if (size < 1e-3) { // from silence nothing would ever start again
      for (let i = 0; i < network.n; i++) network.state[i] += 0.05 * network.random.normal();
    }
  }

  function restart(network) {
    network.sums.fill(0);
    network.counted = 0;
  }

  // One step of the state and of the tangent vectors, which are made orthonormal again; -> the logs of their lengths (k).
  function step(network) {
    const { n, k, gain, base, state, next, tangents, moved } = network;
    for (let i = 0; i < n; i++) {
      const row = base.subarray(i * n, (i + 1) * n);
      let u = 0;
      for (let j = 0; j < n; j++) u += row[j] * state[j];
      const h = Math.tanh(gain * u), slope = gain * (1 - h * h);
      next[i] = Math.abs(h) < 1e-150 ? 0 : h; // numbers still smaller would make the processor slow
      for (let vector = 0; vector < k; vector++) {
        let t = 0;
        for (let j = 0, l = vector * n; j < n; j++, l++) t += row[j] * tangents[l];
        moved[vector * n + i] = slope * t;
      }
    }
    state.set(next);
    tangents.set(moved);
    const logs = salnb.linear.orthonormalize(tangents, k, n).map(Math.log);
    for (let i = 0; i < k; i++) network.sums[i] += logs[i];
    network.counted++;
    return logs;
  }

  // The exponents so far, the largest first.
  const exponents = ({ sums, counted }) => sums.map((sum) => sum / Math.max(1, counted)).sort().reverse();

  return { FOLLOWED, create, setGain, restart, step, exponents };
})();

/* ---- What is shown of it. ---- */
salnb.playground("gain", (stage) => {
  const { create, setGain, restart, step, exponents } = salnb.models.gain;
  const PACE = 0.12, SHOWN = 100, TRACES = 8, SETTLE = 60; // steps a millisecond; steps and neurons drawn; steps not counted
  const settings = { n: 80, gain: 2, seed: 1 }, model = stage.model = { settings };
  let debt = 0;

  function begin() {
    const { n, gain, seed } = settings, network = create({ n, gain, seed });
    Object.assign(model, { network, eigenvalues: salnb.linear.eigenvalues(network.base, n), traces: [], since: 0 });
    const { re, im } = model.eigenvalues;
    model.radius = Math.max(...re.map((x, i) => Math.hypot(x, im[i])));
    for (let t = 0; t < SHOWN; t++) advance();
  }

  function advance() {
    step(model.network);
    if (++model.since === SETTLE) restart(model.network);
    model.traces.push(model.network.state.slice(0, TRACES));
    if (model.traces.length > SHOWN) model.traces.shift();
  }

  const signed = (number) => (Math.abs(number) < 0.005 ? "0.00" : number.toFixed(2).replace("-", "−"));
  function say() {
    lengthNumber.set(signed(Math.log(settings.gain * model.radius)));
    exponentNumber.set(signed(exponents(model.network)[0]));
    activityNumber.set((Math.hypot(...model.network.state) / Math.sqrt(settings.n)).toFixed(3));
  }

  function drawDisc(context, box, ink) {
    const { label } = salnb.plot, { re, im } = model.eigenvalues, { gain } = settings;
    const size = Math.min(box.width, box.height), scale = size / 2 / Math.max(1.35, gain * 1.2);
    const x = box.left + box.width / 2, y = box.top + box.height / 2;
    const circle = (radius, color, dash) => {
      context.setLineDash(dash);
      Object.assign(context, { strokeStyle: color, lineWidth: 1.5 });
      context.beginPath();
      context.arc(x, y, radius * scale, 0, 2 * Math.PI);
      context.stroke();
      context.setLineDash([]);
    };
    context.fillStyle = ink.rule;
    context.fillRect(box.left, y - 0.5, box.width, 1);
    context.fillRect(x - 0.5, box.top, 1, box.height);
    circle(1, ink.text, []);
    circle(gain, ink.neutral, [4, 4]);
    for (let i = 0; i < re.length; i++) {
      const outside = gain * Math.hypot(re[i], im[i]) > 1;
      context.fillStyle = outside ? ink.text : ink.neutral;
      context.beginPath();
      context.arc(x + gain * re[i] * scale, y - gain * im[i] * scale, outside ? 3.4 : 2.4, 0, 2 * Math.PI);
      context.fill();
    }
    label(context, "Eigenvalues of W", box.left, box.top - 9, ink, { size: 13, bold: true });
    label(context, "1", x + scale + 4, y - 5, ink, { color: ink.text });
  }

  function drawTraces(context, box, ink) {
    const { line, label } = salnb.plot, row = box.height / TRACES, { traces } = model;
    label(context, `${TRACES} neurons, ${SHOWN} steps`, box.left, box.top - 9, ink, { size: 13, bold: true });
    for (let i = 0; i < TRACES; i++) {
      const middle = box.top + row * (i + 0.5);
      context.fillStyle = ink.rule;
      context.fillRect(box.left, Math.round(middle), box.width, 1);
      line(context, 0, traces.length, (t) => box.left + (t / (SHOWN - 1)) * box.width,
           (t) => middle - 0.48 * row * traces[t][i], { color: ink.activity, width: 1.6 });
    }
  }

  function drawExponents(context, box, ink) {
    const { axes, line, label } = salnb.plot, found = exponents(model.network);
    const low = [-1, -2].find((limit) => found[found.length - 1] > limit) || -4;
    const at = axes(context, box, ink, {
      x: [0, found.length + 1], y: [low, 0.5], yTicks: salnb.plot.ticks(low, 0.5, 4), xTicks: [1, 5, 10, 15, 20].filter((i) => i <= found.length),
      title: `The ${found.length} largest exponents`, xLabel: "in order of size",
    });
    line(context, 0, 2, (i) => box.left + i * box.width, () => at.y(0), { color: ink.text, width: 1.5 });
    label(context, "edge of chaos", box.left + box.width, at.y(0) - 9, ink, { align: "right" });
    found.forEach((value, i) => {
      context.fillStyle = ink.exponent;
      context.globalAlpha = value < low ? 0.35 : 1; // below the picture: paler, on its lower edge
      context.beginPath();
      context.arc(at.x(i + 1), at.y(Math.max(low, Math.min(0.5, value))), 3.6, 0, 2 * Math.PI);
      context.fill();
      context.globalAlpha = 1;
    });
  }

  const drawing = stage.drawing({
    label: () => `Gain ${settings.gain}: eigenvalues in a disc of radius ${settings.gain} about 0; the largest exponent is ` +
      `${signed(exponents(model.network)[0])}.`,
    ratio: (width) => (width < 560 ? 690 / width : 278 / width),
    draw(context, width, height, ink) {
      if (width < 560) {
        drawDisc(context, { left: 0, top: 26, width, height: 210 }, ink);
        drawTraces(context, { left: 0, top: 276, width, height: 150 }, ink);
        drawExponents(context, { left: 30, top: 466, width: width - 34, height: 180 }, ink);
      } else {
        const third = Math.round((width - 80) / 3);
        drawDisc(context, { left: 0, top: 28, width: third, height: 206 }, ink);
        drawTraces(context, { left: third + 24, top: 28, width: third, height: 206 }, ink);
        drawExponents(context, { left: width - third, top: 28, width: third - 4, height: 206 }, ink);
      }
      say();
    },
  });

  const lengthNumber = stage.number({ label: "ln of the largest |eigenvalue|" });
  const exponentNumber = stage.number({ label: "maximum exponent", color: "exponent" });
  const activityNumber = stage.number({ label: "size of the activity", color: "activity" });
  stage.slider({ label: "gain", min: 0.05, max: 3, step: 0.05, value: settings.gain, format: (gain) => gain.toFixed(2),
                 change(gain) { settings.gain = gain; model.since = 0; setGain(model.network, gain); drawing.redraw(); } });
  stage.slider({ label: "neurons", min: 10, max: 100, step: 10, value: settings.n,
                 change(n) { settings.n = n; begin(); drawing.redraw(); } });
  model.frame = (milliseconds) => {
    debt += milliseconds * PACE;
    if (debt < 1) return;
    for (; debt >= 1; debt--) advance();
    drawing.redraw();
  };
  stage.loop(model.frame);
  stage.button({ label: "New network", press() { settings.seed++; begin(); drawing.redraw(); } });
  model.pose = () => { for (let t = 0; t < 600; t++) advance(); drawing.redraw(); }; // for the still
  begin();
});
