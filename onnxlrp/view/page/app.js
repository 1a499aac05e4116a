// The page of `onnxlrp view`: what is asked for, and what is shown of it.
import { node, one } from "./shared/dom.js";
import { focusList, inside, joined, list } from "./layers.js";
import { show } from "./stage.js";

const LANE = Array.from(crypto.getRandomValues(new Uint32Array(2)), (part) => part.toString(36)).join("");
const LARGEST = 64 << 20;
const asked = { sample: "", row: 0, target: "top1", method: "auto", options: {}, rules: [] };
let about, found = null, redraw = () => {}, turn = 0, samples = [], listed = 0, rules = null, chosen = null, whose = 0;
const look = { colors: [], opacity: 0.92 };

// -- requests

async function call(name, body, query = {}) {
  const address = `api/${name}?${new URLSearchParams(query)}`;
  const raw = body instanceof Blob;
  const how = body === undefined ? {} : { method: "POST", body: raw ? body : JSON.stringify(body),
    headers: { "Content-Type": raw ? "application/octet-stream" : "application/json" } };
  let reply;
  try {
    reply = await fetch(address, how);
  } catch {
    throw { message: "onnxlrp view does not answer: it has ended", fix: "start it again in the terminal" };
  }
  const data = await reply.json();
  if (!reply.ok) throw { ...data.error, superseded: reply.status === 409 };
  return data;
}

function say(text, state) {
  one("status").textContent = text;
  if (state) document.body.dataset.state = state;
}

function failed(error) {
  if (error.superseded) return;
  if (!error.fix) console.error(error);
  const box = one("error");
  box.querySelector("strong").textContent = error.message || String(error);
  box.querySelector("p").textContent = error.fix || "";
  box.hidden = false;
  say("", "failed");
}

// -- explanations

async function explain() {
  one("error").hidden = true;
  mark();
  drawOwn();
  one("content").dataset.stale = ""; // until what is asked for is shown, also where that fails
  const own = ++turn;
  if (!asked.sample) return browse(own);
  say("Explaining…", "running");
  const ended = watch(own);
  try {
    const [next, layers] = [await call("explain", request(own)), await call("layers", request(own))];
    if (own !== turn) return;
    rules = layers.models;
    found = next;
    redraw = await show(found, about.models, look, choose);
    delete one("content").dataset.stale;
    after();
  } catch (error) {
    if (own === turn) failed(error);
  } finally {
    ended();
  }
  if (own === turn && chosen && document.body.dataset.state === "done") await inner(chosen);
}

const request = (own, more = {}) => ({ ...asked, options: { ...asked.options }, lane: LANE, turn: own, ...more });

// Without a sample: the layers and their rules alone.
async function browse(own) {
  try {
    rules = (await call("layers", request(own))).models;
    if (own !== turn) return;
    delete one("content").dataset.stale;
    drawLayers();
    say("Choose a sample.", "ready");
  } catch (error) {
    failed(error);
  }
}

function after() {
  const first = found.results[0];
  one("target").value = asked.target === "top1" ? "" : asked.target;
  one("target").placeholder = `${first.target.label}, the best one`;
  one("rows").hidden = found.rows < 2;
  one("row").max = found.rows - 1;
  one("of").textContent = `0 to ${found.rows - 1}`;
  drawLayers();
  showCode(found.code);
  const slow = Math.max(...found.results.map((result) => result.seconds || 0));
  say(`${first.method}: ${slow < 1 ? `${Math.round(1000 * slow)} ms` : `${slow.toFixed(1)} s`}`, "done");
  document.dispatchEvent(new CustomEvent("explained", { detail: found }));
}

// Ask now and then how far a method of many passes has come.
function watch(own) {
  const timer = setInterval(async () => {
    const { done, of } = await call("progress", undefined, { lane: LANE }).catch(() => ({ of: 0 }));
    if (own !== turn || !of) return;
    one("progress").hidden = one("stop").hidden = false;
    one("progress").firstElementChild.style.width = `${100 * done / of}%`;
    say(`Explaining… ${done} of ${of} passes`);
  }, 400);
  return () => {
    clearInterval(timer);
    if (own === turn) one("progress").hidden = one("stop").hidden = true;
  };
}

async function stop() {
  if (document.body.dataset.state !== "running") return;
  await call("stop", request(++turn)).catch(failed);
  one("progress").hidden = one("stop").hidden = true;
  say("Stopped: what is shown is from before.", "stopped");
}

function choose(target) {
  asked.target = target;
  explain();
}

// -- layers

function drawLayers() {
  const mine = rules[whose] || rules[0];
  const result = found?.results[whose];
  one("network").textContent = about.models.length > 1 ? "Layers of" : "Layers";
  const ledger = result?.ledger || null;
  list(mine.layers, ledger, chosen?.layer.match ?? "", (layer, row) => inner({ layer, row, model: whose }));
  const unread = about.models[whose].unread;
  one("legend").textContent = unread ? `They cannot be read: ${unread}` : ledger
    ? "The bar is the relevance that arrives at a layer; yellow is what it absorbs, hatched what it adds."
    : found ? "This method keeps no ledger." : `From the output to the input, with the rules of ${mine.method}.`;
}

