// What both pages share: pictures and the camera in, boxes and times out. An engine has `detect(canvas)`.

const $ = id => document.getElementById(id);
const MOST_PIXELS = 16e6;  // what a phone's canvas takes; larger pictures are drawn smaller
const SERVE = 'run "python -m http.server" in the page\'s folder and open http://localhost:8000';

export class Trouble extends Error {}  // its message is a sentence for the page

export async function bytes(name, what) {
  const answer = await fetch(name).catch(() => null);
  if (!answer) throw new Trouble(`${what} (${name}) cannot be loaded: is the server still there?`);
  if (!answer.ok) throw new Trouble(`${what} (${name}) is missing beside this page (${answer.status}): write the page again with edgessd bundle.`);
  return new Uint8Array(await answer.arrayBuffer());
}

let model = null, engine = null, open = null, camera = null, facing = "environment", last = null, busy = false, turn = 0;
const frame = document.createElement("canvas");  // the picture without boxes
const context = frame.getContext("2d", {willReadFrequently: true});

export async function start(file, opener) {
  open = opener;
  if (typeof WebAssembly !== "object") return say("This browser has no WebAssembly: take a newer one.");
  try {
    model = JSON.parse(new TextDecoder().decode(await bytes(file, "The model's description")));
    $("title").textContent = document.title = model.title;
    $("shown").textContent = model.score_threshold.toFixed(2);
    $("threshold").min = model.score_threshold;
    $("threshold").value = model.score_threshold;
    $("kinds").textContent = `(${model.classes.length})`;
    $("classes").textContent = model.classes.join(", ");
    if (model.other) {
      const link = document.createElement("a");
      [link.href, link.textContent] = model.other;
      $("other").append("The same detector on ", link);
      $("other").hidden = false;
    }
    await load(new URLSearchParams(location.search).get("backend"));
  } catch (error) { fail(error); }
}

async function load(backend) {
  say(`Loading the runtime and the model (${model.megabytes.toFixed(1)} MB) ...`);
  enable(false);
  const before = engine;
  engine = null;
  await free();
  if (before) await before.close();
  engine = await open(model, backend);
  $("facts").textContent = `${model.precision}, ${model.input.width} x ${model.input.height}; ${engine.facts}`;
  const choices = Object.entries(engine.backends || {});
  $("backends").hidden = !choices.length;
  $("backend").replaceChildren(...choices.map(([key, text]) => {
    const option = new Option(text || "WebGPU (not in this browser)", key);
    option.disabled = !text;
    return option;
  }));
  if (choices.length) $("backend").value = engine.backend;
  say(engine.notice, engine.notice ? 8000 : 0);
  enable(true);
  if (last && !camera) show(await look());
}

function enable(on) { for (const id of ["camera", "choose", "backend", "threshold"]) $(id).disabled = !on; }

let timer = 0;
function say(text, milliseconds = 0) {
  clearTimeout(timer);
  $("say").textContent = text || "";
  $("say").hidden = !text;
  if (milliseconds) timer = setTimeout(() => say(""), milliseconds);
}

function fail(error) {
  console.warn(error);
  closeCamera();
  say(error instanceof Trouble ? error.message : `Something went wrong: ${error.message || error}`);
}

const free = async () => { while (busy) await new Promise(resolve => setTimeout(resolve, 5)); };

// The frame through the engine: its detections and times; null while another engine is loaded.
async function look() {
  await free();
  if (!engine) return null;
  busy = true;
  try { return await engine.detect(frame); } finally { busy = false; }
}

function show(result) {
  if (!result) return;
  last = result;
  redraw();
}

const color = label => `hsl(${(label * 137.5 + 205) % 360} 85% 68%)`;

function redraw() {
  const begun = performance.now(), threshold = Number($("threshold").value);
  const found = last.found.filter(each => each.score > threshold);
  $("empty").hidden = true;
  const [pen, scale] = canvas();
  pen.drawImage(frame, 0, 0, frame.width * scale, frame.height * scale);
  outline(pen, scale, found);
  list(found);
  times({...last.milliseconds, draw: performance.now() - begun});
}

