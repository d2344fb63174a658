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

for (const menu of document.querySelectorAll("select[data-plot]")) {
  const options = JSON.parse(document.getElementById(menu.dataset.options).textContent);
  menu.addEventListener("change", () => {
    plots[menu.dataset.plot] = options[Number(menu.value)];
    draw(menu.dataset.plot, darkScheme.matches);
  });
}
