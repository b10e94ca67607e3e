// The chart: size against quality, a mark for each point, its interval as an error bar. The two lines that
// the user moves are in lines.js.

const HEIGHT = 440;
const chart = {width: 0, margin: {top: 40, right: 18, bottom: 52, left: 68}, x: null, y: null, log: false};
const svg = d3.select('#chart-svg');
const layers = {};
for (const name of ['shade', 'frame', 'marks', 'curves', 'bars', 'labels', 'lines', 'points', 'rings']) {
  layers[name] = svg.append('g').attr('class', name);
}
layers.rings.attr('aria-hidden', 'true');
layers.points.attr('role', 'group').attr('aria-label', 'Points of the chart. Arrow keys move between them.');

// Marks that D3 does not have, as its symbol types.
const triangleDown = {
  draw(context, area) {
    const r = Math.sqrt(area / 1.3);
    context.moveTo(0, r);
    context.lineTo(0.87 * r, -0.5 * r);
    context.lineTo(-0.87 * r, -0.5 * r);
    context.closePath();
  },
};
const diagonalCross = {
  draw(context, area) {
    const r = Math.sqrt(area / 20),
      points = [
        [0, 1],
        [2, 3],
        [3, 2],
        [1, 0],
        [3, -2],
        [2, -3],
        [0, -1],
        [-2, -3],
        [-3, -2],
        [-1, 0],
        [-3, 2],
        [-2, 3],
      ];
    points.forEach(([x, y], i) => (i ? context.lineTo(x * r, y * r) : context.moveTo(x * r, y * r)));
    context.closePath();
  },
};
const SHAPES = [
  d3.symbolCircle,
  d3.symbolSquare,
  d3.symbolTriangle,
  d3.symbolDiamond,
  triangleDown,
  diagonalCross,
  d3.symbolStar,
  d3.symbolCross,
  d3.symbolWye,
];
const shapeOf = (style, area = 62) => d3.symbol().type(SHAPES[style]).size(area)();

const currentMetric = () => metricById.get(state.y);
const currentAxis = () => axisById.get(state.x);
const shownSeries = () => SERIES.filter(series => !state.hidden.has(series.method));
const drawable = point => known(point.size_bytes) && measured(point, currentMetric()) !== null;
const shownPoints = () =>
  shownSeries()
    .flatMap(series => series.points)
    .filter(drawable);
const xPixel = point => chart.x(xOf(point, currentAxis()));
// Where a logarithmic scale has no place for a value, it stands on the edge.
function yPixel(value) {
  const {top, bottom} = chart.margin;
  const pixel = chart.log && value <= 0 ? HEIGHT - bottom : chart.y(value);
  return Math.max(top, Math.min(HEIGHT - bottom, pixel));
}

// Both domains hold every point that is shown with its interval, and the noise floor if that is near.
function setScales() {
  const {margin, width} = chart;
  const metric = currentMetric();
  const points = shownPoints();
  const sizes = points.map(point => xOf(point, currentAxis()));
  let [low, high] = sizes.length ? d3.extent(sizes) : [0, 1];
  const space = (high - low) * 0.05 || high * 0.1;
  chart.x = d3.scaleLinear([Math.max(0, low - space), high + space], [margin.left, width - margin.right]);

  const found = points.map(point => measured(point, metric));
  const values = found.flatMap(({value, low, high}) => [value, low, high]).filter(known);
  chart.log = state.log && values.some(value => value > 0);
  const usable = chart.log ? values.filter(value => value > 0) : values;
  [low, high] = usable.length ? d3.extent(usable) : [0.1, 1];
  for (const value of [goalOf(metric), floorOf(metric)]) {
    if (!known(value) || (chart.log && (value <= 0 || value < low / 12 || value > high * 12))) continue;
    [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  if (chart.log) {
    const by = Math.max(1.15, (high / low) ** 0.06);
    chart.y = d3.scaleLog([low / by, high * by], [HEIGHT - margin.bottom, margin.top]);
  } else {
    const by = (high - low) * 0.07 || Math.abs(high) * 0.1 || 1;
    const bottom = low >= 0 ? Math.max(0, low - by) : low - by;
    chart.y = d3.scaleLinear([bottom, high + by], [HEIGHT - margin.bottom, margin.top]);
  }
}

// At most about ten ticks: all 1 2 5 in a few decades, else powers of ten.
function yTicks() {
  if (!chart.log) return chart.y.ticks(7);
  const decades = Math.log10(chart.y.domain()[1] / chart.y.domain()[0]);
  const steps = decades < 1 ? null : decades < 3 ? [1, 2, 5] : [1];
  if (!steps)
    return d3
      .scaleLinear(chart.y.domain(), [0, 1])
      .ticks(6)
      .filter(value => value > 0);
  return chart.y
    .ticks(40)
    .filter(value => steps.includes(Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9))));
}
function tickText(value) {
  if (currentMetric().id === 'text_top1') return `${+(100 * value).toPrecision(3)} %`;
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(0) : String(+value.toPrecision(3));
}