// Boxes, the best on top, then their names, each where it hides no other name if there is such a place.
function outline(pen, scale, found) {
  const unit = devicePixelRatio || 1, high = 20 * unit, width = frame.width * scale, height = frame.height * scale, taken = [];
  pen.lineWidth = 2.5 * unit;
  for (const {label, box: [x1, y1, x2, y2]} of [...found].reverse()) {
    pen.strokeStyle = color(label);
    pen.strokeRect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
  }
  pen.font = `600 ${13 * unit}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  for (const {name, label, score, box} of found) {
    const [x1, y1, x2, y2] = box.map(value => value * scale), text = `${name} ${Math.round(score * 100)} %`;
    const wide = pen.measureText(text).width + 10 * unit, right = x2 - wide + pen.lineWidth / 2, left = x1 - pen.lineWidth / 2;
    const places = [[left, y1 - high], [right, y1 - high], [left, y2], [right, y2], [left, y1], [left, y2 - high], [right, y2 - high]]
      .map(([x, y]) => [Math.max(0, Math.min(x, width - wide)), Math.max(0, Math.min(y, height - high))]);
    const hides = ([x, y]) => taken.some(([a, b, w]) => x < a + w && a < x + wide && y < b + high && b < y + high);
    const [x, y] = places.find(place => !hides(place)) || places[0];
    taken.push([x, y, wide]);
    pen.fillStyle = color(label);
    pen.fillRect(x, y, wide, high);
    pen.fillStyle = "#0b0d11";
    pen.fillText(text, x + 5 * unit, y + high / 2 + unit);
  }
}

// The canvas in the screen's own pixels, so that lines and text are sharp; and how many of them one of the frame has.
function canvas() {
  const element = $("picture"), ratio = devicePixelRatio || 1;
  element.hidden = false;
  const room = [$("stage").clientWidth, innerHeight * (innerWidth > 860 ? 0.72 : 0.6)];
  const scale = Math.min(room[0] / frame.width, room[1] / frame.height);
  const width = Math.round(frame.width * scale * ratio), height = Math.round(frame.height * scale * ratio);
  if (element.width !== width || element.height !== height) {
    [element.width, element.height] = [width, height];
    element.style.width = `${frame.width * scale}px`;
  }
  return [element.getContext("2d"), scale * ratio];
}

function list(found) {
  $("count").textContent = found.length ? `(${found.length})` : "";
  $("nothing").hidden = found.length > 0;
  $("nothing").textContent = "nothing above the threshold";
  $("objects").replaceChildren(...found.slice(0, 50).map(({name, label, score, box}) => {
    const row = document.createElement("tr"), first = row.insertCell(), bar = row.insertCell(), percent = row.insertCell();
    const mark = document.createElement("i"), track = document.createElement("div"), fill = document.createElement("div");
    row.title = `score ${score.toFixed(4)}, box ${box.map(value => value.toFixed(1)).join(" ")}`;
    mark.style.background = color(label);
    first.append(mark, name);
    bar.className = "bar";
    fill.style.width = `${Math.round(score * 100)}%`;
    track.append(fill);
    bar.append(track);
    percent.textContent = `${Math.round(score * 100)} %`;
    return row;
  }));
}

// Means of the last camera frames; of one picture, its own times.
const recent = {};
let stamps = [];
function times(milliseconds) {
  for (const stage of ["resize", "run", "draw"]) {
    const values = recent[stage] = camera ? [...(recent[stage] || []), milliseconds[stage]].slice(-20) : [milliseconds[stage]];
    $(stage).textContent = milliseconds[stage] === undefined ? "-" : (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(1);
  }
  stamps = camera ? [...stamps, performance.now()].slice(-20) : [];
  $("fps").textContent = stamps.length > 1 ? ((stamps.length - 1) * 1000 / (stamps.at(-1) - stamps[0])).toFixed(1) : "-";
}

async function picture(file) {
  if (!file || !engine) return;
  const mine = ++turn;
  closeCamera();
  let image;
  // Upright by EXIF, and the file's own pixel values without its colour profile: as edgessd reads pictures.
  try { image = await createImageBitmap(file, {imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none"}); }
  catch { return say(`${file.name || "That"} is no picture that this browser can read.`); }
  if (mine !== turn) return;
  const ratio = Math.min(1, Math.sqrt(MOST_PIXELS / (image.width * image.height)));
  frame.width = Math.max(1, Math.round(image.width * ratio));
  frame.height = Math.max(1, Math.round(image.height * ratio));
  context.drawImage(image, 0, 0, frame.width, frame.height);
  image.close();
  say("");
  try {
    const result = await look();
    if (mine === turn) show(result);
  } catch (error) { fail(error); }
}

const REFUSALS = {
  NotFoundError: "There is no camera here: choose or drop a picture instead.",
  NotAllowedError: "The camera was refused: allow it beside the page's address and start it again, or choose a picture.",
  NotReadableError: "The camera is there but gives no picture: is another program using it?",
  OverconstrainedError: "There is no such camera here: choose or drop a picture instead.",
};

async function openCamera() {
  turn++;
  if (!navigator.mediaDevices) return say(`Browsers give the camera only to https and localhost: ${SERVE}, or choose a picture.`);
  say("Starting the camera ...");
  let stream;
  try { stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: facing, width: {ideal: 640}}, audio: false}); }
  catch (error) { return say(REFUSALS[error.name] || `The camera was not given: ${error.message}`); }
  const video = document.createElement("video");
  video.playsInline = video.muted = true;
  video.srcObject = stream;
  camera = {stream, video};
  stream.getVideoTracks()[0].onended = () => { closeCamera(); say("The camera is gone: plug it in and start it again."); };
  $("camera").textContent = "Stop camera";
  $("camera").setAttribute("aria-pressed", "true");
  const mine = camera;
  try {
    await video.play();
    const devices = await navigator.mediaDevices.enumerateDevices();
    $("flip").hidden = camera !== mine || devices.filter(each => each.kind === "videoinput").length < 2;
    say("");
    while (camera === mine) {
      await new Promise(resolve => video.requestVideoFrameCallback ? video.requestVideoFrameCallback(resolve) : requestAnimationFrame(resolve));
      if (camera !== mine || !video.videoWidth) continue;
      if (!engine) { await new Promise(resolve => setTimeout(resolve, 20)); continue; }
      if (frame.width !== video.videoWidth || frame.height !== video.videoHeight) [frame.width, frame.height] = [video.videoWidth, video.videoHeight];
      context.drawImage(video, 0, 0);
      const result = await look();
      if (camera === mine) show(result);
    }
  } catch (error) { if (camera === mine) fail(error); }
}

function closeCamera() {
  if (!camera) return;
  camera.stream.getTracks().forEach(track => track.stop());
  camera = null;
  $("camera").textContent = "Start camera";
  $("camera").setAttribute("aria-pressed", "false");
  $("flip").hidden = true;
}

$("camera").onclick = () => camera ? closeCamera() : openCamera();
$("flip").onclick = () => { facing = facing === "user" ? "environment" : "user"; closeCamera(); openCamera(); };
$("choose").onclick = () => $("file").click();
$("file").onchange = () => { picture($("file").files[0]); $("file").value = ""; };
$("threshold").oninput = () => { $("shown").textContent = Number($("threshold").value).toFixed(2); if (last) redraw(); };
$("backend").onchange = () => load($("backend").value).catch(fail);
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, event => {
    event.preventDefault();
    $("stage").classList.toggle("over", kind === "dragover");
    if (kind === "drop") picture(event.dataTransfer.files[0]);
  });
}
addEventListener("resize", () => { if (last && !camera) redraw(); });
