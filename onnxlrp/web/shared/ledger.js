// The ledger as bars: how much relevance arrives at a layer, and how much of it stays there.
import { node } from "./dom.js";

const PARTS = [["bias", "biases"], ["epsilon", "the stabiliser ε"], ["gate", "gates and padding"],
               ["coefficients", "coefficients"], ["entropy", "the entropy"], ["others", "other inputs"]];

export const number = (value) => {
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 0.095 && size < 1e5 ? size.toFixed(2) : size.toPrecision(2);
  return (value < 0 ? "−" : "") + text;
};

export const percent = (share) => `${share < 0 ? "−" : ""}${(100 * Math.abs(share)).toFixed(Math.abs(share) < 0.0995 ? 1 : 0)} %`;

// The lowest and the highest end of bars, with 0 between them.
export function reach(values) {
  return [Math.min(0, ...values), Math.max(0, ...values) || (Math.min(0, ...values) ? 0 : 1)];
}

// A bar with parts [from, to, class], on a scale that `reach` gives. An element that is given again moves.
export function bar(parts, [low, high], element = node("span", { className: "bar", ariaHidden: "true" })) {
  const share = (value) => 100 * (value - low) / (high - low);
  while (element.children.length < parts.length + 1) element.append(node("i"));
  while (element.children.length > parts.length + 1) element.lastChild.remove();
  const [zero, ...rest] = element.children;
  zero.className = "zero";
  zero.style.left = `${share(0)}%`;
  rest.forEach((part, n) => {
    const [from, to, name] = parts[n], left = share(Math.min(from, to));
    part.className = name;
    part.style.left = `${left}%`;
    part.style.width = `${share(Math.max(from, to)) - left}%`;
  });
  return element;
}

// The parts of a layer's bar: what is passed on, and what is absorbed or, beyond what arrived, added.
export function partsOf({ arrived, passed, conserves }) {
  if (!conserves) return [[0, arrived, "plain"]];
  const kept = Math.sign(passed) === Math.sign(arrived) && Math.abs(passed) < Math.abs(arrived);
  const sign = (value) => (value < 0 ? "minus" : "plus");
  if (kept) return [[0, passed, sign(passed)], [passed, arrived, "absorbed"]];
  return [[0, arrived, sign(arrived)], [arrived, passed, "added"]];
}

// What a layer does with relevance, in words.
export function told(row) {
  if (!row.conserves) return `${number(row.arrived)} arrive; its rule does not conserve relevance`;
  const gone = PARTS.filter(([key]) => Math.abs(row[key] || 0) >= 0.0005 * Math.abs(row.arrived))
    .map(([key, name]) => `${number(Math.abs(row[key]))} ${row[key] > 0 ? "absorbed" : "added"} by ${name}`);
  return [`${number(row.arrived)} arrive, ${number(row.passed)} are passed on`, ...gone].join("; ");
}

// Where the score goes, as [name, value, share]: what is called `input`, and what layers absorb.
export function shares(input, score, sum, absorbed) {
  const parts = PARTS.map(([key, name]) => [name, absorbed?.[key] || 0]).filter(([, value]) => Math.abs(value) >= 0.0005 * Math.abs(score));
  return [[input, sum], ...parts].map(([name, value]) => [name, value, score ? value / score : 0]);
}
