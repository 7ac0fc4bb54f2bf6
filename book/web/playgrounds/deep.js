/* A deep tanh network in plain arithmetic, for the playgrounds that have one: forward, back, Adam and SAL as in salnb. Added to
   the pages whose playground uses salnb.deep. */
"use strict";
salnb.deep = (() => {
  const CLIP = 1; // of the gradient's length, as in the recipe of salnb.experiments
  const BETA = [0.9, 0.999], EPSILON = 1e-8; // Adam's usual settings

  /* All parameters lie in one array, layer after layer, weights (N, M) row by row and then biases: PyTorch's order. */
  function create({ depth = 300, width = 16, inputs = 3, outputs = 2, gain = 0.5, bias = 0.5, seed = 1 } = {}) {
    const layers = [];
    let place = 0;
    for (let l = 0; l <= depth; l++) {
      const m = l ? width : inputs, n = l < depth ? width : outputs;
      layers.push({ m, n, weight: place, bias: place + n * m });
      place += n * m + n;
    }
    const net = { depth, width, inputs, outputs, layers, size: place, steps: 0, salSteps: 0, average: null };
    net.parameters = new Float64Array(place);
    net.gradient = new Float64Array(place);
    net.first = new Float64Array(place); // Adam's running means of the gradient and of its square
    net.second = new Float64Array(place);
    draw(net, gain, bias, seed);
    return net;
  }

  /* As in salnb.experiments.train_deep: the gain is that of the layers in between, the first and the readout have 1. */
  function draw(net, gain, bias, seed) {
    const random = salnb.random(seed);
    net.layers.forEach((layer, l) => {
      const scale = (l && l < net.depth ? gain : 1) / Math.sqrt(layer.m);
      for (let i = 0; i < layer.n * layer.m; i++) net.parameters[layer.weight + i] = scale * random.normal();
      for (let i = 0; i < layer.n; i++) net.parameters[layer.bias + i] = l ? 0 : bias * random.normal();
    });
  }

  /* All eight patterns of three bits of ±1; the class is 1 where an odd number of bits is positive. */
  function parity(bits = 3) {
    const samples = 2 ** bits, inputs = new Float64Array(samples * bits), targets = new Int32Array(samples);
    for (let b = 0; b < samples; b++) {
      for (let i = 0; i < bits; i++) {
        const bit = (b >> i) & 1;
        inputs[i * samples + b] = 2 * bit - 1;
        targets[b] = (targets[b] + bit) % 2;
      }
    }
    return { inputs, targets, samples };
  }

  /* states[0] the inputs (M, B), states[l] the outputs of layer l (N, B), and the logits last. The samples of a neuron lie
     side by side, and four of them are added up at a time: a processor does four sums in the time that it needs for one. */
  function forward(net, data) {
    const b = data.samples, p = net.parameters;
    if (b % 4) throw new Error(`samples: got ${b}, expected a multiple of 4`);
    if (!net.states || net.samples !== b) {
      net.samples = b;
      net.states = [null, ...net.layers.map((layer) => new Float64Array(b * layer.n))];
      net.error = [0, 1].map(() => new Float64Array(b * net.width));
      net.sizes = new Float64Array(net.depth); // of the gradient by each layer's outputs
    }
    net.states[0] = data.inputs;
    for (let l = 0; l <= net.depth; l++) affine(p, net.layers[l], net.states[l], net.states[l + 1], b, l < net.depth);
    return net.states[net.depth + 1];
  }

  function affine(p, { m, n, weight, bias }, x, h, b, bend) {
    for (let i = 0; i < n; i++) {
      const start = weight + i * m, offset = p[bias + i];
      for (let s = 0; s < b; s += 4) {
        let u0 = offset, u1 = offset, u2 = offset, u3 = offset;
        for (let w = start, k = s; w < start + m; w++, k += b) {
          const v = p[w];
          u0 += v * x[k];
          u1 += v * x[k + 1];
          u2 += v * x[k + 2];
          u3 += v * x[k + 3];
        }
        const at = i * b + s;
        h[at] = bend ? Math.tanh(u0) : u0;
        h[at + 1] = bend ? Math.tanh(u1) : u1;
        h[at + 2] = bend ? Math.tanh(u2) : u2;
        h[at + 3] = bend ? Math.tanh(u3) : u3;
      }
    }
  }

  /* Mean cross-entropy and share of right answers, and the error at the logits. */
  function measure(net, data) {
    const { outputs: n, states } = net, b = data.samples, logits = states[net.depth + 1], error = new Float64Array(n * b);
    let loss = 0, right = 0;
    for (let s = 0; s < b; s++) {
      let top = 0, sum = 0;
      for (let i = 1; i < n; i++) if (logits[i * b + s] > logits[top * b + s]) top = i;
      const highest = logits[top * b + s], target = data.targets[s] * b + s;
      for (let i = 0; i < n; i++) sum += Math.exp(logits[i * b + s] - highest);
      for (let i = 0; i < n; i++) error[i * b + s] = Math.exp(logits[i * b + s] - highest) / sum / b;
      error[target] -= 1 / b;
      loss += (highest + Math.log(sum) - logits[target]) / b;
      right += (top === data.targets[s]) / b;
    }
    return { loss, accuracy: right, error };
  }

  /* Backpropagation by hand: the gradient by all parameters, and on the way its length at every layer's outputs. */
  function backward(net, data, error) {
    const b = data.samples;
    for (let l = net.depth; l >= 0; l--) {
      const next = net.error[l % 2];
      byWeight(net.gradient, net.layers[l], net.states[l], error, b);
      if (l) net.sizes[l - 1] = sendBack(net.parameters, net.layers[l], net.states[l], error, next, b);
      error = next;
    }
  }

  function byWeight(g, { m, n, weight, bias }, x, error, b) {
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let s = 0; s < b; s++) sum += error[i * b + s];
      g[bias + i] = sum;
      for (let j = 0; j < m; j++) {
        let a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (let s = 0, e = i * b, k = j * b; s < b; s += 4, e += 4, k += 4) {
          a0 += error[e] * x[k];
          a1 += error[e + 1] * x[k + 1];
          a2 += error[e + 2] * x[k + 2];
          a3 += error[e + 3] * x[k + 3];
        }
        g[weight + i * m + j] = a0 + a1 + (a2 + a3);
      }
    }
  }

  /* next = (1 - x²) W' error, the error one layer down; returns the length of W' error. */
  function sendBack(p, { m, n, weight }, x, error, next, b) {
    let squares = 0;
    for (let j = 0; j < m; j++) {
      for (let s = 0; s < b; s += 4) {
        let a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (let i = 0, w = weight + j, e = s; i < n; i++, w += m, e += b) {
          const v = p[w];
          a0 += v * error[e];
          a1 += v * error[e + 1];
          a2 += v * error[e + 2];
          a3 += v * error[e + 3];
        }
        const at = j * b + s;
        squares += a0 * a0 + a1 * a1 + a2 * a2 + a3 * a3;
        next[at] = a0 * (1 - x[at] * x[at]);
        next[at + 1] = a1 * (1 - x[at + 1] * x[at + 1]);
        next[at + 2] = a2 * (1 - x[at + 2] * x[at + 2]);
        next[at + 3] = a3 * (1 - x[at + 3] * x[at + 3]);
      }
    }
    return Math.sqrt(squares);
  }

  /* One pass forward and back; what the figure shows follows from it. */
  function pass(net, data) {
    forward(net, data);
    const found = measure(net, data);
    backward(net, data, found.error);
    return found;
  }

  /* The gradient's length is cut at CLIP, as in the recipe; Adam as in PyTorch. */
  function adam(net, rate) {
    const { parameters: p, gradient, first, second } = net, t = ++net.steps, factor = clip(net);
    const step = rate / (1 - BETA[0] ** t), root = Math.sqrt(1 - BETA[1] ** t);
    for (let k = 0; k < net.size; k++) {
      const g = factor * gradient[k];
      first[k] = BETA[0] * first[k] + (1 - BETA[0]) * g;
      second[k] = BETA[1] * second[k] + (1 - BETA[1]) * g * g;
      p[k] -= step * first[k] / (Math.sqrt(second[k]) / root + EPSILON);
    }
  }

  function clip(net) {
    let squares = 0;
    for (let k = 0; k < net.size; k++) squares += net.gradient[k] * net.gradient[k];
    return CLIP / Math.max(CLIP, Math.sqrt(squares));
  }

  /* How far an Adam step of rate 1 moves a weight vector between the layers (root mean square): the last step, or the first. */
  function adamLength(net) {
    const t = net.steps, factor = clip(net), first = t ? 1 - BETA[0] ** t : 1, root = t ? Math.sqrt(1 - BETA[1] ** t) : 1;
    let squares = 0;
    for (const { weight, bias } of net.layers.slice(1, net.depth)) {
      for (let k = weight; k < bias; k++) {
        const mean = t ? net.first[k] / first : factor * net.gradient[k];
        squares += (mean / ((t ? Math.sqrt(net.second[k]) / root : Math.abs(mean)) + EPSILON)) ** 2;
      }
    }
    return Math.sqrt(squares / ((net.depth - 1) * net.width));
  }

  /* Length of each weight vector of layer l, and the means of f' and f'² over the samples of the last pass. */
  function moments(net, l, i) {
    const { m, weight } = net.layers[l], h = net.states[l + 1], b = net.samples;
    let norm = 0, first = 0, second = 0;
    for (let j = 0, w = weight + i * m; j < m; j++) norm += net.parameters[w + j] ** 2;
    for (let s = 0; s < b; s++) {
      const slope = 1 - h[i * b + s] ** 2;
      first += slope / b;
      second += slope * slope / b;
    }
    return [Math.sqrt(norm), first, second];
  }

  /* ln of the root mean square sensitivity of each layer from the second on. */
  function logSensitivity(net) {
    const found = new Float64Array(net.depth - 1);
    for (let l = 1; l < net.depth; l++) {
      let squares = 0;
      for (let i = 0; i < net.width; i++) {
        const [norm, , second] = moments(net, l, i);
        squares += norm * norm * second / net.width;
      }
      found[l - 1] = 0.5 * Math.log(squares);
    }
    return found;
  }

  /* One SAL step with the states of the last pass. A neuron's running RMS sensitivity is `average`; it moves by
     rate · pull · gradient, with the gradient mean f' w/|w| + |w| mean f'' x by w and |w| mean f'' by the bias, where f' = 1 - h²
     and f'' = -2 h f'. The pull is 1 below target ("one_sided") or target - average ("proportional").
     With `look` nothing is changed. Returns the share of neurons below target, and how far a step of rate 1 moves the weights of
     those that move (root mean square). */
  function sal(net, { rate = 0, target = 1, decay = 0.9, rule = "one_sided", look = false } = {}) {
    const p = net.parameters, b = net.samples, { width: n, depth } = net, old = net.average;
    const averages = look ? null : old || new Float64Array((depth - 1) * n), turn = new Float64Array(n);
    let below = 0, moved = 0, squares = 0;
    for (let l = 1; l < depth; l++) {
      const { weight, bias } = net.layers[l], x = net.states[l], h = net.states[l + 1];
      for (let i = 0; i < n; i++) {
        const [norm, first, second] = moments(net, l, i), at = (l - 1) * n + i, w = weight + i * n;
        const seen = norm * norm * second;
        const average = Math.sqrt(old ? (look ? old[at] ** 2 : decay * old[at] ** 2 + (1 - decay) * seen) : seen);
        if (!look) averages[at] = average;
        below += average < target;
        const pull = rule === "one_sided" ? Number(average < target) : target - average;
        if (!pull || !(rate || look)) continue;
        let byBias = 0;
        for (let j = 0; j < n; j++) turn[j] = first * p[w + j] / (norm > 0 ? norm : 1);
        for (let s = 0; s < b; s++) {
          const o = h[i * b + s], curvature = norm / b * -2 * o * (1 - o * o);
          for (let j = 0; j < n; j++) turn[j] += curvature * x[j * b + s];
          byBias += curvature;
        }
        moved++;
        for (let j = 0; j < n; j++) {
          squares += (pull * turn[j]) ** 2;
          if (!look) p[w + j] += rate * pull * turn[j];
        }
        if (!look) p[bias + i] += rate * pull * byBias;
      }
    }
    if (!look) net.average = averages;
    net.salSteps += rate > 0;
    return { below: below / ((depth - 1) * n), length: moved ? Math.sqrt(squares / moved) : 0 };
  }

  /* Root mean square of each layer's outputs. */
  function activity(net) {
    return Float64Array.from({ length: net.depth }, (_, l) => {
      let squares = 0;
      for (const h of net.states[l + 1]) squares += h * h;
      return Math.sqrt(squares / net.states[l + 1].length);
    });
  }

  return { create, parity, forward, measure, backward, pass, adam, adamLength, sal, logSensitivity, activity };
})();
