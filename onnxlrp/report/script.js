"use strict";
document.documentElement.classList.add("js");
for (const slider of document.querySelectorAll('.slider input[type="range"]')) {
  const section = slider.closest(".picture");
  const shown = section.querySelector(".slider output");
  const fade = () => {
    shown.textContent = `${slider.value} %`;
    for (const heat of section.querySelectorAll(".below + .heat")) heat.style.opacity = slider.value / 100;
  };
  slider.addEventListener("input", fade);
  fade(); // a browser may remember where the slider was
}
