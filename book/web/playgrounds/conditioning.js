/* Conditioning: the singular values of a product of Jacobians against depth, for Gaussian and orthogonal weights and after SAL. */
"use strict";
salnb.models.conditioning = (() => {
  const { create, forward, sal } = salnb.deep, SAMPLES = 8;
  const PASSES = 30, RATE = 0.2; // of SAL: a neuron's distance to its target falls by about a fifth a pass

  /* depth layers of n tanh neurons after a first one that reads random inputs, and its states for these.
     kind: "gaussian" with this gain, "sal", the same network after SAL, or "orthogonal" with gain 1. */
  function network({ n, depth, gain, kind, seed }) {
    const net = create({ depth: depth + 1, width: n, inputs: n, outputs: 1, gain: kind === "orthogonal" ? 1 : gain, bias: 0, seed });
    const random = salnb.random(seed + 1000), data = { samples: SAMPLES };
    data.inputs = Float64Array.from({ length: n * SAMPLES }, () => random.normal());
    if (kind === "orthogonal") {
      for (const { weight } of net.layers.slice(1, depth + 1)) {
        net.parameters.set(salnb.linear.qr(net.parameters.slice(weight, weight + n * n), n, n).q, weight);
      }
    }
    forward(net, data);
    for (let pass = 0; pass < (kind === "sal" ? PASSES : 0); pass++) {
      sal(net, { rate: RATE, rule: "proportional", decay: 0 });
      forward(net, data);
    }
    return net;
  }

  /* J = diag(1 - h²) W of every layer but the first, for one of the inputs. */
  function jacobians(net, sample = 0) {
    const n = net.width;
    return net.layers.slice(1, net.depth).map(({ weight }, l) => {
      const found = net.parameters.slice(weight, weight + n * n), h = net.states[l + 2];
      for (let i = 0; i < n; i++) {
        const slope = 1 - h[i * net.samples + sample] ** 2;
        for (let j = 0; j < n; j++) found[i * n + j] *= slope;
      }
      return found;
    });
  }

  /* ln of the singular values of J_1, J_2 J_1, ..., each largest first. After every layer the product is U M: U orthonormal
     vectors, M orthogonal rows, each kept as a row of length 1 and a logarithm, as the rows may lie hundreds of decades apart.
     The next layer gives J U = Q R, and R M is rotated until its rows are orthogonal again, U along with it. No product of the
     Jacobians is ever formed, and small singular values are as exact as large ones. */
  function spectra(chain, n) {
    const { orthonormalize, multiply } = salnb.linear, identity = () => Float64Array.from({ length: n * n }, (_, k) => Number(k % (n + 1) === 0));
    let vectors = identity(), rows = identity(), logs = new Float64Array(n); // a vector, a row: n numbers in a line
    return chain.map((jacobian) => {
      const moved = new Float64Array(n * n), first = new Float64Array(n * n), second = new Float64Array(n * n);
      for (let i = 0; i < n; i++) moved.set(multiply(jacobian, vectors.subarray(i * n, i * n + n), n, n, 1), i * n);
      orthonormalize(moved, n, n, first);
      orthonormalize(moved, n, n, second); // once more, as the first time leaves what a badly conditioned layer makes of rounding
      [rows, logs] = graded(multiply(second, first, n, n, n), rows, logs, n);
      vectors = moved;
      rotate(vectors, rows, logs, n);
      const order = [...logs.keys()].sort((a, b) => logs[b] - logs[a]), sorted = (lines) => {
        const found = new Float64Array(n * n);
        order.forEach((from, to) => found.set(lines.subarray(from * n, from * n + n), to * n));
        return found;
      };
      [vectors, rows, logs] = [sorted(vectors), sorted(rows), logs.slice().sort().reverse()];
      return logs.slice();
    });
  }

  /* A triangle times the rows, each new row at the scale of the largest one that goes into it. */
  function graded(triangle, rows, logs, n) {
    const found = new Float64Array(n * n), lengths = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let scale = -Infinity;
      for (let j = i; j < n; j++) if (triangle[i * n + j]) scale = Math.max(scale, logs[j]);
      for (let j = i; j < n; j++) {
        const factor = triangle[i * n + j] * Math.exp(logs[j] - scale);
        for (let k = 0; factor && k < n; k++) found[i * n + k] += factor * rows[j * n + k];
      }
      lengths[i] = scale + normalize(found, i, n);
    }
    return [found, lengths];
  }

  function normalize(rows, i, n) {
    let squares = 0;
    for (let k = i * n; k < i * n + n; k++) squares += rows[k] * rows[k];
    const length = Math.sqrt(squares);
    for (let k = i * n; length > 0 && k < i * n + n; k++) rows[k] /= length;
    return Math.log(length);
  }

  /* Jacobi's rotations between pairs of rows, a longer and a shorter one, until all are orthogonal. The tangent of the angle,
     divided by the quotient of the lengths, stays finite however small the quotient is. */
  function rotate(vectors, rows, logs, n) {
    for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
      turned = false;
      for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) {
          let cosine = 0;
          for (let k = 0; k < n; k++) cosine += rows[i * n + k] * rows[j * n + k];
          if (!(Math.abs(cosine) > 4 * n * 2 ** -52)) continue;
          turned = true;
          const [long, short] = logs[i] >= logs[j] ? [i, j] : [j, i], ratio = Math.exp(logs[short] - logs[long]);
          const half = (1 - ratio * ratio) / 2, grown = cosine / (half + Math.hypot(half, cosine * ratio));
          const tangent = grown * ratio, c = 1 / Math.sqrt(1 + tangent * tangent);
          for (let k = 0, a = long * n, b = short * n; k < n; k++, a++, b++) {
            const row = rows[a], vector = vectors[a];
            rows[a] = c * (row + tangent * ratio * rows[b]);
            rows[b] = c * (rows[b] - grown * row);
            vectors[a] = c * (vector + tangent * vectors[b]);
            vectors[b] = c * (vectors[b] - tangent * vector);
          }
          logs[long] += normalize(rows, long, n);
          logs[short] += normalize(rows, short, n);
        }
      }
    }
  }

  /* How many directions are within a factor of ten of the strongest. */
  const directions = (logs) => logs.filter((value) => logs[0] - value < Math.LN10).length;

  /* ln of the root mean square sensitivity, the mean over the layers. */
  function logSensitivity(chain, n) {
    return chain.reduce((sum, jacobian) => sum + 0.5 * Math.log(jacobian.reduce((square, x) => square + x * x, 0) / n), 0) / chain.length;
  }

  return { network, jacobians, spectra, directions, logSensitivity };
})();

