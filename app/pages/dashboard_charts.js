// Bars over time as inline SVG: drawn at the size that they are shown at, described for readers, told as a table too.
import { fillTable, make } from "./dashboard_tables.js";
import { text, tick } from "./dashboard_texts.js";

const HEIGHT = 200, LEFT = 52, RIGHT = 6, TOP = 10, BOTTOM = 22;
const LABEL_WIDTH = 64, BAR_WIDTH_MAX = 34, TICKS_MAX = 4, SEGMENT_HEIGHT_MIN = 2;

const shape = (name, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

// The distance of ticks: 1, 2 or 5 times a power of ten, so that at most four are needed. `whole`: never below 1.
function stepOf(most, whole) {
  const rough = most / TICKS_MAX, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.9999);
  return whole ? Math.max(1, step) : step;
}

// What a chart shows:
//   bars: [{ label, head, values: [number for each series] }], oldest first; `head` names the bar's time in full
//   series: [{ name, className }], the lowest first; format: number -> text; whole: values are counts; told: one sentence
export class BarChart {
  constructor(figure) {
    this.svg = shape("svg", { role: "img", height: HEIGHT });
    this.readout = make("p", { className: "readout" });
    this.summary = make("summary");
    this.table = make("table");
    const alternative = make("details", {}, this.summary, make("div", { className: "wide" }, this.table));
    this.legend = make("ul", { className: "legend" });
    figure.append(this.legend, this.svg, make("figcaption", {}, this.readout), alternative);
    this.pointerX = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event.clientX));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  show(shown) {
    this.shown = shown;
    this.svg.setAttribute("aria-label", shown.told);
    this.summary.textContent = text("asTable");
    this.legend.replaceChildren(...shown.series.map(({ name, className }) =>
      make("li", {}, make("span", { className: `swatch ${className}` }), name)));
    fillTable(this.table, shown.told, [
      { head: text("time"), cell: (bar) => bar.head, isHead: true },
      ...shown.series.map(({ name }, index) => ({ head: name, cell: (bar) => shown.format(bar.values[index]), isNumber: true })),
    ], shown.bars);
    this.draw();
    this.point(this.pointerX); // which may rest on a bar while what is new comes in
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!this.shown || !width || !this.shown.bars.length) return;
    const { bars, series, format, whole } = this.shown, mark = whole ? tick : format;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const floor = HEIGHT - BOTTOM, band = (width - LEFT - RIGHT) / bars.length;
    const most = Math.max(...bars.map((bar) => sum(bar.values)));
    const step = most > 0 ? stepOf(most, whole) : 1;
    const top = most > 0 ? Math.ceil(most / step - 1e-9) * step : 1;
    const y = (value) => floor - (value / top) * (floor - TOP);
    const parts = [];
    for (let at = 0; at * step <= top * 1.0001 && (most > 0 || at === 0); at++) {
      const height = y(at * step);
      parts.push(shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: height, y2: height }),
        shape("text", { class: "tick", x: LEFT - 6, y: height + 4, "text-anchor": "end" }, mark(at * step)));
    }
    const every = Math.max(1, Math.ceil(LABEL_WIDTH / band));
    const barWidth = Math.max(1, Math.min(BAR_WIDTH_MAX, band * 0.74));
    bars.forEach((bar, index) => {
      const middle = LEFT + band * (index + 0.5);
      if ((bars.length - 1 - index) % every === 0 && middle > LEFT + LABEL_WIDTH / 3) {
        const x = Math.min(middle, width - LABEL_WIDTH / 2.4);
        parts.push(shape("text", { class: "tick", x, y: HEIGHT - 6, "text-anchor": "middle" }, bar.label));
      }
      const group = shape("g", { class: "bar" }, shape("title", {}, this.tell(bar)),
        shape("rect", { class: "reach", x: LEFT + band * index, y: TOP, width: band, height: floor - TOP }));
      let edge = floor;
      bar.values.forEach((value, at) => {
        if (!value) return;
        const height = Math.max(SEGMENT_HEIGHT_MIN, (value / top) * (floor - TOP));
        edge -= height;
        group.append(shape("rect", {
          class: `segment ${series[at].className}`, x: middle - barWidth / 2, y: edge, width: barWidth, height,
        }));
      });
      parts.push(group);
    });
    this.svg.replaceChildren(...parts);
  }

  tell(bar) {
    const { series, format } = this.shown;
    return `${bar.head}: ${series.map(({ name }, index) => `${name} ${format(bar.values[index])}`).join(" · ")}`;
  }

  // The bar under the pointer is told below the chart; without one, the whole.
  point(clientX) {
    this.pointerX = clientX;
    if (!this.shown) return;
    const { bars, told } = this.shown;
    const { left, width } = this.svg.getBoundingClientRect();
    const band = (width - LEFT - RIGHT) / bars.length;
    const index = clientX === null ? -1 : Math.floor((clientX - left - LEFT) / band);
    const bar = bars[index];
    this.readout.textContent = bar ? this.tell(bar) : told;
    this.svg.querySelectorAll(".bar").forEach((node, at) => node.classList.toggle("pointed", at === index));
  }
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
