// The names of points in the chart.

// Names beside points, the important ones first, where they touch no mark, no other name and no plan curve.
function drawLabels(points) {
  const {margin, width} = chart;
  const metric = currentMetric();
  const at = point => [xPixel(point), yPixel(measured(point, metric).value)];
  const taken = [];
  const take = (x, y, half, own) => taken.push({left: x - half, right: x + half, top: y - half, bottom: y + half, own});
  for (const point of points) {
    take(...at(point), 6, point.id);
    if (point.id !== state.selected && point.id !== state.second) continue;
    take(...at(point), 11, point.id);
    take(at(point)[0], at(point)[1] - 20, 8, null);
  }
  const curve = (seriesOf.get(planMethod)?.points ?? []).filter(point => points.includes(point)).map(at);
  d3.pairs(curve).forEach(([[x0, y0], [x1, y1]]) => {
    const steps = Math.ceil(Math.hypot(x1 - x0, y1 - y0) / 6);
    for (let i = 1; i < steps; ++i) take(x0 + ((x1 - x0) * i) / steps, y0 + ((y1 - y0) * i) / steps, 2, null);
  });
  layers.marks.selectAll('text').each(function () {
    const {x, y, width: w, height} = this.getBBox();
    taken.push({left: x, right: x + w, top: y, bottom: y + height, own: null});
  });
  const rank = point =>
    point.id === doc.knee ? 0 : seriesOf.get(point.method).isPlan ? 1 : point.method === 'uniform' ? 3 : 2;
  const labels = [];
  for (const point of [...points]
    .filter(one => rank(one) !== 2 || ONLY_MARKS.has(one.method))
    .sort((a, b) => rank(a) - rank(b))) {
    const text = point.id === doc.knee ? `${point.label}, knee` : point.label;
    const [x, y] = at(point),
      w = text.length * (point.id === doc.knee ? 7.4 : 6.6) + 2;
    const above = [
        [x + 9, y - 7],
        [x - 9 - w, y - 7],
      ],
      below = [
        [x - 9 - w, y + 16],
        [x + 9, y + 16],
      ];
    // A plan is better than what surrounds it, so there is space on the better side.
    const better = metric.lower ? [...below, ...above] : [...above.reverse(), ...below];
    const places = seriesOf.get(point.method).isPlan ? better : [...above, ...below];
    for (const [left, base] of places) {
      const box = {left, right: left + w, top: base - 10, bottom: base + 3, own: null};
      const free =
        box.left > margin.left &&
        box.right < width - margin.right &&
        box.top > margin.top &&
        box.bottom < HEIGHT - margin.bottom &&
        taken.every(
          other =>
            (other.own !== null && other.own === point.id) ||
            box.right < other.left ||
            other.right < box.left ||
            box.bottom < other.top ||
            other.bottom < box.top,
        );
      if (!free) continue;
      taken.push(box);
      labels.push({point, text, left, base});
      break;
    }
  }
  layers.labels
    .attr('aria-hidden', 'true')
    .selectAll('text')
    .data(labels, label => label.point.id)
    .join('text')
    .attr('class', label => (label.point.id === doc.knee ? 'label knee' : 'label'))
    .attr('x', label => label.left)
    .attr('y', label => label.base)
    .text(label => label.text);
}
