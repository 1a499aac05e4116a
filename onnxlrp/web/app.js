import * as ort from "./ort/ort.wasm.min.mjs";
import { node, one } from "./shared/dom.js";
import { bar, number, partsOf, percent, reach, shares, told } from "./shared/ledger.js";
import { limit, paint, put, toPixels } from "./shared/paint.js";

// One thread: several need headers that not every server sends.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./ort/", document.baseURI).href;

const LARGEST = 24e6; // pixels of a picture; larger ones are made smaller first
const BEST = 5;
const sessions = new Map();
let site, pixels, result, target = -1, running = Promise.resolve(), wanted = 0;

const say = (text) => { one("status").textContent = text; };

function failed(error) {
  say(error instanceof Error ? error.message : String(error));
  document.body.dataset.state = "failed";
}

function session(method) {
  if (!sessions.has(method)) {
    const made = ort.InferenceSession.create(method.file, { executionProviders: ["wasm"] });
    sessions.set(method, made);
    made.catch(() => sessions.delete(method));
  }
  return sessions.get(method);
}

// -- from a picture to its pixels

async function read(blob) {
  let picture;
  try {
    picture = await createImageBitmap(blob, { imageOrientation: "from-image", premultiplyAlpha: "none",
                                              colorSpaceConversion: "none" });
  } catch {
    throw new Error("This file is not a picture that the browser can read.");
  }
  take(picture, picture.width, picture.height);
  picture.close();
}

function take(picture, width, height) {
  const factor = Math.min(1, Math.sqrt(LARGEST / (width * height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * factor));
  canvas.height = Math.max(1, Math.round(height * factor));
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff"; // what is transparent lies on white
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const rgb = new Uint8Array(canvas.width * canvas.height * 3);
  for (let i = 0, o = 0; i < data.length; i += 4) {
    rgb[o++] = data[i]; rgb[o++] = data[i + 1]; rgb[o++] = data[i + 2];
  }
  pixels = new ort.Tensor("uint8", rgb, [canvas.height, canvas.width, 3]);
  target = -1;
  explain();
}

// -- from pixels to the explanation

function explain() {
  if (!pixels) return;
  const turn = ++wanted;
  document.body.dataset.state = "running";
  say("Explaining…");
  running = running.then(async () => {
    if (turn !== wanted) return; // a later one is waiting
    const method = site.methods[one("method").selectedIndex];
    const found = await session(method);
    const began = performance.now();
    const feeds = { picture: pixels, target: new ort.Tensor("int64", BigInt64Array.of(BigInt(target)), [1]) };
    const outputs = await found.run(feeds);
    const scores = Float64Array.from(outputs[found.outputNames[0]].data);
    const heat = outputs.heatmap.data, seen = toPixels(outputs.seen.data, outputs.seen.dims[2]);
    result = { scores, heat, seen, v: limit(heat, site.clip), method, ledger: ledgerOf(outputs, found.outputNames, method) };
    result.target = target < 0 ? scores.indexOf(scores.reduce((a, b) => Math.max(a, b))) : target;
    show();
    say(`${site.title}: ${method.name}, ${Math.round(performance.now() - began)} ms`);
    document.body.dataset.state = "done";
    document.dispatchEvent(new CustomEvent("explained", { detail: result }));
  }).catch(failed);
}

// The rows of the ledger, from the output to the input; null for a method without one.
function ledgerOf(outputs, names, method) {
  if (!method.layers) return null;
  const rows = new Map(), columns = { out: "arrived", in: "passed" };
  for (const name of names) {
    const found = /^ledger\/(.*)\/(\w+)$/s.exec(name);
    if (!found) continue;
    if (!rows.has(found[1])) rows.set(found[1], { ...method.layers[found[1]] });
    rows.get(found[1])[columns[found[2]] || found[2]] = outputs[name].data[0];
  }
  return [...rows.values()];
}

function probabilities(scores) {
  if (site.shown === "exp") return scores.map(Math.exp);
  if (site.shown === "as-is") return scores;
  const most = scores.reduce((a, b) => Math.max(a, b));
  const sizes = scores.map((score) => Math.exp(score - most));
  const sum = sizes.reduce((a, b) => a + b);
  return sizes.map((size) => size / sum);
}

// -- from the explanation to the page

function show() {
  const { heat, seen, v } = result;
  put(one("seen"), site.size, seen);
  paint(one("map"), site.size, heat, { v, colors: site.colors, pixels: seen, opacity: one("opacity").value / 100 });
  table();
}

function row(body, first, text, share) {
  const line = body.insertRow();
  line.insertCell().append(first);
  line.insertCell().textContent = text;
  const meter = document.createElement("meter");
  meter.min = 0; meter.max = 1;
  meter.value = Math.min(1, Math.max(0, share));
  meter.setAttribute("aria-hidden", "true");
  line.insertCell().append(meter);
}

function table() {
  const found = probabilities(result.scores), name = site.labels[result.target];
  const best = [...found.keys()].sort((a, b) => found[b] - found[a]).slice(0, BEST);
  const scores = one("scores").tBodies[0], sums = one("sums").tBodies[0];
  scores.replaceChildren();
  for (const n of best) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = site.labels[n];
    button.setAttribute("aria-pressed", String(n === result.target));
    button.addEventListener("click", () => { choose(n); });
    row(scores, button, found[n].toFixed(3), found[n]);
  }
  const sum = result.heat.reduce((a, b) => a + b, 0);
  balance(sum);
  one("target").value = String(result.target);
  one("caption").textContent = `${name}, ${result.method.name}, ΣR ${number(sum)}`;
  one("map").setAttribute("aria-label", `Heatmap for ${name}`);
}

