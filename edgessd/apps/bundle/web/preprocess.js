// From pixels to the input tensor, as edgessd/ops/preprocess.py does it: a bilinear resize, then a table of values.

const BITS = 11, ONE = 1 << BITS;  // OpenCV's fixed-point weights

const even = value => { const down = Math.floor(value), rest = value - down; return rest === 0.5 ? down + (down & 1) : Math.round(value); };

// The two neighbours of every output place and their weights. Outside the picture the border counts.
function places(from, to) {
  const low = new Int32Array(to), high = new Int32Array(to), first = new Int32Array(to), second = new Int32Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.fround((i + 0.5) * (from / to) - 0.5), whole = Math.floor(at), part = Math.fround(at - whole);
    low[i] = Math.min(Math.max(whole, 0), from - 1);
    high[i] = Math.min(Math.max(whole + 1, 0), from - 1);
    first[i] = even((1 - part) * ONE);
    second[i] = even(part * ONE);
  }
  return {low, high, first, second};
}

// RGBA bytes of a picture -> RGB bytes [toHeight, toWidth, 3], as cv2.resize with INTER_LINEAR.
export function resize(rgba, width, height, toWidth, toHeight) {
  const out = new Uint8Array(toWidth * toHeight * 3);
  if (width === toWidth && height === toHeight) {
    for (let i = 0, o = 0; i < rgba.length; i += 4) { out[o++] = rgba[i]; out[o++] = rgba[i + 1]; out[o++] = rgba[i + 2]; }
    return out;
  }
  const x = places(width, toWidth), y = places(height, toHeight);
  let upper = new Int32Array(toWidth * 3), lower = new Int32Array(toWidth * 3), upperRow = -1, lowerRow = -1;
  const across = (row, line) => {
    const start = row * width * 4;
    for (let i = 0, o = 0; i < toWidth; i++) {
      const a = start + x.low[i] * 4, b = start + x.high[i] * 4, f = x.first[i], s = x.second[i];
      line[o++] = (rgba[a] * f + rgba[b] * s) >> 4;
      line[o++] = (rgba[a + 1] * f + rgba[b + 1] * s) >> 4;
      line[o++] = (rgba[a + 2] * f + rgba[b + 2] * s) >> 4;
    }
  };
  for (let j = 0, o = 0; j < toHeight; j++) {
    if (y.low[j] !== upperRow && y.low[j] === lowerRow) {
      [upper, lower] = [lower, upper];
      [upperRow, lowerRow] = [lowerRow, -1];
    }
    if (y.low[j] !== upperRow) across(upperRow = y.low[j], upper);
    if (y.high[j] !== lowerRow) across(lowerRow = y.high[j], lower);
    const f = y.first[j], s = y.second[j];
    for (let i = 0; i < upper.length; i++) out[o++] = (((f * upper[i]) >> 16) + ((s * lower[i]) >> 16) + 2) >> 2;
  }
  return out;
}

// Width and height in pixels that a picture takes up in the input.
export function contentSize(input, width, height) {
  if (input.resize === "stretch") return [input.width, input.height];
  const ratio = Math.min(input.width / width, input.height / height);
  return [Math.max(1, even(width * ratio)), Math.max(1, even(height * ratio))];
}

// {data, width, height} as of getImageData -> RGB bytes [input.height, input.width, 3].
export function fit(image, input) {
  const [width, height] = contentSize(input, image.width, image.height);
  const rgb = resize(image.data, image.width, image.height, width, height);
  if (width === input.width && height === input.height) return rgb;
  const whole = new Uint8Array(input.width * input.height * 3).fill(input.pad_value);
  for (let row = 0; row < height; row++) whole.set(rgb.subarray(row * width * 3, (row + 1) * width * 3), row * input.width * 3);
  return whole;
}

const ARRAYS = {uint8: Uint8Array, int8: Int8Array, float32: Float32Array};

// The same -> the input's values, in the order of the tensor.
export function preprocess(image, input) {
  const rgb = fit(image, input), nhwc = input.layout === "NHWC", bgr = input.channels === "BGR", area = input.width * input.height;
  if (nhwc && !bgr && !input.table) return rgb;
  const out = new ARRAYS[input.dtype](area * 3);
  for (let channel = 0; channel < 3; channel++) {
    const from = bgr ? 2 - channel : channel, table = input.table ? input.table[channel] : null;
    for (let i = 0, o = nhwc ? channel : channel * area; i < area; i++, o += nhwc ? 3 : 1) {
      const value = rgb[i * 3 + from];
      out[o] = table ? table[value] : value;
    }
  }
  return out;
}

// A box in units of the input -> pixels, cut to the picture.
export function toPixels([x1, y1, x2, y2], image, input) {
  const [width, height] = contentSize(input, image.width, image.height);
  const x = value => Math.min(Math.max(value * input.width * image.width / width, 0), image.width);
  const y = value => Math.min(Math.max(value * input.height * image.height / height, 0), image.height);
  return [x(x1), y(y1), x(x2), y(y2)];
}
