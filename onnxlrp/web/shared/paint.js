// Heatmaps on a canvas, drawn as `onnxlrp.pictures.heatmap` draws them.

// The limit of the colours: a percentile of |R|, or its maximum where that is 0.
export function limit(heat, clip) {
  const sizes = Float64Array.from(heat, Math.abs).sort();
  const at = clip / 100 * (sizes.length - 1), low = Math.floor(at), high = Math.ceil(at);
  return sizes[low] + (sizes[high] - sizes[low]) * (at - low) || sizes[sizes.length - 1];
}

// The colour of a value between -v and v, of a table of 257.
export function colorOf(value, v, colors) {
  const unit = v ? Math.min(1, Math.max(0, (value / v + 1) / 2)) : 0.5;
  return colors[Math.round(unit * 256)];
}

// Pixels [r, g, b, 255, …] of values with 1 or 3 channels.
export function toPixels(values, channels) {
  const pixels = new Uint8ClampedArray(values.length / channels * 4);
  for (let n = 0, o = 0; n < values.length; n += channels) {
    pixels[o++] = values[n];
    pixels[o++] = values[channels === 1 ? n : n + 1];
    pixels[o++] = values[channels === 1 ? n : n + 2];
    pixels[o++] = 255;
  }
  return pixels;
}

// Give a canvas a size in pixels, and its pixels.
export function put(canvas, [height, width], pixels) {
  canvas.width = width;
  canvas.height = height;
  canvas.style.aspectRatio = `${width} / ${height}`;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

// Lay a heatmap over the pale grey of `pixels`, as opaque as its values are large; without pixels it stands alone.
export function paint(canvas, size, heat, { v, colors, pixels, opacity }) {
  const drawn = new Uint8ClampedArray(heat.length * 4);
  for (let n = 0, o = 0; n < heat.length; n++, o += 4) {
    const color = colorOf(heat[n], v, colors);
    let share = 1, pale = 0;
    if (pixels) {
      pale = 0.62 * (0.299 * pixels[o] + 0.587 * pixels[o + 1] + 0.114 * pixels[o + 2]) + 84;
      share = v ? Math.sqrt(Math.min(1, Math.abs(heat[n]) / v)) * opacity : 0;
    }
    for (let k = 0; k < 3; k++) drawn[o + k] = share * color[k] + (1 - share) * pale;
    drawn[o + 3] = 255;
  }
  put(canvas, size, drawn);
}
