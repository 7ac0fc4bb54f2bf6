/* Edge of chaos: a recurrent network of tanh neurons, live, with SAL to turn on and off. */
"use strict";

/* ---- The network and the rule. Nothing here knows of the page, so that the tests can compare it with salnb. ---- */
salnb.models.edge_of_chaos = (() => {
  // Steps in a pass, memory of the running average of sensitivities, and over how many steps the two traces average.
  const PASS = 5, DECAY = 0.9, WINDOW = 100;
  // A pair of runs starts APART from each other and is followed for LIFE steps, or until rounding would rule the distance.
  const APART = 1e-6, LIFE = 100, LOST = 1e-13;

  const normals = (random, count, scale) => Float64Array.from({ length: count }, () => scale * random.normal());
  const length = (vector) => Math.sqrt(vector.reduce((sum, number) => sum + number * number, 0));

  // Weights (n, n) ~ N(0, gain² / n) and one noisy input with weights ~ N(0, 1); any of them may be given instead.
  function create({ n = 100, gain = 0.1, seed = 1, weight, bias, inputWeight, state } = {}) {
    const random = salnb.random(seed), base = weight ? null : normals(random, n * n, 1 / Math.sqrt(n));
    const network = {
      n, gain, base, weight: Float64Array.from(weight || base.map((number) => gain * number)),
      bias: Float64Array.from(bias || new Float64Array(n)),
      inputWeight: Float64Array.from(inputWeight || normals(random, n, 1)),
      state: Float64Array.from(state || normals(random, n, 0.1)),
      tangent: normals(random, n, 1 / Math.sqrt(n)),
      twin: new Float64Array(n), norm: new Float64Array(n), slope: new Float64Array(n),
      inputs: Array.from({ length: PASS }, () => new Float64Array(n)), // of this pass, as the recurrent weights read them
      outputs: Array.from({ length: PASS }, () => new Float64Array(n)),
      samples: 0, average: null, random, next: [0, 1, 2].map(() => new Float64Array(n)),
    };
    measureRows(network);
    separate(network);
    return network;
  }

  function measureRows({ n, weight, norm }) {
    for (let i = 0; i < n; i++) {
      let square = 0;
      for (let l = i * n; l < (i + 1) * n; l++) square += weight[l] * weight[l];
      norm[i] = Math.sqrt(square);
    }
  }

  // The same random numbers with another gain: what SAL has changed is gone, and the state starts anew.
  function setGain(network, gain) {
    network.gain = gain;
    network.weight.set(network.base.map((number) => gain * number));
    network.bias.fill(0);
    network.state.set(normals(network.random, network.n, 0.1));
    network.average = null;
    network.samples = 0;
    measureRows(network);
    separate(network);
  }

  // Puts the second run beside the first again, in a random direction.
  function separate({ n, state, twin, random }) {
    const direction = normals(random, n, 1), scale = APART / length(direction);
    for (let i = 0; i < n; i++) twin[i] = state[i] + scale * direction[i];
  }

  // One step of h' = tanh(W h + b + drive), of the second run, and of one tangent vector, which is brought back to length 1.
  // -> {growth: log of its length, square: mean over the neurons of s² with s = (1 - h'²) ‖w‖, distance of the two runs}
  function step(network, drive = 0) {
    const { n, weight, bias, inputWeight, state, twin, tangent, norm, slope } = network;
    const [newState, newTwin, newTangent] = network.next;
    if (network.samples === PASS) network.samples = 0; // nobody has used the pass
    network.inputs[network.samples].set(state);
    let square = 0, distance = 0, stretch = 0;
    for (let i = 0, l = 0; i < n; i++) {
      let u = bias[i] + inputWeight[i] * drive, v = u, t = 0;
      for (let j = 0; j < n; j++, l++) {
        u += weight[l] * state[j];
        v += weight[l] * twin[j];
        t += weight[l] * tangent[j];
      }
      const h = Math.tanh(u);
      newState[i] = Math.abs(h) < 1e-150 ? 0 : h; // numbers still smaller would make the processor slow
      newTwin[i] = Math.tanh(v);
      slope[i] = 1 - h * h;
      newTangent[i] = slope[i] * t;
      square += (slope[i] * norm[i]) ** 2;
      distance += (newTwin[i] - newState[i]) ** 2;
      stretch += newTangent[i] ** 2;
    }
    stretch = Math.sqrt(stretch);
    for (let i = 0; i < n; i++) newTangent[i] /= stretch;
    state.set(newState);
    twin.set(newTwin);
    tangent.set(newTangent);
    network.outputs[network.samples++].set(state);
    return { growth: Math.log(stretch), square: square / n, distance: Math.sqrt(distance) };
  }

  // SAL's change after a pass: each neuron below the target moves along the gradient of its own mean sensitivity.
  function adjust(network, { rate, target, rule, decay = DECAY }) {
    const { n, weight, bias, norm, inputs, outputs, samples } = network, old = network.average;
    network.average = old || new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let slope = 0, curvature = 0; // means over the pass of f' and f''
      for (let s = 0; s < samples; s++) {
        const h = outputs[s][i];
        slope += (1 - h * h) / samples;
        curvature -= 2 * h * (1 - h * h) / samples;
      }
      const observed = norm[i] * slope, average = old ? decay * old[i] + (1 - decay) * observed : observed;
      network.average[i] = average;
      const amount = rate * (rule === "proportional" ? target - average : Number(average < target));
      if (amount === 0) continue;
      const stretch = 1 + amount * slope / (norm[i] || 1), row = weight.subarray(i * n, (i + 1) * n);
      for (let j = 0; j < n; j++) row[j] *= stretch;
      for (let s = 0; s < samples; s++) {
        const h = outputs[s][i], share = -amount * norm[i] * 2 * h * (1 - h * h) / samples, input = inputs[s];
        for (let j = 0; j < n; j++) row[j] += share * input[j];
      }
      bias[i] += amount * norm[i] * curvature;
    }
    network.samples = 0;
    measureRows(network);
  }

  // The neurons in the order of their phase in the mode that fades last once all rows of weights are equally long, which is
  // where SAL leads. Waves in the network are then waves in the picture.
  function phaseOrder({ n, weight, norm }) {
    const apply = (vector) => Float64Array.from(vector, (_, i) => {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += weight[i * n + j] * vector[j];
      return sum / (norm[i] || 1);
    });
    const dot = (a, b) => a.reduce((sum, number, i) => sum + number * b[i], 0);
    let a = Float64Array.from({ length: n }, (_, i) => Math.cos(i)), b = a.map((_, i) => Math.sin(i * i)), c, d;
    for (let turn = 0; turn < 200; turn++) { // a and b come to span the two leading modes
      const size = length(a = apply(a));
      a = a.map((number) => number / size);
      b = apply(b);
      const share = dot(a, b);
      b = b.map((number, i) => number - share * a[i]);
      const rest = length(b);
      b = b.map((number) => number / rest);
    }
    c = apply(a);
    d = apply(b);
    // In this plane the matrix is [[p, q], [r, s]]; its complex eigenvector (q, λ − p) gives each neuron a phase.
    const p = dot(a, c), q = dot(a, d), r = dot(b, c), s = dot(b, d), root = ((p - s) / 2) ** 2 + q * r;
    const phase = a.map((number, i) => Math.atan2(root < 0 ? b[i] * Math.sqrt(-root) : b[i],
                                                  root < 0 ? q * number + ((s - p) / 2) * b[i] : number));
    return Array.from({ length: n }, (_, i) => i).sort((i, j) => phase[i] - phase[j]);
  }

  return { PASS, DECAY, WINDOW, APART, LIFE, LOST, create, setGain, separate, step, adjust, phaseOrder };
})();

