(function () {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    const update = { "font.color": read("--text"), "font.family": getComputedStyle(document.body).fontFamily };
    for (const axis of ["xaxis", "yaxis"]) {
      update[axis + ".gridcolor"] = read("--line");
      update[axis + ".linecolor"] = read("--line");
    }
    update["hoverlabel.bgcolor"] = read("--box");
    update["hoverlabel.font.color"] = read("--text");
    return update;
  }

  for (const place of document.querySelectorAll(".chart")) {
    const figure = JSON.parse(document.getElementById(place.id + "-data").textContent);
    Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displayModeBar: false })
      .then(() => Plotly.relayout(place, colours()));
    dark.addEventListener("change", () => Plotly.relayout(place, colours()));
  }
})();