// The rules that were given on the page, each with what takes it away.
function drawOwn() {
  const own = asked.rules.map(([match, rule], n) => node("button", { type: "button", className: "chip", title: "take it away",
    on: { click: () => { asked.rules.splice(n, 1); explain(); } } }, `${match} = ${rule} ✕`));
  const idle = own.length && !entry(one("method").value)?.rules ? [node("span", { className: "quiet" }, "not for this method")] : [];
  one("own").replaceChildren(...(own.length ? [node("span", {}, "Rules of your own"), ...own, ...idle] : []));
}

async function inner(what) {
  chosen = what;
  drawLayers();
  const mine = rules[what.model];
  const here = joined(mine.layers, found?.results[what.model]?.ledger).find(({ layer }) => layer.match === what.layer.match);
  const { layer, row } = here || { layer: what.layer, row: null };
  const first = found?.results[what.model];
  const decide = entry(mine.method)?.rules && !about.models[what.model].unread ? (match, rule) => {
    asked.rules = [[match, rule], ...asked.rules.filter(([other]) => other !== match)];
    explain();
  } : null;
  const draw = (data) => inside(data, layer, row, look, first, about.rules, decide);
  if (!first || first.error || !layer.record || !entry(mine.method)?.rules) return draw(null);
  one("inner").setAttribute("aria-busy", "true");
  const own = turn;
  try {
    const data = await call("inner", request(turn, { layer: layer.record, model: what.model, lane: `${LANE}i`, turn: ++inners }));
    if (own !== turn || chosen !== what) return;
    draw(data);
    showCode(data.code);
    document.dispatchEvent(new CustomEvent("looked", { detail: data }));
  } catch (error) {
    failed(error);
  } finally {
    one("inner").removeAttribute("aria-busy");
  }
}
let inners = 0;

const entry = (name) => about.methods.find((one) => one.name === name);

// -- code

function showCode({ shell, python, note }) {
  one("codes").hidden = false;
  one("shell").textContent = shell;
  one("python").textContent = python;
  one("hint").textContent = note;
}

async function copy(which) {
  const text = one(which).textContent;
  if (!text) return;
  try {
    await navigator.clipboard.writeText(text);
    say(which === "shell" ? "The command is copied." : "The Python code is copied.");
  } catch {
    getSelection().selectAllChildren(one(which));
    say("Selected: copy it with the keys of your browser.");
  }
}

// -- samples

async function fetchSamples() {
  const part = await call("samples", undefined, { start: listed });
  const fresh = listed === 0 ? [] : samples;
  samples = [...fresh, ...part.files];
  listed = samples.length;
  drawSamples(part);
}

let dropped = [], count = 0;
function drawSamples(part) {
  if (part) { dropped = part.dropped; count = part.count; }
  one("samples").replaceChildren(...all().map((sample) => {
    const button = node("button", { type: "button", title: sample.origin, "data-id": sample.id, on: { click: () => take(sample.id) } },
                        node("span", {}, sample.name));
    const plain = () => button.classList.add("plain");
    if (sample.picture) {
      const image = node("img", { alt: "", loading: "lazy", src: `api/thumbnail?id=${encodeURIComponent(sample.id)}` });
      image.addEventListener("error", () => { image.remove(); plain(); });
      button.prepend(image);
    } else plain();
    return node("li", {}, button);
  }));
  one("more").hidden = listed >= count;
  one("more").textContent = `More (${count - listed})`;
  mark();
}

const all = () => [...dropped, ...samples];