function drawFrame() {
  const {margin, width} = chart;
  const metric = currentMetric();
  svg.attr('viewBox', `0 0 ${width} ${HEIGHT}`).attr('height', HEIGHT);
  const frame = layers.frame;
  frame.selectAll('*').remove();
  frame
    .append('g')
    .attr('class', 'grid')
    .attr('transform', `translate(${margin.left},0)`)
    .call(
      d3
        .axisLeft(chart.y)
        .tickValues(yTicks())
        .tickFormat(tickText)
        .tickSize(-(width - margin.left - margin.right)),
    );
  frame
    .append('g')
    .attr('class', 'axis')
    .attr('transform', `translate(0,${HEIGHT - margin.bottom})`)
    .call(
      d3
        .axisBottom(chart.x)
        .ticks(Math.max(3, Math.round(width / 110)))
        .tickSizeOuter(0),
    );
  frame
    .append('text')
    .attr('class', 'axis-name')
    .attr('x', (margin.left + width - margin.right) / 2)
    .attr('y', HEIGHT - 10)
    .attr('text-anchor', 'middle')
    .text(width < 520 ? currentAxis().label.replace(', f16 cache', '') : currentAxis().label);
  const name = [metric.name, metric.unit].filter(Boolean).join(', ');
  frame
    .append('text')
    .attr('class', 'axis-name')
    .attr('x', 4)
    .attr('y', 12)
    .text(`${name}${chart.log ? ', log scale' : ''} (${metric.lower ? 'lower' : 'higher'} is better)`);

  const marks = layers.marks;
  marks.selectAll('*').remove();
  const [low, high] = chart.y.domain();
  let below = HEIGHT - margin.bottom - 6,
    above = margin.top + 14;
  // A dashed level with its name; beyond the scale only the name, and where it is.
  function level(value, className, name) {
    const y = yPixel(value);
    const text = marks
      .append('text')
      .attr('class', `${className}-text`)
      .attr('x', width - margin.right - 4)
      .attr('text-anchor', 'end');
    if (value < low) {
      text.attr('y', below).text(`↓ ${name}, below this scale`);
      below -= 16;
    } else if (value > high) {
      text.attr('y', above).text(`↑ ${name}, above this scale`);
      above += 16;
    } else {
      text.attr('y', y > margin.top + 14 ? y - 5 : y + 13).text(name);
      marks
        .append('line')
        .attr('class', className)
        .attr('x1', margin.left)
        .attr('x2', width - margin.right)
        .attr('y1', y)
        .attr('y2', y);
    }
  }
  const floor = floorOf(metric),
    goal = goalOf(metric);
  if (floor !== null)
    level(floor, 'floor', `${metric.id === 'text_ppl' ? 'original model' : 'noise floor'} ${metric.show(floor)}`);
  if (goal !== null) level(goal, 'goal', `goal ${metric.lower ? '≤' : '≥'} ${brief(metric.show(goal))}`);
}

