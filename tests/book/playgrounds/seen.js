/* Runs before a page's own scripts: notes every word that is drawn on a canvas, with its size, colour and place. */
(() => {
  const words = new Map(), draw = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
    draw.call(this, text, x, y, ...rest);
    if (!this.canvas.isConnected || !String(text).trim()) return;
    const size = this.measureText(text), at = this.getTransform(), scale = Math.hypot(at.a, at.b);
    const corners = [[-size.actualBoundingBoxLeft, -size.actualBoundingBoxAscent], [size.actualBoundingBoxRight, size.actualBoundingBoxDescent]]
      .map(([dx, dy]) => at.transformPoint(new DOMPoint(x + dx, y + dy)));
    const out = Math.max(...corners.map((p) => Math.max(-p.x, p.x - this.canvas.width, -p.y, p.y - this.canvas.height))) / scale;
    words.set(`${text}|${this.fillStyle}|${this.font}`, {
      text: String(text), color: this.fillStyle, alpha: this.globalAlpha, out,
      px: parseFloat(/([\d.]+)px/.exec(this.font)[1]) * scale * (this.canvas.clientWidth / this.canvas.width),
    });
  };
  window.drawnWords = () => [...words.values()];
  // All that a reader sees change: the drawings and the numbers, but not a control's own label.
  window.seen = () => [...document.querySelectorAll(".playground canvas")].map((canvas) => canvas.toDataURL()).join() +
    [...document.querySelectorAll(".playground .number output")].map((output) => output.textContent).join();
})();
