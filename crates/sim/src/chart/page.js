const svg = document.querySelector("svg"), hint = document.getElementById("hint");
const [width, height] = [svg.width.baseVal.value, svg.height.baseVal.value];
let zoom = 1;
function setZoom(wanted) {
  const scroller = document.scrollingElement, before = zoom;
  zoom = Math.min(4, Math.max(0.2, wanted));
  svg.setAttribute("width", width * zoom);
  svg.setAttribute("height", height * zoom);
  scroller.scrollTop *= zoom / before;
}
document.getElementById("in").onclick = () => setZoom(zoom * 1.25);
document.getElementById("out").onclick = () => setZoom(zoom / 1.25);
addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  setZoom(zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
}, { passive: false });
document.getElementById("last").onclick = (event) => {
  event.preventDefault();
  scrollTo(0, document.body.scrollHeight);
};
for (const box of document.querySelectorAll("nav input")) {
  box.onchange = () => document.body.classList.toggle("hide-" + box.dataset.kind, !box.checked);
}
// The browser's own hints come late and cannot be wide.
for (const title of svg.querySelectorAll("title")) {
  title.parentNode.dataset.hint = title.textContent;
  title.remove();
}
svg.addEventListener("mousemove", (event) => {
  const group = event.target.closest("[data-hint]");
  hint.style.display = group ? "block" : "none";
  if (!group) return;
  hint.textContent = group.dataset.hint;
  const box = hint.getBoundingClientRect();
  hint.style.left = Math.min(event.clientX + 14, innerWidth - box.width - 8) + "px";
  hint.style.top = Math.min(event.clientY + 14, innerHeight - box.height - 8) + "px";
});