/* ---- What is shown of it. ---- */
salnb.playground("edge_of_chaos", (stage) => {
  const { PASS, WINDOW, LIFE, LOST, APART, create, setGain, separate, step, adjust, phaseOrder } = salnb.models.edge_of_chaos;
  const PACE = 0.12; // steps a millisecond: two a frame
  const SHOWN = 1500, COLUMNS = 1024; // passes in the traces, steps in the raster
  const LOW = -3.3, HIGH = 0.7; // of the traces
  const settings = { n: 100, gain: 0.1, seed: 10, input: 0.01, rate: 0.004, target: 1, rule: "one_sided", sal: false };
  const model = stage.model = { settings };
  let untouched = true, debt = 0; // debt: steps that the time which has passed is worth

  function begin() {
    const { n, gain, seed } = settings, network = create({ n, gain, seed });
    Object.assign(model, {
      network, order: phaseOrder(network), noise: salnb.random(seed + 1e6), steps: 0, column: 0,
      raster: new Uint8Array(COLUMNS * n), growths: new Float64Array(WINDOW), squares: new Float64Array(WINDOW),
      sensitivity: [], exponent: [], marks: settings.sal ? [[0, "SAL on"]] : [], pairs: [[Math.log10(APART)]],
      first: null, // the first pair stays in the picture, to compare with
    });
    settle();
  }

  // An average needs a window of steps of the network as it is now.
  function settle() {
    for (let t = 0; t < WINDOW; t++) advance(true);
  }

  function advance(unseen = false) {
    const { network } = model, { growth, square, distance } = step(network, settings.input * model.noise.normal());
    const slot = model.steps++ % WINDOW, pair = model.pairs[model.pairs.length - 1];
    model.growths[slot] = growth;
    model.squares[slot] = square;
    const column = (model.steps % COLUMNS) * network.n;
    for (let i = 0; i < network.n; i++) { // a root makes small activities visible
      const activity = network.state[model.order[i]], strength = Math.min(1, Math.abs(activity) / 0.5) ** 0.7;
      model.raster[column + i] = 128 + Math.round(127 * Math.sign(activity) * strength);
    }
    pair.push(Math.log10(distance));
    if (distance < LOST || pair.length > LIFE) {
      separate(network);
      if (!model.first) model.first = pair;
      model.pairs.push([Math.log10(APART)]);
      if (model.pairs.length > 7) model.pairs.shift();
    }
    if (unseen || model.steps % PASS) return;
    const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / WINDOW;
    model.sensitivity.push(0.5 * Math.log(mean(model.squares)));
    model.exponent.push(mean(model.growths));
    if (settings.sal) adjust(network, settings);
    if (untouched && model.sensitivity.length === 60) setSal(true);
  }

  function setSal(on) {
    settings.sal = on;
    model.network.average = null;
    model.marks.push([model.sensitivity.length, on ? "SAL on" : "off"]);
    salButton.set({ label: on ? "Turn SAL off" : "Turn SAL on", pressed: on });
  }

  /* The drawing: raster above, the two traces and the pair of runs below. */
  const picture = document.createElement("canvas");
  let palette = null;
  const signed = (number) => (Object.is(Math.round(number * 100), -0) ? "0.00" : number.toFixed(2)).replace("-", "−");
  const latest = (numbers) => (numbers.length ? numbers[numbers.length - 1] : NaN);

  function colors(ink) { // from grey (−1) over the paper (0) to purple (+1), as numbers that an image takes
    const key = ink.paper + ink.activity;
    if (palette && palette.key === key) return palette.words;
    const dot = Object.assign(document.createElement("canvas"), { width: 256, height: 1 });
    const context = dot.getContext("2d"), blend = context.createLinearGradient(0, 0, 256, 0);
    blend.addColorStop(0, ink.neutral);
    blend.addColorStop(0.5, ink.paper);
    blend.addColorStop(1, ink.activity);
    context.fillStyle = blend;
    context.fillRect(0, 0, 256, 1);
    palette = { key, strip: dot, words: new Uint32Array(context.getImageData(0, 0, 256, 1).data.buffer) };
    return palette.words;
  }

  function drawRaster(context, box, ink) {
    const { n } = model.network, count = Math.min(COLUMNS, Math.round(box.width / 2)), words = colors(ink);
    if (picture.width !== count || picture.height !== n) Object.assign(picture, { width: count, height: n });
    const image = picture.getContext("2d").createImageData(count, n), pixels = new Uint32Array(image.data.buffer);
    for (let x = 0; x < count; x++) {
      const age = count - 1 - x, known = age < model.steps;
      const column = ((model.steps - age + COLUMNS) % COLUMNS) * n;
      for (let i = 0; i < n; i++) pixels[i * count + x] = words[known ? model.raster[column + i] : 128];
    }
    picture.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = box.height % n > 0; // a neuron's row is sharp where it is so many whole pixels
    context.drawImage(picture, box.left, box.top, box.width, box.height);
    Object.assign(context, { strokeStyle: ink.rule, lineWidth: 1 });
    context.strokeRect(box.left + 0.5, box.top + 0.5, box.width - 1, box.height - 1);
    salnb.plot.label(context, `${n} neurons, the last ${count} steps`, box.left, box.top - 9, ink, { size: 13, bold: true });
    const right = box.left + box.width, key = { color: ink.neutral, align: "right" }; // what the colours mean
    salnb.plot.label(context, "1", right, box.top - 9, ink, key);
    context.imageSmoothingEnabled = true;
    context.drawImage(palette.strip, right - 64, box.top - 18, 54, 10);
    salnb.plot.label(context, "activity  −1", right - 70, box.top - 9, ink, key);
  }

  function drawTraces(context, box, ink) {
    const { line, label, axes, ticks } = salnb.plot, done = model.sensitivity.length;
    const from = Math.max(0, done - SHOWN), to = Math.max(from + 300, done);
    const at = axes(context, box, ink, {
      x: [from, to], y: [LOW, HIGH], xTicks: ticks(from, to, 4), yTicks: [-3, -2, -1, 0], xLabel: "passes (of 5 steps)",
    });
    let left = box.left;
    for (const [text, color] of [[`log-sensitivity ${signed(latest(model.sensitivity) || 0)}`, ink.sensitivity],
                                 [`exponent ${signed(latest(model.exponent) || 0)}`, ink.exponent]]) {
      label(context, text, left, box.top - 9, ink, { color, size: 13, bold: true });
      left += context.measureText(text).width + 16;
    }
    line(context, 0, 2, (i) => box.left + i * box.width, () => at.y(0), { color: ink.text, width: 1.5 });
    label(context, "edge of chaos", box.left + box.width, at.y(0) - 9, ink, { align: "right" });
    const aim = Math.log(settings.target);
    line(context, 0, 2, (i) => box.left + i * box.width, () => at.y(aim), { color: ink.sensitivity, width: 1, dash: [2, 4] });
    if (Math.abs(aim) > 0.15) {
      label(context, "target", box.left + 4, at.y(aim) - 5, ink, { color: ink.sensitivity });
    }
    for (const [pass, text] of model.marks) {
      if (pass < from) continue;
      line(context, 0, 2, () => at.x(pass), (i) => box.top + i * box.height, { color: ink.neutral, width: 1, dash: [3, 3] });
      label(context, text, at.x(pass) + 5, box.top + box.height - 5, ink, { color: ink.neutral });
    }
    const height = (value) => at.y(Math.max(LOW, Math.min(HIGH, value)));
    line(context, from, done, at.x, (i) => height(model.sensitivity[i]), { color: ink.sensitivity, width: 5 });
    line(context, from, done, at.x, (i) => height(model.exponent[i]), { color: ink.exponent, width: 1.8 });
  }

  function drawPair(context, box, ink) {
    const { line, label, axes } = salnb.plot, rate = latest(model.exponent) / Math.LN10;
    const at = axes(context, box, ink, {
      x: [0, LIFE], y: [-13, 2], xTicks: [0, 50, 100], yTicks: [[-12, "10⁻¹²"], [-6, "10⁻⁶"], [0, "1"]], xLabel: "steps later",
      title: "Two runs that began 10⁻⁶ apart",
    });
    const bounded = (value) => (value < -13 || value > 2 ? NaN : at.y(value));
    line(context, 0, LIFE + 1, at.x, (t) => bounded(-6 + rate * t), { color: ink.exponent, width: 1.5, dash: [5, 4] });
    const before = model.first;
    if (before && model.sensitivity.length) {
      const end = before.length - 1;
      line(context, 0, end + 1, at.x, (t) => at.y(Math.max(-13, before[t])), { color: ink.neutral, width: 1.2, dash: [2, 3] });
      label(context, "at the start", at.x(end) + (end > 60 ? -4 : 6), at.y(Math.max(-12.6, before[end])), ink,
            { color: ink.neutral, align: end > 60 ? "right" : "left" });
    }
    model.pairs.forEach((pair, index) => {
      const now = index === model.pairs.length - 1;
      line(context, 0, pair.length, at.x, (t) => at.y(Math.max(-13, pair[t])),
           { color: now ? ink.text : ink.neutral, width: now ? 2.2 : 1.2, alpha: now ? 1 : 0.25 + 0.08 * index });
    });
    const rises = rate > 0.015; // the words stand where the lines do not
    label(context, "slope: the exponent", box.left + box.width, at.y(rises ? -8.6 : -3.6), ink, { color: ink.exponent, align: "right" });
  }

  const drawing = stage.drawing({
    label: () => `Activity of ${settings.n} neurons over time. Log-sensitivity is ${signed(latest(model.sensitivity) || 0)}, the ` +
      `maximum exponent ${signed(latest(model.exponent) || 0)}; 0 is the edge of chaos. SAL is ${settings.sal ? "on" : "off"}.`,
    ratio: (width) => (width < 560 ? 620 / width : 514 / width),
    draw(context, width, height, ink) {
      const narrow = width < 560, left = 34;
      drawRaster(context, { left: 0, top: 24, width, height: narrow ? 130 : 200 }, ink);
      if (narrow) {
        drawTraces(context, { left, top: 190, width: width - left - 12, height: 180 }, ink);
        drawPair(context, { left: 44, top: 440, width: width - 56, height: 140 }, ink);
      } else {
        const share = Math.round(width * 0.58);
        drawTraces(context, { left, top: 266, width: share - left, height: 212 }, ink);
        drawPair(context, { left: share + 66, top: 266, width: width - share - 78, height: 212 }, ink);
      }
    },
  });

  const touch = (change) => (value) => { untouched = false; change(value); drawing.redraw(); };
  const salButton = stage.button({ label: "Turn SAL on", pressed: false, press: touch(() => setSal(!settings.sal)) });
  model.frame = (milliseconds) => {
    debt += milliseconds * PACE;
    if (debt < 1) return;
    for (; debt >= 1; debt--) advance();
    drawing.redraw();
  };
  stage.loop(model.frame, { step: () => { for (let t = 0; t < PASS; t++) advance(); drawing.redraw(); } });
  stage.button({ label: "New network", press: touch(() => { settings.seed++; begin(); }) });
  stage.choice({ label: "rule", options: [["one_sided", "one-sided"], ["proportional", "proportional"]], value: settings.rule,
                 change: touch((rule) => { settings.rule = rule; }) });
  const two = (value) => value.toFixed(2);
  stage.slider({ label: "gain", min: 0.05, max: 3, step: 0.05, value: settings.gain, format: two,
                 change: touch((gain) => {
                   settings.gain = gain;
                   setGain(model.network, gain);
                   model.pairs = [[Math.log10(APART)]];
                   settle();
                 }) });
  stage.slider({ label: "neurons", min: 10, max: 200, step: 10, value: settings.n,
                 change: touch((n) => { settings.n = n; begin(); }) });
  stage.slider({ label: "target", min: 0.2, max: 2, step: 0.05, value: settings.target, format: two,
                 change: touch((target) => { settings.target = target; }) });
  stage.slider({ label: "SAL's rate", min: -4, max: -1.5, step: 0.1, value: Math.log10(settings.rate),
                 format: (power) => (10 ** power).toPrecision(2),
                 change: touch((power) => { settings.rate = 10 ** power; }) });
  stage.slider({ label: "input", min: 0, max: 0.5, step: 0.01, value: settings.input, format: two,
                 change: touch((input) => { settings.input = input; }) });
  model.pose = () => { while (model.sensitivity.length < 420) advance(); drawing.redraw(); }; // for the still
  begin();
});
