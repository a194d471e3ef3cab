// The page over onnxruntime-web. The graph ends with the suppression: here is only resize, run, and pixels.
import {preprocess, toPixels} from "./preprocess.js";
import {bytes, start, Trouble} from "./page.js";

const RUNTIME = new URL("ort/", import.meta.url).href;
const BACKENDS = {wasm: ["ort.wasm.min.mjs", "wasm (CPU)"], webgpu: ["ort.webgpu.min.mjs", "WebGPU"]};

const adapter = async () => (navigator.gpu && await navigator.gpu.requestAdapter().catch(() => null)) || null;
const inSoftware = gpu => (gpu.info || {}).isFallbackAdapter || gpu.isFallbackAdapter;

// Integer files are made for the CPU's integer units; float ones are faster on a GPU, if it is a real one.
async function choose(model, wanted) {
  const gpu = await adapter();
  if (wanted === "webgpu" && !gpu) return ["wasm", "This browser has no WebGPU: the model runs on wasm (CPU)."];
  if (wanted in BACKENDS) return [wanted, null];
  return [gpu && !inSoftware(gpu) && model.precision !== "int8" ? "webgpu" : "wasm", null];
}

// The runtime with a session that has run once, because the first run is the slowest.
async function load(model, backend, data) {
  const [script, words] = BACKENDS[backend], blank = {data: new Uint8ClampedArray(16), width: 2, height: 2};
  let ort;
  try { ort = await import(RUNTIME + script); }
  catch { throw new Trouble(`The runtime is missing beside this page (ort/${script}): write the page again with edgessd bundle.`); }
  try {
    ort.env.wasm.wasmPaths = RUNTIME;
    ort.env.logLevel = "error";
    const network = await ort.InferenceSession.create(data, {executionProviders: [backend], logSeverityLevel: 3});
    await network.run({[network.inputNames[0]]: new ort.Tensor(model.input.dtype, preprocess(blank, model.input), model.input.shape)});
    return [ort, network];
  } catch (error) { throw new Trouble(`onnxruntime-web cannot run the model on ${words}: ${error.message}`); }
}

async function open(model, wanted) {
  const data = await bytes(model.file, "The model");
  let [backend, notice] = await choose(model, wanted), ort, network;
  try { [ort, network] = await load(model, backend, data); }
  catch (error) {
    if (backend === "wasm") throw error;
    notice = `It runs on wasm (CPU) instead. ${error.message}`;
    backend = "wasm";
    [ort, network] = await load(model, backend, data);
  }
  const input = network.inputNames[0], [boxesName, scoresName, labelsName, countName] = model.outputs;
  if (model.outputs.some(name => !network.outputNames.includes(name))) throw new Trouble("model.json does not belong to the model beside it: write the page again with edgessd bundle.");
  const threads = ort.env.wasm.numThreads;
  return {
    backend, notice,
    facts: `onnxruntime-web ${ort.env.versions.web} on ${BACKENDS[backend][1]}${backend === "wasm" ? `, ${threads} thread${threads > 1 ? "s" : ""}` : ""}`,
    backends: {wasm: BACKENDS.wasm[1], webgpu: await adapter() ? BACKENDS.webgpu[1] : null},
    async detect(canvas) {
      const begun = performance.now();
      const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const values = preprocess(image, model.input);
      const resized = performance.now();
      const answer = await network.run({[input]: new ort.Tensor(model.input.dtype, values, model.input.shape)});
      const done = performance.now();
      return {found: collect(answer, image), milliseconds: {resize: resized - begun, run: done - resized}};
    },
    async close() { await network.release(); },
  };

  function collect(answer, image) {
    const boxes = answer[boxesName].data, scores = answer[scoresName].data, labels = answer[labelsName].data;
    const count = Math.min(Number(answer[countName].data[0]), scores.length), found = [];
    for (let i = 0; i < count; i++) {
      const label = Number(labels[i]), box = toPixels(boxes.subarray(i * 4, i * 4 + 4), image, model.input);
      if (!(label in model.classes) || !(box[2] > box[0] && box[3] > box[1])) continue;
      found.push({name: model.classes[label], label, score: scores[i], box});
    }
    return found;
  }
}

start("model.json", open);