// Where the score goes, and layer by layer what arrives and what is absorbed.
function balance(sum) {
  const rows = result.ledger, sums = one("sums").tBodies[0];
  one("sums").hidden = one("balance").hidden = !rows;
  if (!rows) return;
  const absorbed = {};
  for (const row of rows) for (const [key, value] of Object.entries(row)) if (typeof value === "number") absorbed[key] = (absorbed[key] || 0) + value;
  const found = shares("the heatmap", rows[0].arrived, sum, absorbed), ends = reach(found.map(([, value]) => value));
  const before = [...sums.querySelectorAll(".bar")];
  sums.replaceChildren(...found.map(([name, value, share], n) => node("tr", {}, node("td", {}, name),
    node("td", {}, `${number(value)}, ${percent(share)}`),
    node("td", {}, bar([[0, value, n ? "absorbed" : value < 0 ? "minus" : "plus"]], ends, before[n])))));
  const wide = reach(rows.flatMap((row) => [row.arrived, row.conserves ? row.passed : 0]));
  const old = [...one("layers").querySelectorAll(".bar")];
  one("layers").tBodies[0].replaceChildren(...rows.map((row, n) => node("tr", { title: told(row) },
    node("td", {}, `${row.layer} `, node("small", {}, row.op)), node("td", {}, number(row.arrived)),
    node("td", {}, bar(partsOf(row), wide, old[n])))));
}

function choose(n) {
  target = n;
  explain();
}

// -- the page

function camera() {
  const video = one("video");
  navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then((stream) => {
    video.srcObject = stream;
    video.hidden = one("shoot").hidden = false;
    return video.play();
  }).catch(() => failed("The camera cannot be used: allow it, and serve the page by https or from this machine."));
}

function shoot() {
  const video = one("video");
  take(video, video.videoWidth, video.videoHeight);
  video.srcObject.getTracks().forEach((track) => track.stop());
  video.hidden = one("shoot").hidden = true;
}

async function start() {
  site = await (await fetch("site.json")).json();
  document.title = one("title").textContent = `Explain ${site.title}`;
  site.methods.forEach((method) => one("method").add(new Option(method.name)));
  site.labels.forEach((label, n) => one("target").add(new Option(label, String(n))));
  one("opacity").value = String(Math.round(site.blend * 100));
  for (const id of ["method", "target", "opacity"]) one(id).disabled = false;
  const assumed = site.assumed.length ? ` Assumed, not stated by the model: ${site.assumed.join(", ")}.` : "";
  one("about").textContent = `Model ${site.sha256.slice(0, 12)}, preprocessing from ${site.preprocessing.source}.` + assumed;
  one("method").addEventListener("change", explain);
  one("target").addEventListener("change", () => choose(Number(one("target").value)));
  one("opacity").addEventListener("input", () => { if (result) show(); });
  one("file").addEventListener("change", (event) => read(event.target.files[0]).catch(failed));
  one("camera").addEventListener("click", camera);
  one("shoot").addEventListener("click", shoot);
  const drop = one("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) read(event.dataTransfer.files[0]).catch(failed);
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) read(event.clipboardData.files[0]).catch(failed);
  });
  if (navigator.serviceWorker && location.protocol !== "file:") navigator.serviceWorker.register("sw.js").catch(() => {});
  await session(site.methods[0]);
  say("Ready.");
  document.body.dataset.state = "ready";
  const own = new URLSearchParams(location.search).get("picture"); // a picture beside the page: ?picture=cat.png
  if (own && /^[\w.-]+$/.test(own)) await read(await (await fetch(own)).blob());
}

start().catch(failed);
