"use strict";
const plots = JSON.parse(document.getElementById("plots").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)").matches;

function template(dark) {
  const [ink, grid, ground] = dark ? ["#d7dde5", "#333c47", "#1b222b"] : ["#1f2730", "#e3e7ec", "#ffffff"];
  const axis = { gridcolor: grid, linecolor: grid, tickcolor: grid, zerolinecolor: grid };
  return { layout: {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 12.5 },
    xaxis: axis, yaxis: axis, annotationdefaults: { font: { color: ink } },
    hoverlabel: { bgcolor: ground, bordercolor: grid, font: { color: ink }, align: "left", namelength: -1 },
  } };
}

// A phone has no room for long axis titles on one line; plotly does not wrap them itself.
function wrapped(text, letters) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines[lines.length - 1];
    if (line && line.length + word.length >= letters) lines.push(word);
    else lines[lines.length - 1] = line ? line + " " + word : word;
  }
  return lines.join("<br>");
}

function draw(id, dark, width) {
  const box = document.getElementById(id);
  const { data, layout } = plots[id];
  const room = width || box.clientWidth;
  const title = { text: wrapped(layout.xaxis.title.text, (room - 90) / 7.5), standoff: 10 };
  Plotly.react(box, data, {
    ...layout, template: template(dark), width, autosize: !width, dragmode: touch ? false : "zoom",
    xaxis: { ...layout.xaxis, title },
  }, { responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
}

const drawAll = (dark, width) => Object.keys(plots).forEach((id) => draw(id, dark, width));
const redraw = () => drawAll(darkScheme.matches);
drawAll(darkScheme.matches);
darkScheme.addEventListener("change", redraw);
window.addEventListener("beforeprint", () => drawAll(false, 640));
window.addEventListener("afterprint", redraw);

// A slider over ready-made figures.
for (const slider of document.querySelectorAll("input[data-plot]")) {
  const options = JSON.parse(document.getElementById(slider.dataset.options).textContent);
  const names = slider.dataset.names.split(",");
  slider.addEventListener("input", () => {
    slider.parentElement.querySelector("output").value = names[slider.value];
    slider.setAttribute("aria-valuetext", names[slider.value] + " steps");
    plots[slider.dataset.plot] = options[slider.value];
    draw(slider.dataset.plot, darkScheme.matches);
  });
}

// The curves that the switches of an explorer ask for, of all that the study measured.
const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "star"], dashes = ["solid", "dash", "dot", "dashdot", "longdash"];
const every = "every variant", worst = "worst case";

function curves(all, chosen) {
  const shown = all.models.filter((model) => !model.method
    || (model.method === chosen.method && (!model.student || ["all", model.id].includes(chosen.student))));
  const variants = chosen.variant === every ? all.choices.variant : [chosen.variant];
  return shown.flatMap((model, i) => variants.flatMap((variant, j) => {
    const line = all.lines[[chosen.skill, variant, chosen.seed].join("|")]?.[model.id];
    if (!line) return [];
    const asked = all.steps.map((step, k) => [step, line[k]]).filter(([, value]) => value !== null);
    const broad = variants.length > 1 && variant === worst;
    return [{
      x: asked.map(([step]) => step), y: asked.map(([, value]) => value), mode: broad ? "lines" : "lines+markers",
      name: variants.length > 1 ? model.name + ", " + variant : model.name, opacity: broad ? 0.4 : 1,
      line: { color: model.colour, width: broad ? 7 : 2.2, dash: broad ? "solid" : dashes[Math.max(0, j - (variants.length > 1)) % dashes.length] },
      marker: { symbol: symbols[i % symbols.length], size: 6 },
    }];
  }));
}

// A y axis for losses under attack; before it, that of a model that never learnt the skill is far above.
function attacked(traces) {
  const shown = traces.flatMap((trace) => trace.y.filter((_, i) => trace.x[i] > 0));
  const [low, high] = [Math.min(...shown), Math.max(...shown)], room = 0.06 * (high - low) + 0.01;
  return shown.length ? [low - room, high + room] : [0, 1];
}

for (const bar of document.querySelectorAll("[data-explorer]")) {
  const id = bar.dataset.explorer, all = JSON.parse(document.getElementById(bar.dataset.lines).textContent);
  const menu = (name) => bar.querySelector(`[data-choice=${name}]`);
  const chosen = () => Object.fromEntries([...bar.querySelectorAll("select")].map((each) => [each.dataset.choice, each.value]));
  const students = () => {
    const of = all.models.filter((model) => model.student && model.method === menu("method").value);
    menu("student").replaceChildren(new Option("all", "all"), ...of.map((model) => new Option(model.name, model.id)));
  };
  const show = () => {
    plots[id].data = curves(all, chosen());
    if (all.losses) Object.assign(plots[id].layout.yaxis, { range: attacked(plots[id].data), autorange: false });
    document.querySelector(`[id="${id}"]`).closest("figure").querySelector("small").textContent = "↑ " + all.titles[menu("skill").value];
    draw(id, darkScheme.matches);
  };
  bar.addEventListener("change", (event) => {
    if (event.target === menu("method")) students();
    show();
  });
  students();
  show();
}

// Every figure as SVG, PNG and numbers, every table as CSV.
const quoted = (value) => /[",\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value;
const csv = (rows) => rows.map((row) => row.map((cell) => quoted(String(cell ?? ""))).join(",")).join("\n") + "\n";

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

function figureRows(id) {
  const of = plots[id].data.filter((trace) => trace.x?.some((value) => value !== null) && trace.hoverinfo !== "skip");
  const name = (trace) => trace.name ?? /<b>(.*?)<\/b>/.exec(trace.hovertemplate ?? "")?.[1] ?? "";
  const half = (trace, axis, i) => trace["error_" + axis]?.array?.[i];
  return [["curve", "x", "x_half_interval", "y", "y_half_interval"], ...of.flatMap((trace) =>
    trace.x.map((x, i) => [name(trace), x, half(trace, "x", i), trace.y[i], half(trace, "y", i)]))];
}

function tableRows(table) {
  const number = (cell) => cell.querySelector("data")?.value ?? cell.firstChild?.textContent.trim();
  const cells = (row) => [...row.cells].flatMap((cell) => [number(cell), cell.querySelector("small")?.textContent]);
  const of = table.dataset.groups;
  let group = of;  // the head's cell, then that of the rows below each group's line
  return [...table.rows].flatMap((row) => {
    if (row.className !== "group") return [of ? [group, ...cells(row)] : cells(row)];
    group = row.textContent.trim();
    return [];
  });
}

function image(id, format) {
  const { data, layout } = plots[id], { width, height } = document.getElementById(id).getBoundingClientRect();
  const light = { ...layout, template: template(false), paper_bgcolor: "#ffffff" };
  return Plotly.downloadImage({ data, layout: light }, { format, width: Math.max(width, 640), height, scale: format === "png" ? 2 : 1, filename: id });
}

function button(text, what, press) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.setAttribute("aria-label", `${text}: ${what}`);
  made.addEventListener("click", press);
  return made;
}

function buttons(before, what, presses) {
  const bar = document.createElement("div");
  bar.className = "save";
  bar.append(...Object.entries(presses).map(([text, press]) => button(text, what, press)));
  before.before(bar);
}

for (const box of document.querySelectorAll(".plot")) {
  const what = box.parentElement.querySelector("figcaption").firstChild.textContent;
  buttons(box, what, { SVG: () => image(box.id, "svg"), PNG: () => image(box.id, "png"), CSV: () => save(box.id, csv(figureRows(box.id))) });
}
for (const table of document.querySelectorAll("table")) {
  const what = table.caption.textContent;
  buttons(table.parentElement, what, { CSV: () => save(what.replace(/\W+/g, "-").toLowerCase().slice(0, 60), csv(tableRows(table))) });
}
