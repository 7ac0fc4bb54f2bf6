/* Receptive fields while Krotov-Hopfield learns: stored frames of two layers, drawn and scrubbed. */
"use strict";
salnb.models.receptive_fields = {
  // One training: per frame the fields, each divided by its largest weight, the norms, the images won, log10 of the spectrum.
  course(data, name) {
    const run = data.runs[name], frames = run.after.length, found = { updates: run.after, off: run.off };
    for (const part of ["fields", "norms", "wins", "spectrum"]) {
      const values = salnb.unpack(run[part]), size = values.length / frames;
      found[part] = run.after.map((_, i) => values.subarray(i * size, (i + 1) * size));
    }
    found.images = salnb.unpack(run.images);
    found.silent = found.wins.map((row) => row.filter((count) => count < 0.5).length / data.units);
    return found;
  },
};

salnb.playground("receptive_fields", (stage) => {
  const data = salnb.data.receptive_fields, { course } = salnb.models.receptive_fields, { axes, line, label } = salnb.plot;
  const { units, side } = data, last = data.runs.learns.after.length - 1, rows = Math.sqrt(units);
  const courses = Object.fromEntries(Object.keys(data.runs).map((name) => [name, course(data, name)]));
  const state = stage.model = { run: "learns", frame: 10, courses };
  const now = () => courses[state.run], percent = (share) => `${Math.round(100 * share)} %`;
  const along = (updates) => Math.log10(1 + updates), end = along(data.runs.learns.after[last]);
  const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

  // Positive weights red, negative ones blue, as in the chapter's figures; the paper shows through where a weight is near 0.
  const field = (context, values, left, top, size, ink) => {
    const [red, blue] = ink.dark ? ["#ff7a6b", "#5fa8f5"] : ["#b2182b", "#2166ac"], pixel = size / side;
    values.forEach((value, i) => {
      const x = Math.round(left + (i % side) * pixel), y = Math.round(top + Math.floor(i / side) * pixel);
      context.globalAlpha = Math.min(1, Math.abs(value));
      context.fillStyle = value > 0 ? red : blue;
      context.fillRect(x, y, Math.round(left + ((i % side) + 1) * pixel) - x,
                       Math.round(top + (Math.floor(i / side) + 1) * pixel) - y);
    });
    context.globalAlpha = 1;
    context.strokeStyle = ink.rule;
    context.lineWidth = 1;
    context.strokeRect(Math.round(left) - 0.5, Math.round(top) - 0.5, Math.round(size) + 1, Math.round(size) + 1);
  };

  const mosaic = (context, box, ink) => {
    const { fields, wins } = now(), gap = 10, under = 19;
    label(context, "Weights of all 16 units, and images won", box.left, 14, ink, { size: 13, bold: true });
    const size = Math.min((box.width - (rows - 1) * gap) / rows, (box.height - 24 - rows * under) / rows - 5);
    for (let unit = 0; unit < units; unit++) {
      const left = box.left + (unit % rows) * (size + gap), top = 26 + Math.floor(unit / rows) * (size + under + 5);
      const count = Math.round(wins[state.frame][unit]);
      field(context, fields[state.frame].subarray(unit * side * side, (unit + 1) * side * side), left, top, size, ink);
      context.fillStyle = ink.activity;
      context.fillRect(left, top + size + 6, Math.min(1, count / data.images * 4) * (size - 32), 7);
      label(context, thousands(count), left + size, top + size + 14, ink,
            { size: 11.5, align: "right", color: count ? ink.activity : ink.neutral });
    }
  };

  const norms = (context, box, ink) => {
    const { norms: all, wins, updates } = now(), high = state.run === "learns" ? 6 : 1.25;
    const at = axes(context, box, ink, { x: [0, end], y: [0, high], title: "Norm of each unit", xLabel: "updates",
      xTicks: [0, 10, 100, 1000].map((n) => [along(n), thousands(n)]), yTicks: high > 2 ? [0, 1, 2, 4, 6] : [0, 0.5, 1] });
    line(context, 0, 2, (i) => at.x(i * end), () => at.y(1), { color: ink.neutral, width: 1.5, dash: [5, 4] });
    for (let unit = 0; unit < units; unit++) {
      const won = wins[state.frame][unit] > 0.5;
      line(context, 0, last + 1, (i) => at.x(along(updates[i])), (i) => at.y(all[i][unit]),
           { color: won ? ink.activity : ink.neutral, width: won ? 1.4 : 1.2, alpha: 0.3 });
      line(context, 0, state.frame + 1, (i) => at.x(along(updates[i])), (i) => at.y(all[i][unit]),
           { color: won ? ink.activity : ink.neutral, width: won ? 1.8 : 1.4 });
    }
    const x = at.x(along(updates[state.frame]));
    line(context, 0, 2, () => x, (i) => box.top + i * box.height, { color: ink.text, width: 1.2 });
  };

  const spectrum = (context, box, ink) => {
    const { spectrum: all, images } = now(), low = -6;
    const at = axes(context, box, ink, { x: [0, Math.log10(units)], y: [low, 0], title: "Share of the variance", xLabel: "rank",
      xTicks: [1, 2, 4, 8, 16].map((n) => [Math.log10(n), n]), yTicks: [[0, "1"], [-2, "10⁻²"], [-4, "10⁻⁴"], [-6, "10⁻⁶"]] });
    context.save();
    context.beginPath();
    context.rect(box.left, box.top - 2, box.width + 2, box.height + 3);
    context.clip();
    const x = (i) => at.x(Math.log10(i + 1));
    line(context, 0, units, x, (i) => at.y(images[i]), { color: ink.neutral, width: 1.8, dash: [5, 4] });
    line(context, 0, units, x, (i) => at.y(all[state.frame][i]), { color: ink.exponent, width: 2.4 });
    context.restore();
    label(context, "the digits", box.left + 8, box.top + box.height - 24, ink, { color: ink.neutral });
    label(context, "the units' drives", box.left + 8, box.top + box.height - 8, ink, { color: ink.exponent });
  };

  const said = () => {
    const { wins, off, silent, updates } = now(), most = Math.max(...wins[state.frame]);
    return `The weights of 16 units after ${thousands(updates[state.frame])} updates: ${percent(off[state.frame])} are off norm 1, ` +
      `${percent(silent[state.frame])} win no image, the most successful one wins ${thousands(Math.round(most))} of 1,000.`;
  };
  const drawing = stage.drawing({
    label: said, ratio: (width) => (width < 560 ? 1 + 480 / width : 0.71),
    draw(context, width, height, ink) {
      const narrow = width < 560, left = narrow ? 46 : width * 0.6 + 40, tall = narrow ? 120 : height * 0.34;
      const first = narrow ? height - 2 * tall - 106 : 26, wide = width - left - 8;
      mosaic(context, { left: 1, width: narrow ? width - 2 : width * 0.56, height: narrow ? first - 34 : height }, ink);
      norms(context, { left, top: first, width: wide, height: tall }, ink);
      spectrum(context, { left, top: first + tall + 68, width: wide, height: tall }, ink);
    },
  });

  stage.choice({ label: "The layer", value: state.run, change: (name) => { state.run = name; show(state.frame); },
    options: [["learns", "learns: long start, mean removed"], ["collapses", "collapses: short start, raw digits"]] });
  const time = stage.slider({ label: "Updates", min: 0, max: last, step: 1, value: state.frame,
    format: (i) => thousands(now().updates[i]), change: (i) => { loop.pause(); show(i); } });
  const off = stage.number({ label: "Off norm 1" }), silent = stage.number({ label: "Win no image", color: "activity" });
  const update = () => {
    off.set(percent(now().off[state.frame]));
    silent.set(percent(now().silent[state.frame]));
    drawing.redraw();
  };
  const show = (i) => { state.frame = i; time.set(i); update(); };
  let waited = 0;
  const next = () => show(state.frame === last ? 0 : state.frame + 1);
  const loop = stage.loop((milliseconds) => {
    waited += milliseconds;
    if (waited < (state.frame === last ? 3000 : 450)) return;
    waited = 0;
    next();
  }, { step: next });
  state.pose = () => show(last); // the moment worth printing
  update();
});
