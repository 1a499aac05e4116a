// The layers of a model: the rule of each, the relevance that arrives there, and what it looks like inside.
import { node, one } from "./shared/dom.js";
import { bar, number, partsOf, reach, told } from "./shared/ledger.js";
import { paint } from "./shared/paint.js";
import { enlarged, numbers } from "./stage.js";

let rows = [];

// Put the rows of a ledger to the layers that they are of: both are in the order of one walk, from either end.
export function joined(layers, ledger) {
  const left = [...(ledger || [])];
  return [...layers].reverse().map((layer) => {
    const at = left.findIndex((row) => row.layer === layer.label && row.op === layer.op);
    return { layer, row: at < 0 ? null : left.splice(at, 1)[0] };
  });
}

// Draw the list, from the output to the input. Rows that are there already keep their place, so that bars move.
export function list(layers, ledger, chosen, open) {
  const found = joined(layers, ledger);
  const ends = reach(found.flatMap(({ row }) => (row ? [row.arrived, row.conserves ? row.passed : 0] : [])));
  const place = one("layers");
  const same = rows.length === found.length && found.every(({ layer }, n) => rows[n].key === layer.match);
  if (!same) {
    rows = found.map(({ layer }) => {
      const parts = { name: node("span", { className: "name" }), rule: node("span", { className: "rule" }),
                      bar: bar([], [0, 1]), value: node("span", { className: "n" }) };
      const button = node("button", { type: "button" }, parts.name, parts.rule, parts.bar, parts.value);
      return { key: layer.match, button, ...parts };
    });
    place.replaceChildren(...rows.map(({ button }) => node("li", {}, button)));
    rows.forEach(({ button }, n) => {
      button.tabIndex = n ? -1 : 0;
      button.addEventListener("keydown", (event) => move(event, n));
    });
  }
  found.forEach(({ layer, row }, n) => {
    const { button, name, rule, value } = rows[n];
    name.replaceChildren(layer.label, node("small", {}, ` ${layer.op} ${layer.shape.join("×")}`));
    rule.textContent = layer.rule || "";
    rule.classList.toggle("none", !layer.rule);
    value.textContent = row ? number(row.arrived) : "";
    bar(row ? partsOf(row) : [], ends, rows[n].bar);
    rows[n].bar.classList.toggle("idle", !row);
    button.title = row ? told(row) : "";
    button.classList.toggle("open", Boolean(row?.error >= 1e-4));
    button.setAttribute("aria-pressed", String(chosen === layer.match));
    button.setAttribute("aria-label", [layer.label, layer.op, layer.rule && `rule ${layer.rule}`, row && told(row)].filter(Boolean).join(", "));
    button.onclick = () => open(layer, row);
  });
}

function move(event, n) {
  const to = { ArrowDown: n + 1, ArrowUp: n - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (to === undefined || !rows[to]) return;
  event.preventDefault();
  rows.forEach(({ button }, k) => { button.tabIndex = k === to ? 0 : -1; });
  rows[to].button.focus();
}

export function focusList() {
  (rows.find(({ button }) => button.getAttribute("aria-pressed") === "true") || rows.find(({ button }) => button.tabIndex === 0))?.button.focus();
}

// A map of a layer, over the picture where its places are those of the picture.
function map(heat, v, look, picture) {
  const canvas = node("canvas", { className: "pixels", role: "img" });
  const values = numbers(heat);
  if (picture) {
    paint(canvas, picture.size, enlarged(values, heat.size, picture.size), { v, colors: look.colors, pixels: picture.pixels, opacity: look.opacity });
  } else paint(canvas, heat.size, values, { v, colors: look.colors, pixels: null, opacity: 1 });
  return canvas;
}

// Show the relevance inside of a layer, and what gives it another rule.
export function inside(found, layer, row, look, first, rules, decide) {
  const place = one("inner"), parts = [];
  parts.push(node("h3", {}, layer.label, node("small", {}, ` ${layer.op}`)));
  if (row) parts.push(node("p", { className: "quiet" }, `${told(row)}.`));
  if (found) {
    const picture = first.pixels && found.over && found.heat ? { pixels: first.pixels, size: first.heat.size } : null;
    if (found.heat) {
      const canvas = map(found.heat, found.heat.v, look, picture);
      canvas.setAttribute("aria-label", `Relevance of ${layer.label}, summed over ${found.channels} channels`);
      parts.push(node("figure", { className: "whole" }, canvas, node("figcaption", { className: "quiet" },
        `${found.channels === 1 ? "its relevance" : `the sum over ${found.channels} channels`}, ${found.heat.size.join(" × ")}: ${number(found.sum - found.elsewhere)}`,
        found.others ? `; ${number(found.elsewhere)} at ${found.others} ${found.others === 1 ? "position" : "positions"} of no place, such as a class token` : "")));
    }
    if (found.channels > 1) {
      const ends = reach(found.strongest.map((one) => one.sum));
      parts.push(node("h4", {}, found.heat ? "Strongest channels" : "Strongest values"));
      parts.push(node("ul", { className: found.heat ? "channels" : "values" }, ...found.strongest.map(({ channel, sum, heat }) =>
        node("li", {}, heat ? map(heat, found.v, look, picture) : null, node("span", {}, `${channel}`),
             heat ? null : bar([[0, sum, sum < 0 ? "minus" : "plus"]], ends), node("span", { className: "n" }, number(sum))))));
    }
  } else if (first) parts.push(node("p", { className: "quiet" }, "This method computes no relevance inside of the model, or the layer holds none."));
  if (decide) parts.push(editor(layer, rules, decide));
  place.replaceChildren(...parts);
}

function editor(layer, rules, decide) {
  const now = (layer.rule || "").split("(")[0];
  const rule = node("select", { id: "rule", on: { change: () => fill() } }, ...rules.map(({ name }) => new Option(name, name, false, name === now)));
  const scope = node("select", { id: "scope" }, new Option("this layer", layer.match), new Option(`all ${layer.op}`, layer.op),
                     ...(layer.kind ? [new Option(`all of kind ${layer.kind}`, layer.kind)] : []));
  const fields = node("span", { className: "fields" });
  const fill = () => {
    const { options } = rules.find(({ name }) => name === rule.value);
    fields.replaceChildren(...Object.entries(options).filter(([, value]) => typeof value === "number" || value === null || value === "").map(([name, value]) =>
      node("label", {}, name, node("input", { type: "text", inputMode: "decimal", name, placeholder: value ?? "", size: 6 }))));
  };
  fill();
  const submit = (event) => {
    event.preventDefault();
    const stated = [...fields.querySelectorAll("input")].filter(({ value }) => value.trim()).map(({ name, value }) => `${name}=${value.trim()}`);
    decide(scope.value, stated.length ? `${rule.value}(${stated.join(", ")})` : rule.value);
  };
  return node("form", { className: "editor", on: { submit } }, node("h4", {}, "Another rule"),
    node("label", {}, "Rule", rule), fields, node("label", {}, "For", scope), node("button", { type: "submit" }, "Use it"));
}