function mark() {
  for (const button of one("samples").querySelectorAll("button")) {
    const own = button.dataset.id === asked.sample;
    button.setAttribute("aria-pressed", String(own));
    if (own) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function take(id) {
  asked.sample = id;
  asked.row = 0;
  one("row").value = "0";
  explain();
}

function step(by) {
  const places = all(), at = places.findIndex(({ id }) => id === asked.sample) + by;
  if (places[at]) take(places[at].id);
}

async function drop(file) {
  if (!file) return;
  try {
    if (file.size > LARGEST) throw { message: `${file.name} has ${Math.round(file.size / (1 << 20))} MiB`, fix: `give ${LARGEST >> 20} MiB at most, or name the file in the terminal behind the model` };
    say(`Reading ${file.name}…`, "running");
    added(await call("sample", new Blob([file]), { name: file.name }));
  } catch (error) {
    failed(error);
  }
}

async function added({ id }) {
  const part = await call("samples", undefined, { start: 0 });
  drawSamples({ ...part, files: [] });
  take(id);
}

// -- controls

function fillMethods() {
  const { name, reason } = about.models[0].default;
  const groups = [["by rules through the layers", true], ["by gradients, or by hiding parts", false]];
  for (const [label, isRules] of groups) {
    const group = node("optgroup", { label });
    for (const method of about.methods.filter((one) => one.rules === isRules)) {
      const said = method.name === name ? `${method.name} (default for ${reason})` : method.name;
      group.append(new Option(said, method.name));
    }
    one("method").append(group);
  }
  const started = about.started.method;
  one("method").value = started === "auto" ? name : started;
  asked.method = started;
  fillOptions();
}

function fillOptions() {
  const method = entry(one("method").value);
  one("summary").textContent = `${method.summary} Passes: ${method.passes}.`;
  one("options").replaceChildren(...method.options.map((option) => {
    const field = node("input", { type: "text", id: `option-${option.name}`, placeholder: option.default ?? "", value: asked.options[option.name] ?? "",
      spellcheck: false, on: { change: () => { asked.options[option.name] = field.value; explain(); } } });
    return node("div", { className: "control" }, node("label", { for: field.id, title: option.help }, option.name), field,
                node("small", { className: "quiet" }, option.help));
  }));
  one("how").hidden = false;
}

function notes() {
  const said = about.models.flatMap((model) => model.notes.map(([text, fix]) => [about.models.length > 1 ? `${model.name}: ${text}` : text, fix]));
  if (!said.length) return;
  const [[first, fix], ...more] = said;
  const tail = more.length ? ` (and ${more.length} more)` : "";
  one("notes").replaceChildren(node("details", { className: "notes" }, node("summary", {}, first + tail),
    fix ? node("code", {}, fix) : null, ...more.map(([text, other]) => node("p", {}, text, other ? node("code", {}, other) : null))));
}

function listen() {
  one("method").addEventListener("change", () => { asked.method = one("method").value; asked.options = {}; fillOptions(); explain(); });
  one("target").addEventListener("change", () => choose(one("target").value.trim() || "top1"));
  one("opacity").addEventListener("input", () => { look.opacity = one("opacity").value / 100; redraw(); });
  one("file").addEventListener("change", (event) => { drop(event.target.files[0]); event.target.value = ""; });
  one("more").addEventListener("click", () => fetchSamples().catch(failed));
  one("row").addEventListener("change", () => { asked.row = Math.max(0, Math.floor(Number(one("row").value)) || 0); explain(); });
  one("stop").addEventListener("click", stop);
  one("help").addEventListener("click", () => one("keys").showModal());
  one("typing").addEventListener("submit", async (event) => {
    event.preventDefault();
    try { await added(await call("text", { text: one("text").value })); } catch (error) { failed(error); }
  });
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button.dataset.copy));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("over", kind === "dragover");
      if (kind === "drop") drop(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener("paste", (event) => drop(event.clipboardData.files[0]));
  document.addEventListener("keydown", keys);
}

let opacity = 0;
function keys(event) {
  const inside = event.target.closest("input, select, textarea, dialog");
  if (event.key === "Escape" && !one("keys").open) { stop(); return; }
  if (inside || event.ctrlKey || event.metaKey || event.altKey) return;
  const top = one("stage").querySelectorAll(".card:first-of-type .classes button");
  const act = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), "?": () => one("keys").showModal(),
    t: () => one("target").select(), m: () => one("method").focus(), l: focusList, c: () => copy("shell"), p: () => copy("python"),
    o: () => {
      [opacity, one("opacity").value] = [one("opacity").value, Number(one("opacity").value) ? 0 : opacity || 92];
      one("opacity").dispatchEvent(new Event("input"));
    },
  }[event.key] || (/^[1-8]$/.test(event.key) && top[event.key - 1] ? () => top[event.key - 1].click() : null);
  if (!act) return;
  event.preventDefault();
  act();
}

async function start() {
  about = await call("about");
  const names = about.models.map((model) => model.name).join(" and ");
  document.title = `${names} – onnxlrp view`;
  one("title").textContent = names;
  look.colors = about.colors;
  look.opacity = about.opacity;
  one("opacity").value = String(Math.round(100 * about.opacity));
  one("typing").hidden = !about.models[0].texts;
  one("classes").append(...about.models[0].classes.map((label) => new Option(label)));
  Object.assign(asked, { target: about.started.target, options: { ...about.started.options }, rules: about.started.rules });
  one("about").textContent = about.models.map((model) => [model.path, `sha256 ${model.sha256.slice(0, 12)}`, model.input, model.preprocessing].filter(Boolean).join(" · ")).join("\n");
  if (about.models.length > 1) {
    one("whose").hidden = false;
    one("whose").append(...about.models.map((model, n) => node("button", { type: "button", "aria-pressed": String(n === 0), on: { click: () => {
      whose = n;
      for (const [k, other] of [...one("whose").children].entries()) other.setAttribute("aria-pressed", String(k === n));
      drawLayers();
    } } }, model.name)));
  }
  notes();
  fillMethods();
  listen();
  await fetchSamples();
  if (samples.length) take(samples[0].id);
  else await explain();
}

start().catch(failed);
