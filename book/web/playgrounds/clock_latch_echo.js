/* Clock, latch, fading echo: three trained networks of 64 tanh neurons ring on after a pulse of +1 or -1, computed here. */
"use strict";
salnb.models.clock_latch_echo = {
  // The weights behind one entry of the data: h <- tanh(W h + input x + bias), readout V h + c.
  network(stored) {
    const net = { kind: stored.kind, exponents: stored.exponents, errors: stored.errors };
    for (const part of ["recurrent", "bias", "input", "readout", "readoutBias", "middle", "axes"]) net[part] = salnb.unpack(stored[part]);
    net.size = net.bias.length;
    return net;
  },

  // What a state gives the neurons without an input, W h + bias, written into `out`.
  drive({ size, recurrent, bias }, state, out) {
    for (let i = 0, at = 0; i < size; i++) {
      let sum = bias[i];
      for (let j = 0; j < size; j++, at++) sum += recurrent[at] * state[j];
      out[i] = sum;
    }
    return out;
  },

  // The state after `state`, with input x, written into `out`.
  step(net, state, x, out) {
    salnb.models.clock_latch_echo.drive(net, state, out);
    for (let i = 0; i < net.size; i++) out[i] = Math.tanh(out[i] + net.input[i] * x);
    return out;
  },

  // From a state to another, of length 1 per neuron (RMS): the direction of a kick.
  direction(from, to) {
    const way = to.map((value, i) => value - from[i]), length = Math.sqrt(way.reduce((sum, value) => sum + value * value, 0) / way.length);
    return length > 0 ? way.map((value) => value / length) : way;
  },

  // States at times 0 (right after the pulse) to `steps`, one after the other. kicks: [{time, size}]; each moves the state by `size`
  // per neuron towards that of the run `other` at that time.
  run(net, sign, steps, kicks = [], other = null) {
    const { step, direction } = salnb.models.clock_latch_echo, { size } = net, states = new Float64Array((steps + 1) * size);
    for (let t = 0; t <= steps; t++) {
      const now = states.subarray(t * size, (t + 1) * size);
      if (t) step(net, states.subarray((t - 1) * size, t * size), 0, now);
      else step(net, new Float64Array(size), sign, now);
      for (const kick of kicks) {
        if (kick.time !== t) continue;
        direction(now, other.subarray(t * size, (t + 1) * size)).forEach((value, i) => { now[i] += kick.size * value; });
      }
    }
    return states;
  },

  // RMS distance per neuron between two runs at every time.
  distance(a, b, size) {
    return Float64Array.from({ length: a.length / size }, (_, t) => {
      let sum = 0;
      for (let i = t * size; i < (t + 1) * size; i++) sum += (a[i] - b[i]) ** 2;
      return Math.sqrt(sum / size);
    });
  },

  // How many of the four sequences are answered rightly when the second pulse comes at time t (1, 2, ...).
  right(net, runs) {
    const { size, input, readout, readoutBias } = net, given = new Float64Array(size);
    return Uint8Array.from({ length: runs[0].length / size }, (_, t) => {
      let count = 0;
      for (let first = 0; t && first < 2; first++) {
        salnb.models.clock_latch_echo.drive(net, runs[first].subarray((t - 1) * size, t * size), given);
        for (let second = 0; second < 2; second++) {
          let margin = readoutBias[1] - readoutBias[0];
          for (let i = 0; i < size; i++) margin += (readout[size + i] - readout[i]) * Math.tanh(given[i] + (second ? -input[i] : input[i]));
          count += (margin > 0) === (first !== second);
        }
      }
      return count;
    });
  },

  // Largest Lyapunov exponent along the silence after this pulse, nats per step: mean log growth of one tangent.
  exponent(net, sign, warmup, steps) {
    const { step } = salnb.models.clock_latch_echo, { size, recurrent } = net, random = salnb.random(1);
    let state = step(net, new Float64Array(size), sign, new Float64Array(size)), next = new Float64Array(size);
    let tangent = Float64Array.from({ length: size }, random.normal), moved = new Float64Array(size), growth = 0;
    for (let t = 0; t < warmup + steps; t++) {
      step(net, state, 0, next);
      let square = 0;
      for (let i = 0, at = 0; i < size; i++) {
        let sum = 0;
        for (let j = 0; j < size; j++, at++) sum += recurrent[at] * tangent[j];
        moved[i] = (1 - next[i] * next[i]) * sum;
        square += moved[i] * moved[i];
      }
      const length = Math.sqrt(square);
      for (let i = 0; i < size; i++) moved[i] /= length;
      if (t >= warmup) growth += Math.log(length);
      [state, next, tangent, moved] = [next, state, moved, tangent];
    }
    return growth / steps;
  },
};

