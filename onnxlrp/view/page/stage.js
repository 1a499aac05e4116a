// The explanation of a sample: picture and heatmap, bars of a table, words of a text; classes, and where the score goes.
import { node, one } from "./shared/dom.js";
import { bar, number, percent, reach, shares } from "./shared/ledger.js";
import { colorOf, paint, put } from "./shared/paint.js";

// The numbers of a map, which come as base64 of float32.
export function numbers(map) {
  const bytes = Uint8Array.from(atob(map.data), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

// The pixels of a picture at a size.
export async function pixelsOf(address, [height, width]) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height).data;
}

// Repeat the places of a map so that it is as large as a picture.
export function enlarged(heat, [h, w], [height, width]) {
  const made = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const from = Math.floor(y * h / height) * w;
    for (let x = 0; x < width; x++) made[y * width + x] = heat[from + Math.floor(x * w / width)];
  }
  return made;
}

const grain = ([height, width]) => (Math.max(height, width) <= 160 ? "pixels" : "smooth");

function mapFigure(result, look) {
  const { size } = result.heat;
  const canvas = node("canvas", { className: `heat ${grain(size)}`, role: "img", "aria-label": `Heatmap for ${result.title}` });
  const under = node("p", { className: "under quiet" }, "\u00a0");
  const draw = () => paint(canvas, size, result.values, { v: result.heat.v, colors: look.colors, pixels: result.pixels,
                                                          opacity: look.opacity });
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * size[1]);
    const y = Math.floor((event.clientY - box.top) / box.height * size[0]);
    const value = result.values[y * size[1] + x];
    under.textContent = value === undefined ? "\u00a0" : `row ${y}, column ${x}: ${number(value)}`;
  };
  canvas.addEventListener("pointermove", at);
  canvas.addEventListener("pointerleave", () => { under.textContent = "\u00a0"; });
  draw();
  const frame = node("div", { className: "frame" }, canvas, ...marks(result, size));
  return { element: node("figure", {}, frame, under), draw };
}

// The boxes of a detector, over its picture.
function marks(result, [height, width]) {
  return (result.boxes || []).map((box) => {
    const mark = node("span", { className: `mark${box.chosen ? " chosen" : ""}`, title: `${box.label} ${box.score.toFixed(2)}` });
    const place = { left: box.x0 / width, top: box.y0 / height, width: (box.x1 - box.x0) / width, height: (box.y1 - box.y0) / height };
    for (const [side, share] of Object.entries(place)) mark.style[side] = `${100 * share}%`;
    return mark;
  });
}

function pictureFigure(result) {
  const { size } = result.heat;
  const canvas = node("canvas", { className: grain(size), role: "img", "aria-label": "The picture as the model sees it" });
  put(canvas, size, new Uint8ClampedArray(result.pixels));
  return node("figure", { className: "seen" }, node("div", { className: "frame" }, canvas),
              node("p", { className: "under quiet" }, "as the model sees it"));
}

function barFigure(result) {
  const ends = reach(result.bars.map((one) => one.relevance));
  const rows = result.bars.map(({ name, value, relevance }) => node("tr", {},
    node("th", { scope: "row" }, name), node("td", { className: "n" }, value ?? ""),
    node("td", { className: "wide" }, bar([[0, relevance, relevance < 0 ? "minus" : "plus"]], ends)),
    node("td", { className: "n" }, number(relevance))));
  return node("table", { className: "bars" }, node("caption", {}, "Relevance of each feature, the strongest first"),
              node("tbody", {}, ...rows));
}

function wordFigure(result, look) {
  const words = result.words.map(({ text, relevance, id }) => {
    const [r, g, b] = colorOf(relevance, result.v, look.colors);
    const word = node("span", { className: "word", title: `${number(relevance)}${id === null ? "" : ` · id ${id}`}` }, text.trim() || "·");
    word.style.background = `rgb(${r} ${g} ${b})`;
    word.style.color = 0.299 * r + 0.587 * g + 0.114 * b < 140 ? "#fff" : "#1d2126";
    return word;
  });
  return node("p", { className: "words" }, ...words);
}

