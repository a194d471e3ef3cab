// The page over MediaPipe's ObjectDetector, which takes the TFLite file as it is. Pictures of any size could go in, but
// its own resize moves scores, so they are brought to the input's size here, as edgessd does.
import {fit, toPixels} from "./preprocess.js";
import {bytes, start, Trouble} from "./page.js";

const RUNTIME = new URL("mediapipe/", import.meta.url).href;

async function open(model) {
  const data = await bytes(model.file, "The model");
  let tasks;
  try { tasks = await import(`${RUNTIME}vision_bundle.mjs`); }
  catch { throw new Trouble("MediaPipe is missing beside this page (mediapipe/vision_bundle.mjs): write the page again with edgessd bundle."); }
  const files = {wasmLoaderPath: `${RUNTIME}vision_wasm_internal.js`, wasmBinaryPath: `${RUNTIME}vision_wasm_internal.wasm`};
  let detector;
  try {
    detector = await tasks.ObjectDetector.createFromOptions(files, {
      baseOptions: {modelAssetBuffer: data, delegate: "CPU"}, runningMode: "IMAGE", scoreThreshold: model.score_threshold,
    });
    detector.detect(new ImageData(model.input.width, model.input.height));  // the first run is the slowest
  } catch (error) { throw new Trouble(`MediaPipe cannot run the model: ${error.message || error}`); }
  const {width, height} = model.input;
  // It gives whole pixels, rounded down: half a pixel more is nearest to the truth.
  const one = ({categories: [best], boundingBox: {originX, originY, width: w, height: h}}, image) => {
    const [x, y] = [originX + 0.5, originY + 0.5], box = [x / width, y / height, (x + w + 0.5) / width, (y + h + 0.5) / height];
    return {name: best.categoryName, label: model.classes.indexOf(best.categoryName), score: best.score, box: toPixels(box, image, model.input)};
  };
  return {
    facts: "MediaPipe tasks-vision on wasm (CPU)",
    async detect(canvas) {
      const begun = performance.now();
      const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const rgb = fit(image, model.input), small = new ImageData(width, height);
      for (let i = 0, o = 0; o < rgb.length; i += 4, o += 3) {
        small.data[i] = rgb[o];
        small.data[i + 1] = rgb[o + 1];
        small.data[i + 2] = rgb[o + 2];
        small.data[i + 3] = 255;
      }
      const resized = performance.now();
      const answer = detector.detect(small);
      return {found: answer.detections.map(each => one(each, image)), milliseconds: {resize: resized - begun, run: performance.now() - resized}};
    },
    async close() { detector.close(); },
  };
}

start("mediapipe.json", open);
