/* Linear algebra of small real matrices: Float64Array, row after row. Added to the pages whose playground uses salnb.linear. */
"use strict";
salnb.linear = {
  // out = A B for A (m, k) and B (k, n).
  multiply(a, b, m, k, n, out = new Float64Array(m * n)) {
    out.fill(0);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < k; j++) {
        const factor = a[i * k + j];
        for (let l = 0; l < n; l++) out[i * n + l] += factor * b[j * n + l];
      }
    }
    return out;
  },

  transpose(a, m, n, out = new Float64Array(m * n)) {
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = a[i * n + j];
    return out;
  },

  // Makes k vectors of n numbers (one after the other in memory) orthonormal, in place, by the modified Gram-Schmidt method.
  // Returns the length that each had at right angles to those before it: the diagonal of R.
  orthonormalize(vectors, k, n, r = null) {
    const lengths = new Float64Array(k);
    for (let i = 0; i < k; i++) {
      let square = 0;
      for (let l = i * n; l < (i + 1) * n; l++) square += vectors[l] * vectors[l];
      lengths[i] = Math.sqrt(square);
      if (r) r[i * k + i] = lengths[i];
      const scale = lengths[i] > 0 ? 1 / lengths[i] : 0;
      for (let l = i * n; l < (i + 1) * n; l++) vectors[l] *= scale;
      for (let j = i + 1; j < k; j++) {
        let share = 0;
        const shift = (j - i) * n;
        for (let l = i * n; l < (i + 1) * n; l++) share += vectors[l] * vectors[l + shift];
        for (let l = i * n; l < (i + 1) * n; l++) vectors[l + shift] -= share * vectors[l];
        if (r) r[i * k + j] = share;
      }
    }
    return lengths;
  },

  // A (m, n) with m >= n -> {q (m, n), r (n, n)}, the diagonal of R not negative.
  qr(a, m, n) {
    const columns = salnb.linear.transpose(a, m, n), r = new Float64Array(n * n);
    salnb.linear.orthonormalize(columns, n, m, r);
    return { q: salnb.linear.transpose(columns, n, m), r };
  },

  // Singular values of A (m, n), the largest first: pairs of columns are rotated until all are orthogonal (one-sided Jacobi).
  singularValues(a, m, n) {
    if (m < n) return salnb.linear.singularValues(salnb.linear.transpose(a, m, n), n, m);
    const columns = salnb.linear.transpose(a, m, n), dot = (i, j) => {
      let sum = 0;
      for (let l = 0; l < m; l++) sum += columns[i * m + l] * columns[j * m + l];
      return sum;
    };
    for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
      turned = false;
      for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) {
          const p = dot(i, i), q = dot(j, j), between = dot(i, j);
          if (Math.abs(between) <= 1e-15 * Math.sqrt(p * q)) continue;
          turned = true;
          const ratio = (q - p) / (2 * between);
          const tangent = (ratio < 0 ? -1 : 1) / (Math.abs(ratio) + Math.sqrt(1 + ratio * ratio));
          const cosine = 1 / Math.sqrt(1 + tangent * tangent), sine = cosine * tangent;
          for (let l = 0; l < m; l++) {
            const x = columns[i * m + l], y = columns[j * m + l];
            columns[i * m + l] = cosine * x - sine * y;
            columns[j * m + l] = sine * x + cosine * y;
          }
        }
      }
    }
    return Float64Array.from({ length: n }, (_, i) => Math.sqrt(dot(i, i))).sort().reverse();
  },

  // Eigenvalues of A (n, n) -> {re, im}: Hessenberg form by reflections, then QR steps with two shifts at once (Francis).
  eigenvalues(a, n) {
    const h = Float64Array.from(a), re = new Float64Array(n), im = new Float64Array(n);
    // The reflection 1 - 2 v vᵀ / (v·v) of rows (or columns) first, first + 1, ... turns x into a multiple of the first axis.
    const reflector = (x) => {
      const length = Math.hypot(...x), v = x.slice();
      v[0] += x[0] < 0 ? -length : length;
      const square = v.reduce((sum, number) => sum + number * number, 0);
      return square > 0 ? { v, scale: 2 / square } : null;
    };
    const fromLeft = ({ v, scale }, first, begin, end) => {
      for (let column = begin; column < end; column++) {
        let sum = 0;
        for (let i = 0; i < v.length; i++) sum += v[i] * h[(first + i) * n + column];
        sum *= scale;
        for (let i = 0; i < v.length; i++) h[(first + i) * n + column] -= sum * v[i];
      }
    };
    const fromRight = ({ v, scale }, first, begin, end) => {
      for (let row = begin; row < end; row++) {
        let sum = 0;
        for (let i = 0; i < v.length; i++) sum += v[i] * h[row * n + first + i];
        sum *= scale;
        for (let i = 0; i < v.length; i++) h[row * n + first + i] -= sum * v[i];
      }
    };
    for (let k = 0; k < n - 2; k++) {
      const reflection = reflector(Array.from({ length: n - k - 1 }, (_, i) => h[(k + 1 + i) * n + k]));
      if (!reflection) continue;
      fromLeft(reflection, k + 1, k, n);
      fromRight(reflection, k + 1, 0, n);
    }
    let high = n - 1;
    for (let tries = 0; high >= 0; tries++) {
      let low = high;
      for (; low > 0; low--) { // the block low..high that no zero below the diagonal divides
        const around = Math.abs(h[low * n + low]) + Math.abs(h[(low - 1) * n + low - 1]);
        if (Math.abs(h[low * n + low - 1]) <= 2e-16 * around) break;
      }
      const d = h[high * n + high];
      if (low === high) {
        re[high--] = d;
        tries = -1;
        continue;
      }
      const end = high - 1, b = h[end * n + high], c = h[high * n + end], p = h[end * n + end];
      if (low === end) { // two eigenvalues of a 2 × 2 block
        const half = (p - d) / 2, root = half * half + b * c, centre = (p + d) / 2;
        const distance = Math.sqrt(Math.abs(root));
        re[end] = re[high] = centre;
        if (root >= 0) { re[end] += distance; re[high] -= distance; } else { im[end] = distance; im[high] = -distance; }
        high -= 2;
        tries = -1;
        continue;
      }
      if (tries > 100) throw new Error("eigenvalues: no convergence");
      // The shifts are the eigenvalues of the last 2 × 2 block; after ten vain steps other ones.
      const odd = tries % 10 === 9, size = Math.abs(c) + Math.abs(h[end * n + end - 1]);
      const sum = odd ? 1.5 * size : p + d, product = odd ? size * size : p * d - b * c;
      const h00 = h[low * n + low], h10 = h[(low + 1) * n + low], h11 = h[(low + 1) * n + low + 1];
      let x = [h00 * h00 + h[low * n + low + 1] * h10 - sum * h00 + product, h10 * (h00 + h11 - sum), h10 * h[(low + 2) * n + low + 1]];
      for (let k = low; k < high; k++) {
        const reflection = reflector(x);
        if (reflection) {
          fromLeft(reflection, k, Math.max(low, k - 1), high + 1);
          fromRight(reflection, k, low, Math.min(k + 3, high) + 1);
        }
        x = [];
        for (let i = k + 1; i <= Math.min(k + 3, high); i++) x.push(h[i * n + k]);
      }
    }
    return { re, im };
  },
};