/* ---- What is shown of it. ---- */
salnb.playground("conditioning", (stage) => {
  const { network, jacobians, spectra, directions, logSensitivity } = salnb.models.conditioning;
  const DEEPEST = 100, LOW = -16, HIGH = 3; // of the layers; of the axis, in decades
  const KINDS = [["gaussian", "Gaussian", "neutral"], ["sal", "Gaussian + SAL", "sensitivity"], ["orthogonal", "orthogonal", "text"]];
  const state = { n: 16, gain: 0.8, seed: 1, depth: 100 }, known = {};
  stage.model = { state, known };
  const raised = (number) => String(number).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
  const signed = (x) => `${Math.abs(x) < 0.005 ? "" : x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
  const left = (kind) => directions(known[kind].logs[state.depth - 1]);

  function compute() {
    for (const [kind] of KINDS) {
      const gain = kind === "orthogonal" ? 1 : state.gain, key = `${state.n} ${gain} ${state.seed}`;
      if (known[kind] && known[kind].key === key) continue;
      const chain = jacobians(network({ ...state, gain, kind, depth: DEEPEST }));
      known[kind] = { key, logs: spectra(chain, state.n), size: logSensitivity(chain, state.n) };
    }
  }

  function drawPanel(context, box, ink, [kind, name, color], first) {
    const { label, axes, line } = salnb.plot, { logs } = known[kind], decade = (l, i) => logs[l][i] / Math.LN10;
    const at = axes(context, box, ink, {
      x: [0, DEEPEST], y: [LOW, HIGH], xTicks: [50, 100], yTicks: [0, -5, -10, -15].map((d) => [d, first ? (d ? `10${raised(d)}` : "1") : ""]),
    });
    label(context, name, box.left, box.top - 45, ink, { size: 13, bold: true, color: ink[color] });
    label(context, `log-sensitivity ${signed(known[kind].size)}`, box.left, box.top - 27, ink, { size: 12.5, color: ink.sensitivity });
    label(context, `${left(kind)} of ${state.n} directions left`, box.left, box.top - 9, ink, { size: 12.5 });
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width + 4, box.height);
    context.clip();
    context.beginPath(); // a factor of ten below the strongest
    for (let l = 0; l < DEEPEST; l++) context.lineTo(at.x(l + 1), at.y(decade(l, 0)));
    for (let l = DEEPEST - 1; l >= 0; l--) context.lineTo(at.x(l + 1), at.y(decade(l, 0) - 1));
    Object.assign(context, { fillStyle: ink[color], globalAlpha: 0.22 });
    context.fill();
    context.globalAlpha = 1;
    for (let i = 0; i < state.n; i++) {
      line(context, 0, DEEPEST, (l) => at.x(l + 1), (l) => at.y(decade(l, i)), { color: ink[color], width: i ? 1.1 : 2.4 });
    }
    line(context, 0, 2, () => at.x(state.depth), (i) => box.top + i * box.height, { color: ink.text, width: 1.2, dash: [4, 4] });
    for (let i = 0; i < left(kind); i++) {
      context.beginPath();
      context.arc(at.x(state.depth), at.y(decade(state.depth - 1, i)), 3.2, 0, 7);
      context.fillStyle = ink[color];
      context.fill();
    }
    context.restore();
  }

  const drawing = stage.drawing({
    label: () => `Singular values of the product of the Jacobians of 1 to ${DEEPEST} layers of ${state.n} neurons. Within a factor of ten of ` +
      `the strongest at ${state.depth} layers: ${KINDS.map(([kind, name]) => `${name} ${left(kind)}`).join(", ")}.`,
    ratio: (width) => (width < 560 ? 760 / width : 390 / width),
    draw(context, width, height, ink) {
      const narrow = width < 560, start = 42, between = 18;
      KINDS.forEach((kind, k) => {
        const share = narrow ? width - start - 14 : (width - start - 14 - 2 * between) / 3;
        const box = narrow ? { left: start, top: 60 + 248 * k, width: share, height: 162 }
          : { left: start + k * (share + between), top: 60, width: share, height: height - 104 };
        drawPanel(context, box, ink, kind, narrow || !k);
        if (k === 2) {
          salnb.plot.label(context, "layers", box.left + box.width, box.top + box.height + 31, ink, { color: ink.neutral, align: "right" });
        }
      });
    },
  });

  let waiting = false; // a slider may move faster than the networks can be made
  function renew() {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      compute();
      drawing.redraw();
    });
  }
  stage.button({ label: "New networks", press() { state.seed++; compute(); drawing.redraw(); } });
  stage.slider({ label: "layers", min: 1, max: DEEPEST, step: 1, value: state.depth, change(depth) { state.depth = depth; drawing.redraw(); } });
  stage.slider({ label: "gain", min: 0.3, max: 2, step: 0.05, value: state.gain, format: (gain) => gain.toFixed(2),
                 change(gain) { state.gain = gain; renew(); } });
  stage.slider({ label: "neurons", min: 4, max: 24, step: 4, value: state.n, change(n) { state.n = n; renew(); } });
  compute();
});