function describe(point) {
  const metric = currentMetric();
  const found = measured(point, metric);
  const value = found
    ? withInterval(found.value, found.low === null ? null : [found.low, found.high], metric.show)
    : DASH;
  const knee = point.id === doc.knee ? ', the knee' : '';
  return `${nameOf(point)}${knee}: ${currentAxis().show(xOf(point, currentAxis()))}, ${metric.name} ${value}`;
}

function drawPoints() {
  const metric = currentMetric();
  const series = shownSeries();
  const shape = d3
    .line()
    .x(xPixel)
    .y(point => yPixel(measured(point, metric).value));
  layers.curves
    .selectAll('path')
    .data(
      series.filter(one => one.line),
      one => one.method,
    )
    .join('path')
    .attr('class', one => `curve s${one.style}${one.isPlan ? ' plan' : ''}`)
    .attr('d', one => shape(one.points.filter(drawable)));

  const points = shownPoints();
  const bars = points.filter(point => measured(point, metric).low !== null);
  layers.bars
    .selectAll('path')
    .data(bars, point => point.id)
    .join('path')
    .attr('class', point => `bar s${seriesOf.get(point.method).style}`)
    .attr('d', point => {
      const {low, high} = measured(point, metric);
      const x = xPixel(point).toFixed(1),
        a = yPixel(low).toFixed(1),
        b = yPixel(high).toFixed(1);
      return `M${x},${a}V${b}M${x - 4},${a}h8M${x - 4},${b}h8`;
    });

  const sorted = [...points].sort((a, b) => a.size_bytes - b.size_bytes);
  layers.points
    .selectAll('path')
    .data(sorted, point => point.id)
    .join('path')
    .order()
    .attr('d', point => shapeOf(seriesOf.get(point.method).style))
    .attr('transform', point => `translate(${xPixel(point)},${yPixel(measured(point, metric).value)})`)
    .attr('role', 'button')
    .attr('data-id', point => point.id)
    .attr('aria-label', describe)
    .on('focus', showTooltip)
    .on('blur', hideTooltip)
    .on('keydown', pointKey);
  drawLabels(points);
  drawChosen();
}

// What depends on the two lines and on the chosen plans only.
function drawChosen() {
  if (!chart.x) return;
  const metric = currentMetric();
  const limit = qualityOf(metric);
  const best = smallestWithin().plan;
  const points = shownPoints();
  const stop = points.some(point => point.id === state.selected) ? state.selected : points[0]?.id;
  layers.points
    .selectAll('path')
    .attr(
      'class',
      point =>
        `point s${seriesOf.get(point.method).style}` +
        `${fits(point) && passes(point, metric, limit) ? '' : ' outside'}`,
    )
    .attr('aria-pressed', point => point.id === state.selected)
    .attr('tabindex', point => (point.id === stop ? 0 : -1));
  const rings = [];
  for (const [point, kind] of [
    [selectedPoint(), 'first'],
    [secondPoint(), 'second'],
    [best, 'best'],
    [pointById.get(doc.knee), 'knee'],
  ]) {
    if (point && points.includes(point)) rings.push({point, kind});
  }
  const ring = layers.rings
    .selectAll('g')
    .data(rings, one => one.kind)
    .join(enter => {
      const g = enter.append('g').attr('class', one => `ring ${one.kind}`);
      g.append('path').attr('d', one =>
        one.kind === 'knee'
          ? 'M0,-15L15,0L0,15L-15,0Z'
          : d3.arc()({
              innerRadius: 0,
              outerRadius: one.kind === 'best' ? 14 : 10,
              startAngle: 0,
              endAngle: 2 * Math.PI,
            }),
      );
      g.append('text')
        .attr('y', -17)
        .attr('text-anchor', 'middle')
        .text(one => ({first: 'A', second: 'B'})[one.kind] || '');
      return g;
    });
  ring.attr('transform', one => `translate(${xPixel(one.point)},${yPixel(measured(one.point, metric).value)})`);
}
