/* Gradients through depth: 300 layers of 16 tanh neurons that learn the parity of three bits, with and without SAL. */
(function () {
  "use strict";
  const model = salnb.deep;
  salnb.models.gradient_depth = model;

  const QUIET = 10, REST = 0.05, GUESSING = Math.log(2), BUDGET = 8; // passes, share of neurons, nats, milliseconds a frame
  const WAIT = 30; // frames, then SAL begins by itself if nobody has touched anything
  const raised = (n) => String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
  const signed = (x, digits) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(digits)}`;
  const power = (x) => {
    if (!(x > 0)) return "0";
    const [digits, exponent] = x.toExponential(1).split("e");
    return `${digits}·10${raised(Number(exponent))}`;
  };
  const decades = (values) => Float64Array.from(values, (x) => Math.log10(Math.max(x, 1e-300)));

  salnb.playground("gradient_depth", (stage) => {
    const live = { gain: 0.5, seed: 1, rate: 1e-4, salRate: 1e-2, sal: false, train: false, data: model.parity() };
    stage.model = live;
    let untouched = true, frames = 0;
    stage.div.addEventListener("pointerdown", () => { untouched = false; });
    stage.div.addEventListener("keydown", () => { untouched = false; });

    function look() {
      const net = live.net;
      Object.assign(live, { activity: decades(model.activity(net)), gradient: decades(net.sizes), local: model.logSensitivity(net) });
    }
    function renew() {
      live.net = model.create({ gain: live.gain, seed: live.seed });
      Object.assign(live, { quiet: 0, running: GUESSING, found: model.pass(live.net, live.data) });
      look();
      live.start = { activity: live.activity, gradient: live.gradient };
      show();
    }
    /* One pass over the eight patterns, and what follows from it. Beside learning SAL acts as in the book's recipe: in steps
       whose loss is above half of that of guessing, at a tenth of its rate. */
    function advance() {
      const { net, data } = live;
      if (live.train) {
        live.found = model.pass(net, data);
        model.adam(net, live.rate);
        live.running = 0.9 * live.running + 0.1 * live.found.loss;
        if (live.sal && live.running > GUESSING / 2) model.sal(net, { rate: live.salRate / 10 });
      } else if (live.sal && live.quiet < QUIET) {
        model.forward(net, data);
        live.quiet = model.sal(net, { rate: live.salRate }).below < REST ? live.quiet + 1 : 0;
      } else return false;
      return true;
    }
    function frame() {
      if (untouched && ++frames === WAIT) setSal(true);
      const begin = performance.now();
      let moved = advance();
      // Learning takes as many steps as fit; SAL alone would be over before anyone has seen it.
      while (moved && live.train && performance.now() - begin < BUDGET) advance();
      if (!moved) return;
      if (!live.train) live.found = model.pass(live.net, live.data);
      live.milliseconds = performance.now() - begin;
      look();
      show();
    }

    live.pose = () => { // for the still: SAL has brought every layer to its target
      live.sal = true;
      while (advance());
      live.found = model.pass(live.net, live.data);
      look();
      show();
    };

    const lost = () => signed(live.gradient[0] - live.gradient[live.net.depth - 1], 1);
    const mean = () => signed(live.local.reduce((sum, value) => sum + value) / live.local.length, 2);
    const drawing = stage.drawing({
      label: () => `300 layers of 16 neurons. From the last layer to the first the gradient changes by ${lost()} decades; ` +
        `the mean log-sensitivity is ${mean()} nats. SAL is ${live.sal ? "on" : "off"}.`,
      ratio: (width) => (width < 520 ? 1.25 : 0.62),
      draw: (context, width, height, ink) => paint(context, width, height, ink, live, lost(), mean()),
    });
    const loss = stage.number({ label: "loss (guessing: 0.693)" }), right = stage.number({ label: "right answers" });
    const steps = stage.number({ label: "learning steps" }), salSteps = stage.number({ label: "SAL steps" });
    const reached = stage.number({ label: "learning moves weights by" });
    const salReached = stage.number({ label: "SAL moves weights by" });
    stage.div.append(document.createElement("div")); // the buttons begin a row of their own
    const salButton = stage.button({ label: "Turn SAL on", pressed: false, press: () => setSal(!live.sal) });
    function setSal(on) {
      untouched = false;
      Object.assign(live, { sal: on, quiet: 0 });
      salButton.set({ label: on ? "Turn SAL off" : "Turn SAL on", pressed: on });
    }
    const trainButton = stage.button({ label: "Learn parity", pressed: false, press() {
      live.train = !live.train;
      live.quiet = 0;
      trainButton.set({ label: live.train ? "Stop learning" : "Learn parity", pressed: live.train });
    } });
    stage.loop(frame, { step: frame });
    stage.button({ label: "New network", press() { live.seed++; renew(); } });
    stage.slider({ label: "gain", min: 0.4, max: 1.6, step: 0.05, value: live.gain, format: (g) => g.toFixed(2),
                   change(gain) { live.gain = gain; renew(); } });
    const exponent = (e) => power(10 ** e);
    stage.slider({ label: "learning rate", min: -5, max: -2, step: 0.25, value: Math.log10(live.rate), format: exponent,
                   change(e) { live.rate = 10 ** e; show(); } });
    stage.slider({ label: "SAL's rate", min: -3, max: -1, step: 0.25, value: Math.log10(live.salRate), format: exponent,
                   change(e) { live.salRate = 10 ** e; live.quiet = 0; show(); } });

    function show() {
      const { net, found } = live;
      loss.set(found.loss.toFixed(3));
      right.set(`${Math.round(found.accuracy * live.data.samples)} of ${live.data.samples}`);
      steps.set(String(net.steps));
      salSteps.set(String(net.salSteps));
      reached.set(power(live.rate * model.adamLength(net)));
      salReached.set(power(live.salRate * model.sal(net, { look: true }).length));
      drawing.redraw();
    }
    renew();
  });

  function paint(context, width, height, ink, live, lost, mean) {
    const { label, axes, line } = salnb.plot, depth = live.net.depth, narrow = width < 520;
    const above = narrow ? 72 : 40, gap = 58, below = 36, left = 46, inner = width - left - 16;
    const upper = Math.round((height - above - gap - below) * 0.68), lower = height - above - gap - below - upper;
    const all = [live.activity, live.gradient, live.start.activity, live.start.gradient];
    let low = Math.min(0, ...all.map((a) => Math.min(...a))), high = Math.max(0, ...all.map((a) => Math.max(...a)));
    const unit = high - low > 60 ? 20 : high - low > 25 ? 10 : 5;
    low = Math.floor(low / unit) * unit;
    high = Math.max(unit, Math.ceil(high / unit) * unit);
    const ticks = [];
    for (let d = low; d <= high; d += unit) ticks.push([d, d ? `10${raised(d)}` : "1"]);
    const bold = { size: 13, bold: true }, words = [
      ["size of the activity →", { ...bold, color: ink.activity }],
      [`← size of the gradient (${lost} decades)`, { ...bold, color: ink.gradient }],
      ["dashed: at the start", { color: ink.neutral, size: 12 }],
    ];
    let across = narrow ? 0 : left;
    words.forEach(([text, style], i) => {
      label(context, text, narrow ? 0 : across, narrow ? 14 + 18 * i : 16, ink, style);
      across += context.measureText(text).width + 22;
    });
    const box = { left, top: above, width: inner, height: upper };
    const x = [1, depth], xTicks = [1, 100, 200, 300];
    const float32 = Math.log10(2 ** -126);
    if (low < float32) {
      const top = above + upper * (high - float32) / (high - low);
      Object.assign(context, { fillStyle: ink.rule, globalAlpha: 0.45 });
      context.fillRect(left, top, inner, above + upper - top);
      context.globalAlpha = 1;
    }
    const at = axes(context, box, ink, { x, y: [low, high], yTicks: ticks, xTicks });
    if (low < float32) {
      label(context, "too small for float32", left + inner / 2, above + upper - 8, ink, { color: ink.neutral, align: "center" });
    }
    const place = (i) => at.x(i + 1);
    for (const [key, color] of [["activity", ink.activity], ["gradient", ink.gradient]]) {
      line(context, 0, depth, place, (i) => at.y(live.start[key][i]), { color, width: 1.3, dash: [5, 4] });
      line(context, 0, depth, place, (i) => at.y(live[key][i]), { color, width: 2.2 });
    }
    const second = { left, top: above + upper + gap, width: inner, height: lower };
    const yTicks = [[-1, "−1"], [-0.5, "−0.5"], [0, "0"], [0.5, "+0.5"]];
    const to = axes(context, second, ink, { x, y: [-1, 0.5], xTicks, yTicks, xLabel: "layer" });
    label(context, `log-sensitivity of each layer, mean ${mean} nats`, narrow ? 0 : left, second.top - 12, ink, { ...bold, color: ink.sensitivity });
    Object.assign(context, { strokeStyle: ink.neutral, lineWidth: 1.2 });
    context.beginPath();
    context.moveTo(left, to.y(0));
    context.lineTo(left + inner, to.y(0));
    context.stroke();
    line(context, 0, depth - 1, (i) => to.x(i + 2), (i) => to.y(Math.max(-1, Math.min(0.5, live.local[i]))),
         { color: ink.sensitivity, width: 1.6 });
  }
})();
