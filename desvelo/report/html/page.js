"use strict";
(() => {
  const root = document.documentElement;
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  const kept = (() => { try { return localStorage.getItem("desvelo-theme"); } catch { return null; } })();
  const drawn = [];

  // theme

  const button = document.getElementById("theme");
  let chosen = kept === "dark" || kept === "light" ? kept : null;
  const show = (theme) => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light theme" : "Dark theme";
    for (const plot of drawn) plot.redraw(false, true);
  };
  const current = () => chosen ?? (wanted.matches ? "dark" : "light");
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("desvelo-theme", chosen); } catch { /* a file may have no storage */ }
    show(chosen);
  });
  wanted.addEventListener("change", () => show(current()));
  addEventListener("beforeprint", () => show("light"));
  addEventListener("afterprint", () => show(current()));

  // plots

  const colour = (name) => () => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const toneName = (line, index) => (line.style === "points" || index > 0 ? "two" : "one");
  const tone = (line, index) => colour(toneName(line, index));
  const font = "12px system-ui, sans-serif";

  const number = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return value.toExponential(1).replace("e+", "e");
    const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4;
    return value.toLocaleString("en", { maximumFractionDigits: digits });
  };

  // Labels of ticks that would run into each other are left out, the last one is kept.
  const apart = (plot, places, label) => {
    const room = plot.ctx, ratio = devicePixelRatio || 1;
    room.font = `${12 * ratio}px system-ui, sans-serif`;
    const kept = [];
    let limit = Infinity;
    for (let index = places.length - 1; index >= 0; index -= 1) {
      const half = room.measureText(label(index)).width / ratio / 2 + 4;
      const at = plot.valToPos(places[index], "x");
      if (at + half > limit) continue;
      limit = at - half;
      kept.push(index);
    }
    return new Set(kept);
  };

  const yRange = (chart) => (plot, low, high) => {
    if (low === null) return [0, 1];
    if (chart.fromZero) return [0, high > 0 ? high * 1.08 : 1];
    // A tenth of the level at least is shown: noise is not to look like a cliff.
    const least = Math.max(Math.abs(high) * 0.1, chart.unit === "" ? 4 : 1e-9);
    const pad = Math.max((least - (high - low)) / 2, (high - low) * 0.08);
    return [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
  };

  const xRange = (chart) => (plot, low, high) => {
    if (chart.scale === "log") return [low / 1.2, high * 1.2];
    const pad = (high - low || 1) * (chart.scale === "even" ? 0.04 : 0.015);
    return [low - pad, high + pad];
  };

  const xAxis = (chart) => {
    const axis = {
      label: chart.xLabel, labelSize: 20, size: 30, font, labelFont: font,
      stroke: colour("quiet"), grid: { stroke: colour("grid"), width: 1 },
      ticks: { stroke: colour("grid"), width: 1 },
    };
    const ticks = chart.ticks.length ? chart.ticks
      : chart.scale === "linear" ? null : chart.x.map((at) => [at, number(at)]);
    if (ticks === null) {
      axis.values = (plot, places) => places.map(number);
      return axis;
    }
    axis.splits = () => ticks.map(([at]) => at);
    axis.filter = (plot, places) => places;
    axis.values = (plot, places) => {
      const shown = apart(plot, places, (index) => ticks[index][1]);
      return places.map((at, index) => (shown.has(index) ? ticks[index][1] : ""));
    };
    return axis;
  };

  const yRoom = (plot, labels) => {
    const ratio = devicePixelRatio || 1;
    plot.ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    const widest = Math.max(0, ...(labels ?? []).map((label) => plot.ctx.measureText(label).width));
    return Math.ceil(widest / ratio) + 18;
  };

  const marks = (chart) => (plot) => {
    const { ctx, bbox } = plot, ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    for (const mark of chart.marks) {
      const x = plot.valToPos(mark.at, "x", true);
      ctx.strokeStyle = ctx.fillStyle = colour("bad")();
      ctx.lineWidth = 1.5 * ratio;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const right = x + ctx.measureText(mark.name).width + 8 * ratio < bbox.left + bbox.width;
      ctx.textAlign = right ? "left" : "right";
      ctx.textBaseline = "top";
      ctx.fillText(mark.name, x + (right ? 5 : -5) * ratio, bbox.top + 3 * ratio);
    }
    ctx.restore();
  };

  const legend = (chart) => {
    const list = document.createElement("ul");
    list.className = "legend";
    chart.lines.forEach((line, index) => {
      const item = document.createElement("li");
      const space = "http://www.w3.org/2000/svg";
      const sign = document.createElementNS(space, "svg");
      sign.setAttribute("width", "26");
      sign.setAttribute("height", "10");
      sign.setAttribute("aria-hidden", "true");
      const part = document.createElementNS(space, line.style === "points" ? "circle" : "line");
      const places = line.style === "points" ? { cx: 13, cy: 5, r: 4 } : { x1: 0, x2: 26, y1: 5, y2: 5 };
      for (const [name, value] of Object.entries(places)) part.setAttribute(name, value);
      part.setAttribute("stroke-width", "2");
      if (line.style === "dashed") part.setAttribute("stroke-dasharray", "6 4");
      part.setAttribute("class", toneName(line, index));
      sign.append(part);
      item.append(sign, line.name);
      list.append(item);
    });
    return list;
  };

  const draw = (place, chart) => {
    const readout = place.parentElement.querySelector(".readout");
    const dense = chart.x.length > 60;
    const say = (plot) => {
      const index = plot.cursor.idx;
      readout.textContent = index === null || index === undefined ? "\u00a0"
        : `${chart.names[index]}: ${chart.lines.map((line) => `${line.name} ${line.said[index]}`).join(", ")}`;
    };
    const series = chart.lines.map((line, index) => ({
      label: line.name, stroke: tone(line, index), width: line.style === "points" ? 0 : 2,
      dash: line.style === "dashed" ? [6, 4] : undefined, spanGaps: true,
      paths: line.style === "points" ? () => null : undefined,
      points: {
        show: line.style === "points" || !dense, size: line.style === "points" ? 9 : 5,
        fill: line.style === "points" ? tone(line, index) : colour("ground"),
      },
    }));
    const plot = new uPlot({
      width: place.clientWidth, height: 240, pxAlign: 1,
      legend: { show: false }, cursor: { drag: { x: false, y: false }, y: false },
      scales: {
        x: { time: false, distr: chart.scale === "log" ? 3 : 1, range: xRange(chart) },
        y: { range: yRange(chart) },
      },
      series: [{}, ...series],
      axes: [xAxis(chart), {
        label: chart.yLabel, labelSize: 20, size: yRoom, font, labelFont: font,
        stroke: colour("quiet"), grid: { stroke: colour("grid"), width: 1 },
        ticks: { stroke: colour("grid"), width: 1 }, values: (self, places) => places.map(number),
      }],
      hooks: { draw: [marks(chart)], setCursor: [say] },
    }, [chart.x, ...chart.lines.map((line) => line.values)], place);
    if (chart.lines.length > 1) place.after(legend(chart));
    place.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const last = chart.x.length - 1;
      const index = Math.min(Math.max((plot.cursor.idx ?? (step > 0 ? -1 : last + 1)) + step, 0), last);
      plot.setCursor({ left: plot.valToPos(chart.x[index], "x"), top: 20 });
    });
    drawn.push(plot);
    new ResizeObserver(() => {
      if (place.clientWidth && place.clientWidth !== plot.width) {
        plot.setSize({ width: place.clientWidth, height: 240 });
      }
    }).observe(place);
  };

  show(current());
  const charts = JSON.parse(document.getElementById("plots").textContent);
  for (const place of document.querySelectorAll("[data-chart]")) draw(place, charts[place.dataset.chart]);
})();
