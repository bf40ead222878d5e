// Draws the tables of a page as charts, above them: the table stays, for who cannot see a picture.
(() => {
  const colours = () => {
    // A variable holds a colour for day and one for night; only an element knows which of them it is.
    const probe = document.body.appendChild(document.createElement("span"));
    const of = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const found = { series: [of("--brand"), of("--ink-3")], ink: of("--ink-2"), line: of("--line") };
    probe.remove();
    return found;
  };

  const read = (box) => {
    const table = box.querySelector("table");
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const rows = [...table.tBodies[0].rows];
    const count = Number(box.dataset.series);
    return {
      labels: rows.map((row) => row.cells[0].textContent.trim()),
      series: Array.from({ length: count }, (_, number) => ({
        label: names[number + 1],
        data: rows.map((row) => Number(row.cells[number + 1].querySelector("data").value)),
      })),
    };
  };

  const draw = (box) => {
    const { labels, series } = read(box);
    const look = colours();
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    const frame = document.createElement("div");
    frame.className = "chart-frame";
    frame.append(canvas);
    box.prepend(frame);
    const axis = { ticks: { color: look.ink }, grid: { color: look.line }, border: { color: look.line } };
    return new window.Chart(canvas, {
      type: box.dataset.chart,
      data: {
        labels,
        datasets: series.map((one, number) => ({
          ...one, borderColor: look.series[number], backgroundColor: look.series[number], tension: 0, borderWidth: 2,
          maxBarThickness: 40,
        })),
      },
      options: {
        animation: false, responsive: true, maintainAspectRatio: false,
        scales: { x: axis, y: { ...axis, beginAtZero: true } },
        plugins: { legend: { display: series.length > 1, labels: { color: look.ink } } },
      },
    });
  };

  let charts = [];
  const drawAll = () => {
    charts.forEach((chart) => { chart.canvas.parentElement.remove(); chart.destroy(); });
    charts = [...document.querySelectorAll("[data-chart]")].map(draw);
  };
  drawAll();
  // Day or night, by the page's own button or by the system: the colours are the page's.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
})();
