// What a reader needs who does not see the page, or has no mouse. Returns what is missing.
(() => {
  const missing = [];
  const name = (node) => (node.getAttribute("aria-label") || node.textContent || "").trim();
  const level = (rgb) => {
    const [r, g, b] = rgb.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parts = (text) => text.match(/[\d.]+/g).map(Number);
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  for (const node of document.querySelectorAll("body *")) {
    const told = `${node.tagName} ${name(node).slice(0, 40)}`;
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (own && !["SCRIPT", "STYLE"].includes(node.tagName) && node.checkVisibility()) {
      const style = getComputedStyle(node);
      const said = level(parts(node.closest("svg") ? style.fill : style.color).slice(0, 3));
      const below = level(ground(node));
      const contrast = (Math.max(said, below) + 0.05) / (Math.min(said, below) + 0.05);
      if (contrast < 4.5) missing.push(`contrast ${contrast.toFixed(1)}: ${told}`);
    }
    if (node.matches("a, button, summary, [role=img], [role=region], nav, form") && !name(node)) missing.push(`name: ${told}`);
    if (node.matches("select, input") && !node.labels.length) missing.push(`label: ${told}`);
    if (node.matches("table") && !node.caption) missing.push(`caption: ${told}`);
    if (node.matches("th") && !node.scope) missing.push(`scope: ${told}`);
    if (node.scrollWidth > node.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(node).overflowX)
        && node.tabIndex < 0) missing.push(`not reachable by keyboard: ${told}`);
    if (node.matches("[role=img]") && node.querySelector("a, button, input, [tabindex]")) missing.push(`inside a picture: ${told}`);
  }
  for (const list of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(list.getAttribute("aria-labelledby"))) missing.push(`labelledby: ${list.id}`);
  }
  if (!document.documentElement.lang || !document.title) missing.push("language or title of the page");
  if (document.querySelectorAll("main").length !== 1) missing.push("one main part");
  if (document.documentElement.scrollWidth > innerWidth) missing.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  return [...new Set(missing)];
})()
