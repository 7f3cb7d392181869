"""How far the texts of a page stand out from what is behind them, measured in the browser.

Contrast is WCAG 2.2's: (L₁ + 0.05) / (L₂ + 0.05) of the relative luminances; 4.5 is asked of text.
Colours are painted one over the other on a canvas, so that any notation and any opacity counts.
"""

from browser import Browser

ASKED = 4.5

_COMMON = """
const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
function luminance(layers) {
    context.clearRect(0, 0, 1, 1);
    for (const paint of layers) paint();
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function colour(value, opacity = 1) {
    return () => {
        context.globalAlpha = opacity;
        context.fillStyle = value;
        context.fillRect(0, 0, 1, 1);
    };
}
function contrast(under, ink) {
    const [low, high] = [luminance(under), luminance([...under, ink])].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
}
const found = [];
"""

_TEXTS = """
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, noscript, svg")) continue;
    if (!element.checkVisibility()) continue;
    const under = [];
    for (let e = element; e; e = e.parentElement) {
        under.unshift(colour(getComputedStyle(e).backgroundColor));
    }
    const ink = colour(getComputedStyle(element).color);
    found.push([contrast(under, ink), element.outerHTML.slice(0, 200)]);
}
return found.sort((a, b) => a[0] - b[0]);
"""

_PICTURES = """
function opacity(element) {
    let product = 1;
    for (let e = element; e; e = e.parentElement) product *= Number(getComputedStyle(e).opacity);
    return product;
}
const loaded = new Map();
for (const image of document.querySelectorAll("svg image")) {
    const own = Object.assign(new Image(), { src: image.href.baseVal });
    await own.decode();
    loaded.set(image, own);
}
// What an element has painted at a point of the window.
function painted(element, x, y) {
    const style = getComputedStyle(element);
    if (!(element instanceof SVGGraphicsElement)) return colour(style.backgroundColor);
    const at = new DOMPoint(x, y).matrixTransform(element.getScreenCTM().inverse());
    if (element instanceof SVGImageElement) {
        const image = loaded.get(element), box = element.getBBox();
        return () => {
            context.globalAlpha = opacity(element);
            context.drawImage(
                image, Math.floor((at.x - box.x) / box.width * image.naturalWidth),
                Math.floor((at.y - box.y) / box.height * image.naturalHeight), 1, 1, 0, 0, 1, 1,
            );
        };
    }
    const filled = style.fill !== "none" && element.isPointInFill(at);
    return filled
        ? colour(style.fill, Number(style.fillOpacity) * opacity(element))
        : colour(style.stroke, Number(style.strokeOpacity) * opacity(element));
}
for (const text of document.querySelectorAll("svg text")) {
    if (!text.textContent.trim() || !text.checkVisibility()) continue;
    text.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    const box = text.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const under = document.elementsFromPoint(x, y).reverse()
        .filter((e) => !e.closest("text") && !(e instanceof SVGSVGElement))
        .map((e) => painted(e, x, y));
    const style = getComputedStyle(text.querySelector("tspan") ?? text);
    const ink = colour(style.fill, Number(style.fillOpacity) * opacity(text));
    found.push([under.length ? contrast(under, ink) : 0, text.textContent.trim().slice(0, 40)]);
}
return found.sort((a, b) => a[0] - b[0]);
"""


def of_texts(page: Browser) -> list[tuple[float, str]]:
    """Each visible text outside pictures, the faintest first."""
    return page.js(_COMMON + _TEXTS)


def in_pictures(page: Browser) -> list[tuple[float, str]]:
    """Each visible text of an SVG against what the picture painted below its middle."""
    return page.js(f"return (async () => {{ {_COMMON + _PICTURES} }})()")
