"""Which texts of a page are too faint to be read by everybody (WCAG 2.2, 1.4.3: at least 4.5 to 1)."""

from tests.browser.chromium import Tab

RATIO_MIN = 4.5
_FAINT = """(() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  pen.globalCompositeOperation = "copy";
  const parts = (colour) => {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return { rgb: [r, g, b], alpha: alpha / 255 };
  };
  const over = ({ rgb, alpha }, below, opacity) =>
    rgb.map((one, at) => one * alpha * opacity + below[at] * (1 - alpha * opacity));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((one) => (one /= 255) <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = document.body.appendChild(document.createElement("i"));
  page.style.color = "Canvas";
  const paper = parts(getComputedStyle(page).color).rgb;
  page.remove();
  const faint = [], nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) {
    const text = nodes.currentNode.data.trim(), element = nodes.currentNode.parentElement;
    if (!text || !element.checkVisibility({ visibilityProperty: true }) || element.matches("option")) continue;
    let ground = paper, opacity = 1;
    const around = [];
    for (let node = element; node; node = node.parentElement) around.unshift(getComputedStyle(node));
    for (const style of around) {
      opacity *= style.opacity;
      ground = over(parts(style.backgroundColor), ground, opacity);
    }
    const own = around.at(-1), colour = element instanceof SVGElement ? own.fill : own.color;
    const [bright, dim] = [over(parts(colour), ground, opacity), ground].map(luminance).sort((a, b) => b - a);
    const ratio = (bright + 0.05) / (dim + 0.05);
    if (ratio < RATIO_MIN) faint.push(`${ratio.toFixed(1)}: ${text.slice(0, 40)}`);
  }
  return faint;
})()"""


async def faint_texts(tab: Tab) -> list[str]:
    """Those that are shown, each behind its ratio. Pictures under texts are not looked at."""
    return await tab.run(_FAINT.replace("RATIO_MIN", str(RATIO_MIN)))