// A table of classes, each a button that makes it the target.
function classTable(result, choose) {
  const asShare = ["probability", "share"].includes(result.quantity);
  const ends = asShare ? [0, 1] : reach(result.top.map((row) => row.value));
  const rows = result.top.map((row, n) => {
    const own = row.id === result.target.id;
    const button = node("button", { type: "button", title: n < 8 ? `key ${n + 1}` : "", "aria-pressed": String(own),
                                    on: { click: () => choose(row.target) } }, row.label);
    const text = asShare ? percent(row.value) : number(row.value);
    return node("tr", {}, node("td", {}, button), node("td", { className: "n" }, text),
                node("td", { className: "wide" }, bar([[0, row.value, own ? "own" : "plain"]], ends)));
  });
  return node("table", { className: "classes" }, node("caption", {}, asShare ? "Classes" : `Outputs: ${result.quantity}`),
              node("tbody", {}, ...rows));
}

function boxTable(result, choose) {
  const rows = result.boxes.map((box, n) => node("tr", {}, node("td", {},
    node("button", { type: "button", title: `key ${n + 1}`, "aria-pressed": String(box.chosen), on: { click: () => choose(box.target) } }, `${n + 1} ${box.label}`)),
    node("td", { className: "n" }, box.score.toFixed(2)),
    node("td", { className: "wide" }, bar([[0, box.score, box.chosen ? "own" : "plain"]], [0, 1]))));
  return node("table", { className: "classes" }, node("caption", {}, "Boxes"), node("tbody", {}, ...rows));
}

// Where the score goes. The bars of the table before move to their new places.
function scoreTable(result, before) {
  const whole = `Where the ${result.what} ${number(result.logit)} goes`;
  if (!result.conserving) {
    return node("p", { className: "quiet" }, `${result.method} gives no shares of the ${result.what} ${number(result.logit)}: its values sum up to ${number(result.sum)}.`);
  }
  const found = shares(result.form === "map" ? "the heatmap" : "the input", result.logit, result.sum, result.absorbed), ends = reach(found.map(([, value]) => value));
  const rows = found.map(([name, value, share], n) => node("tr", {}, node("td", {}, name),
    node("td", { className: "n" }, number(value)), node("td", { className: "n" }, percent(share)),
    node("td", { className: "wide" }, bar([[0, value, n ? "absorbed" : value < 0 ? "minus" : "plus"]], ends, before?.[n]))));
  return node("table", { className: "score" }, node("caption", {}, whole), node("tbody", {}, ...rows));
}

const shownBars = (card) => card && [...card.querySelectorAll(".score .bar")];

// The card of one model. `before` is that of the last explanation.
function card(result, model, look, choose, before, several) {
  const head = several ? [node("h2", {}, model.name)] : [];
  if (result.error) {
    return { element: node("article", { className: "card" }, ...head, node("div", { className: "error" },
      node("strong", {}, result.error.message), node("p", {}, result.error.fix))), draw: () => {} };
  }
  const drawn = result.form === "map" ? mapFigure(result, look) : { draw: () => {}, element:
    result.form === "bars" ? barFigure(result) : result.form === "words" ? wordFigure(result, look)
      : node("img", { className: "drawn", src: result.figure, alt: `Relevance for ${result.title}` }) };
  const said = [result.title, result.method, result.instead].filter(Boolean).join(" · ");
  const side = node("div", { className: "side" }, node("p", { className: "said" }, said),
                    result.boxes ? boxTable(result, choose) : classTable(result, choose),
                    scoreTable(result, shownBars(before)));
  return { element: node("article", { className: `card as-${result.form}` }, ...head, drawn.element, side), draw: drawn.draw };
}

// Show the results of all models; returns what draws them again.
export async function show(found, models, look, choose) {
  for (const result of found.results) {
    if (result.form !== "map") continue;
    result.values = numbers(result.heat);
    result.pixels = result.picture ? await pixelsOf(result.picture, result.heat.size) : null;
  }
  const stage = one("stage"), before = [...stage.querySelectorAll(".card")];
  const cards = found.results.map((result, n) => card(result, models[n], look, choose, before[n], models.length > 1));
  const first = found.results[0], several = models.length > 1;
  stage.className = `stage ${several ? "two" : "alone"} ${first.pixels ? "pictured" : ""}`;
  const seen = first.pixels ? [pictureFigure(first)] : [];
  const alike = found.alike ? [node("p", { className: "alike" }, `The heatmaps are alike by ${found.alike.cosine.toFixed(3)} (cosine), ${found.alike.spearman.toFixed(3)} (rank correlation).`)] : [];
  stage.replaceChildren(...seen, ...cards.map((one) => one.element), ...alike);
  one("tools").hidden = first.form === "figure" || Boolean(first.error);
  one("fading").hidden = first.form !== "map" || !first.pixels;
  return () => cards.forEach((one) => one.draw());
}
