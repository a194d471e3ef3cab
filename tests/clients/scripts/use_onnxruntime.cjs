// onnxruntime-node or onnxruntime-web (WebAssembly), default options; level nms.
// node SCRIPT PACKAGE MODEL FACTS ANSWER PICTURE...: as in common.py. The package is that of the working directory, the
// pictures are binary PPM.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");

const [name, model, factsFile, answer, ...pictures] = process.argv.slice(2);
const ort = createRequire(path.join(process.cwd(), "index.js"))(name);
const facts = JSON.parse(fs.readFileSync(factsFile));

function readPpm(file) {
  const data = fs.readFileSync(file);
  const [head, width, height] = /^P6\s(\d+)\s(\d+)\s255\s/.exec(data.toString("latin1", 0, 64));
  return { width: Number(width), height: Number(height), data: data.subarray(head.length) };
}

// Bilinear as OpenCV computes it, pixel centers at halves, so that the network gets the pixels that edgessd's gets:
// weights in 1/2048, halves to the even number, and its cuts of bits on the way.
const { fround } = Math;
const even = (value) => Math.round(value) - (value % 1 === 0.5 && Math.round(value) % 2 ? 1 : 0);

function taps(from, to) {
  const scale = 1 / (to / from);
  return Array.from({ length: to }, (_, i) => {
    const place = fround((i + 0.5) * scale - 0.5);
    const low = Math.floor(place);
    const inside = low >= 0 && low < from - 1;
    const along = inside ? fround(place - low) : 0;
    const first = Math.min(Math.max(low, 0), from - 1);
    return [first, inside ? first + 1 : first, even(fround(1 - along) * 2048), even(along * 2048)];
  });
}

function resize(picture, width, height) {
  const [columns, rows] = [taps(picture.width, width), taps(picture.height, height)];
  const at = (x, y, c) => picture.data[(y * picture.width + x) * 3 + c];
  const out = new Uint8Array(width * height * 3);
  rows.forEach(([top, bottom, up, down], y) => columns.forEach(([left, right, before, behind], x) => {
    for (let c = 0; c < 3; c++) {
      const upper = (at(left, top, c) * before + at(right, top, c) * behind) >> 4;
      const lower = (at(left, bottom, c) * before + at(right, bottom, c) * behind) >> 4;
      out[(y * width + x) * 3 + c] = (((upper * up) >> 16) + ((lower * down) >> 16) + 2) >> 2;
    }
  }));
  return out;
}

function tensorOf(picture) {
  const { width, height, dtype, layout, mean, scale } = facts.input;
  const bytes = resize(picture, width, height);
  const planar = layout === "NCHW";
  const values = dtype === "float32" ? new Float32Array(bytes.length) : new Uint8Array(bytes.length);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const value = bytes[i * 3 + c];
      values[planar ? c * width * height + i : i * 3 + c] = dtype === "float32" ? (value - mean[c]) / scale[c] : value;
    }
  }
  return new ort.Tensor(dtype, values, planar ? [1, 3, height, width] : [1, height, width, 3]);
}

async function main() {
  const session = await ort.InferenceSession.create(model);
  const found = [];
  for (const file of pictures) {
    const picture = readPpm(file);
    const { boxes, scores, labels } = await session.run({ [session.inputNames[0]]: tensorOf(picture) });
    const rows = [];
    for (let i = 0; i < scores.data.length && scores.data[i] > 0; i++) {
      const box = [0, 1, 2, 3].map((k) => boxes.data[i * 4 + k] * (k % 2 ? picture.height : picture.width));
      rows.push([Number(labels.data[i]), scores.data[i], ...box]);
    }
    found.push(rows);
  }
  fs.writeFileSync(answer, JSON.stringify(found));
}

main().then(() => process.exit(0), (error) => { console.error(String(error)); process.exit(1); });