salnb.playground("clock_latch_echo", (stage) => {
  const data = salnb.data.clock_latch_echo, model = salnb.models.clock_latch_echo, { axes, line, label } = salnb.plot;
  const networks = Object.fromEntries(data.networks.map((stored) => [stored.kind, model.network(stored)]));
  const LONGEST = 600, TRAIL = 6, state = stage.model = { kind: "clock", length: 300, time: 50, size: 0.3, kicks: [] };
  const minus = (text) => text.replace(/^-(0\.0*( |$))/, "$1").replace("-", "−"), raster = document.createElement("canvas");
  let net, places, orders, colours = "";

  // Everything that depends on the network and the kicks, up to the longest time, so that the sliders only draw.
  const compute = () => {
    net = networks[state.kind];
    const { size } = net, [free, other] = net.runs || (net.runs = [1, -1].map((sign) => model.run(net, sign, LONGEST)));
    const plus = state.kicks.length ? model.run(net, 1, LONGEST, state.kicks, other) : free;
    Object.assign(state, { plus, minus: other, apart: model.distance(plus, other, size), right: model.right(net, [plus, other]),
                           moved: model.distance(plus, free, size) });
    const place = (run) => [0, 1].map((axis) => Float64Array.from({ length: LONGEST + 1 }, (_, t) => {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += net.axes[axis * size + i] * (run[t * size + i] - net.middle[i]);
      return sum / Math.sqrt(size);
    }));
    places = [place(plus), place(other), place(free)];
    // Neurons in the order of their phase, so that what goes round is seen as a wave.
    const phase = (i) => Math.atan2(net.axes[size + i], net.axes[i]);
    orders = Array.from({ length: size }, (_, i) => i).sort((a, b) => phase(a) - phase(b));
    colours = "";
  };

  // The kick that the button would give now, in the plane: from where to where.
  const kickNow = () => {
    const { size } = net, { time } = state, at = time * size, way = model.direction(
      state.plus.subarray(at, at + size), state.minus.subarray(at, at + size));
    const begin = [0, 1].map((axis) => places[0][axis][time]);
    return [begin, begin.map((value, axis) => way.reduce((sum, part, i) => sum + part * net.axes[axis * size + i], 0) / Math.sqrt(size) *
      state.size + value)];
  };

  // Both rasters as one picture: a column per time, +1 in the upper half; purple above 0, gray below, clear at 0.
  const paint = (ink) => {
    if (colours === ink.activity + ink.neutral) return;
    colours = ink.activity + ink.neutral;
    const { size } = net, width = LONGEST + 1;
    raster.width = width;
    raster.height = 2 * size;
    const context = raster.getContext("2d");
    const [above, below] = [ink.activity, ink.neutral].map((colour) => {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      return context.getImageData(0, 0, 1, 1).data;
    });
    const picture = context.createImageData(width, 2 * size);
    [state.plus, state.minus].forEach((run, half) => orders.forEach((neuron, row) => {
      for (let t = 0; t < width; t++) {
        const value = run[t * size + neuron], at = 4 * ((half * size + row) * width + t), colour = value > 0 ? above : below;
        for (let channel = 0; channel < 3; channel++) picture.data[at + channel] = colour[channel];
        picture.data[at + 3] = 255 * Math.min(1, Math.abs(value));
      }
    }));
    context.putImageData(picture, 0, 0);
  };

  const upright = (context, x, top, height, colour, dash) => {
    line(context, 0, 2, () => x, (i) => top + i * height, { color: colour, width: 1.3, dash });
  };

  const times = (context, box, ink, tall) => {
    paint(ink);
    const { length, time } = state, x = (t) => box.left + (t / length) * box.width, step = length > 320 ? 100 : length > 130 ? 50 : 20;
    const ticks = Array.from({ length: Math.floor(length / step) + 1 }, (_, i) => i * step);
    let top = box.top;
    context.imageSmoothingEnabled = false;
    ["+1", "−1"].forEach((sign, half) => {
      label(context, `64 neurons after ${sign}`, box.left, top - 9, ink, { size: 13, bold: true });
      context.drawImage(raster, 0, half * net.size, length + 1, net.size, box.left, top, box.width, tall.raster);
      upright(context, x(time), top, tall.raster, ink.text);
      top += tall.raster + 30;
    });
    top += 2;
    const at = axes(context, { ...box, top, height: tall.distance }, ink, { x: [0, length], y: [-8, 0.6],
      title: "Distance per neuron", yTicks: [[0, "1"], [-2, "10⁻²"], [-4, "10⁻⁴"], [-6, "10⁻⁶"], [-8, "10⁻⁸"]] });
    context.save();
    context.beginPath();
    context.rect(box.left, top, box.width + 1, tall.distance + 1);
    context.clip();
    const log = (values) => (t) => at.y(Math.log10(Math.max(values[t], 1e-17)));
    const kick = state.kicks[state.kicks.length - 1];
    line(context, 0, length + 1, x, log(state.apart), { color: ink.text, width: 1.8 });
    if (kick) line(context, kick.time, length + 1, x, log(state.moved), { color: ink.activity, width: 2 });
    if (kick || net.kind !== "latch") { // what the exponent says of a small difference
      const from = kick ? kick.time : 0, size = kick ? state.moved[from] : state.apart[0];
      line(context, from, length + 1, x, (t) => at.y(Math.log10(size) + (net.exponents[0] * (t - from)) / Math.LN10),
           { color: ink.exponent, width: 1.8, dash: [6, 4] });
    }
    upright(context, x(time), top, tall.distance, ink.text);
    upright(context, x(data.lag), top, tall.distance, ink.neutral, [2, 3]);
    context.restore();
    const words = [["between the signs", ink.text], ["slope: the exponent", ink.exponent]];
    if (kick) words.splice(1, 0, ["kicked from not kicked", ink.activity]);
    words.forEach(([text, color], i) => {
      const down = top + tall.distance - 8 - 16 * (words.length - 1 - i);
      Object.assign(context, { font: ink.font(12), strokeStyle: ink.paper, lineWidth: 4, textAlign: "left", lineJoin: "round" });
      context.strokeText(text, box.left + 8, down); // lines pass behind the words
      label(context, text, box.left + 8, down, ink, { color });
    });
    top += tall.distance + 34;
    const bottom = axes(context, { ...box, top, height: tall.answers }, ink, { x: [0, length], y: [0, 4], xTicks: ticks,
      title: "Right answers if the second pulse came then", yTicks: [[0, "0"], [4, "4"]], xLabel: "steps after the first pulse" });
    const column = box.width / length;
    for (let t = 1; t <= length; t++) {
      context.fillStyle = state.right[t] === 4 ? ink.text : ink.neutral;
      context.globalAlpha = state.right[t] === 4 ? 1 : 0.55;
      const high = bottom.y(state.right[t]);
      context.fillRect(x(t) - column / 2, high, Math.max(column * (column > 3 ? 0.8 : 1), 0.8), top + tall.answers - high);
    }
    context.globalAlpha = 1;
    upright(context, x(time), top - 4, tall.answers + 4, ink.text);
    upright(context, x(data.lag), top - 4, tall.answers + 4, ink.neutral, [2, 3]);
  };

  const plane = (context, box, ink) => {
    const { time, length } = state, size = Math.min(box.width, box.height);
    const unit = size / 2.4 / Math.max(...places.slice(1).flat().map((values) => Math.max(...values.map(Math.abs))));
    const x = (value) => box.left + box.width / 2 + value * unit, y = (value) => box.top + size / 2 - value * unit;
    label(context, "In the plane of the strongest motion", box.left, box.top - 9, ink, { size: 13, bold: true });
    context.strokeStyle = ink.rule;
    context.lineWidth = 1;
    context.strokeRect(Math.round(box.left) + 0.5, Math.round(box.top) + 0.5, Math.round(box.width) - 1, Math.round(size) - 1);
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, size);
    context.clip();
    context.fillStyle = ink.neutral;
    context.globalAlpha = 0.5;
    for (const [across, up] of places.slice(0, 2)) {
      for (let t = 0; t <= length; t++) context.fillRect(x(across[t]) - 1, y(up[t]) - 1, 2, 2);
    }
    context.globalAlpha = 1;
    const disc = (across, down, radius, fillStyle, strokeStyle) => {
      Object.assign(context, { fillStyle, strokeStyle, lineWidth: 2 });
      context.beginPath();
      context.arc(across, down, radius, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    };
    places.forEach(([across, up], which) => {
      if (which === 2 && !state.kicks.length) return;
      const from = Math.max(0, time - TRAIL), colour = which === 2 ? ink.neutral : ink.activity;
      line(context, from, time + 1, (t) => x(across[t]), (t) => y(up[t]),
           { color: colour, width: 1.6, dash: which ? [4, 3] : [], alpha: 0.75 });
      disc(x(across[time]), y(up[time]), which === 2 ? 4 : 6, [ink.activity, ink.paper, ink.neutral][which], colour);
    });
    const [begin, end] = kickNow();
    line(context, 0, 2, (i) => x([begin, end][i][0]), (i) => y([begin, end][i][1]), { color: ink.sensitivity, width: 2.5 });
    const square = (across, down) => {
      context.fillStyle = ink.sensitivity;
      context.fillRect(across - 3.5, down - 3.5, 7, 7);
    };
    square(x(end[0]), y(end[1]));
    places.slice(0, 2).forEach(([to, high], which) => {
      const beside = x(to[time]) + (x(to[time]) > box.left + box.width - 36 ? -28 : 10);
      label(context, which ? "−1" : "+1", beside, y(high[time]) + (which ? 16 : -8), ink, { bold: true, color: ink.activity });
    });
    context.restore();
    // Each mark of the key is drawn by what draws it in the plane.
    const keys = [
      ["after +1", (across, down) => disc(across, down, 6, ink.activity, ink.activity)],
      ["after −1", (across, down) => disc(across, down, 6, ink.paper, ink.activity)],
      ["where the kick would lead", square],
    ];
    if (state.kicks.length) keys.push(["after +1, not kicked", (across, down) => disc(across, down, 4, ink.neutral, ink.neutral)]);
    keys.forEach(([text, mark], i) => {
      const across = box.left + 7 + (i === 1) * 84, down = box.top + size + 16 + 20 * Math.max(0, i - 1);
      mark(across, down);
      label(context, text, across + 10, down, ink, { baseline: "middle" });
    });
  };

  const far = (value) => (value < 1e-16 ? "0" : value < 0.01 ? minus(value.toExponential(0)) : value.toFixed(2));
  const said = () => `A ${net.kind} ${state.time} steps after the pulse: the states after +1 and −1 are ` +
    `${far(state.apart[state.time])} apart per neuron, ${state.right[state.time]} of 4 sequences would be answered rightly now; ` +
    `the exponent is ${minus(net.exponents[0].toFixed(3))}.`;
  const drawing = stage.drawing({
    label: said, ratio: (width) => (width < 560 ? 786 / width : 500 / width),
    draw(context, width, height, ink) {
      const narrow = width < 560, wide = narrow ? width - 48 : width * 0.6 - 38;
      plane(context, narrow ? { left: 1, top: 26, width: width - 2, height: 250 }
                            : { left: width * 0.64, top: 26, width: width * 0.36 - 1, height: width * 0.36 }, ink);
      times(context, { left: 36, top: narrow ? 386 : 26, width: wide }, ink,
            narrow ? { raster: 56, distance: 104, answers: 30 } : { raster: 92, distance: 118, answers: 34 });
    },
  });

  stage.choice({ label: "Network", value: state.kind, options: data.networks.map(({ kind }) => [kind, kind]),
    change: (kind) => { state.kind = kind; state.kicks = []; compute(); update(); } });
  const clock = stage.slider({ label: "Time", min: 0, max: state.length, step: 1, value: state.time, unit: "steps",
    change: (time) => { loop.pause(); state.time = time; update(); } });
  stage.slider({ label: "Rings for", min: 60, max: LONGEST, step: 20, value: state.length, unit: "steps",
    change(length) { state.length = length; clock.input.max = length; go(Math.min(state.time, length)); } });
  stage.slider({ label: "Kick", min: 0.05, max: 1.2, step: 0.05, value: state.size, format: (size) => size.toFixed(2),
    change(size) { // the last kick follows the slider
      state.size = size;
      if (state.kicks.length) {
        state.kicks[state.kicks.length - 1].size = size;
        compute();
      }
      update();
    } });
  stage.button({ label: "Kick +1 now", press() { state.kicks.push({ time: state.time, size: state.size }); compute(); update(); } });
  stage.button({ label: "No kicks", press() { state.kicks = []; compute(); update(); } });
  let waited = 0;
  const go = (time) => { state.time = time; clock.set(time); update(); }, next = () => go(state.time >= state.length ? 0 : state.time + 1);
  const loop = stage.loop((milliseconds) => {
    waited += milliseconds;
    if (waited < (state.time >= state.length ? 2000 : 90)) return;
    waited = 0;
    next();
  }, { step: next });
  const exponent = stage.number({ label: "Exponent", color: "exponent" }), apart = stage.number({ label: "Signs apart" });
  const asked = stage.number({ label: "Asked now" });
  const update = () => {
    const error = net.errors[0] < 5e-5 ? "" : ` ± ${net.errors[0].toFixed(4)}`; // at rest there is none
    exponent.set(minus(net.exponents[0].toFixed(4) + error));
    apart.set(far(state.apart[state.time]));
    asked.set(`${state.right[state.time]} of 4 right`);
    drawing.redraw();
  };
  state.pose = () => { // the moment worth printing: a clock some steps after a kick
    Object.assign(state, { length: 200, kicks: [{ time: 100, size: 0.4 }] });
    compute();
    go(112);
  };
  compute();
  update();
});
