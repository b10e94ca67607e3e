// The budget and the quality line: dragged, moved by keys, or typed; and which plan is the answer.

// A line knows its place in the chart's terms; the end where it excludes nothing stands for "no limit".
const LINES = {
  budget: {
    name: 'Budget',
    // A budget below or above what the chart shows stands on its edge.
    get: () => (state.budget === null ? null : currentAxis().of(state.budget)),
    set: value => update({budget: value === null ? null : currentAxis().bytes(value)}),
    domain: () => chart.x.domain(),
    open: () => chart.x.domain()[1],
    scale: () => chart.x,
    show: value => currentAxis().show(value),
  },
  quality: {
    name: 'Quality',
    get: () => qualityOf(currentMetric()),
    set: value => update({quality: {...state.quality, [state.y]: value}}),
    domain: () => chart.y.domain(),
    open: () => chart.y.domain()[currentMetric().lower ? 1 : 0],
    scale: () => chart.y,
    show: value => currentMetric().show(value),
  },
};
const linePlace = line => {
  const [low, high] = line.domain();
  return Math.max(low, Math.min(high, line.get() ?? line.open()));
};
// Moves a line to a place; at its open end there is no limit.
function moveLine(line, value) {
  const [low, high] = line.domain();
  const inside = Math.max(low, Math.min(high, value));
  line.set(Math.abs(line.scale()(inside) - line.scale()(line.open())) < 0.5 ? null : inside);
}

for (const [key, line] of Object.entries(LINES)) {
  const g = layers.lines
    .append('g')
    .attr('class', `limit ${key}`)
    .attr('role', 'slider')
    .attr('tabindex', 0)
    .attr('id', `${key}-slider`)
    .attr('aria-label', `${line.name} line`)
    .attr('aria-orientation', key === 'budget' ? 'horizontal' : 'vertical');
  g.append('line').attr('class', 'grab');
  g.append('line').attr('class', 'stroke');
  g.append('rect').attr('class', 'grip').attr('rx', 3);
  g.append('text').attr('class', 'grip-text').attr('text-anchor', 'middle');
  line.g = g;
  g.on('pointerdown', () => {
    const event = d3.event;
    event.preventDefault();
    g.node().focus();
    g.node().setPointerCapture(event.pointerId);
    line.dragged = true;
  })
    .on('pointermove', () => {
      if (!line.dragged) return;
      const [x, y] = inChart(d3.event);
      const range = line.scale().range();
      const pixel = Math.max(Math.min(...range), Math.min(Math.max(...range), key === 'budget' ? x : y));
      moveLine(line, line.scale().invert(pixel));
    })
    .on('pointerup pointercancel', () => {
      line.dragged = false;
    })
    .on('keydown', () => lineKey(line));
}

// A hundredth of the line's way by an arrow key, a tenth by a page key.
function lineKey(line) {
  const event = d3.event;
  const [low, high] = line.scale().domain().map(line.scale());
  const step = {ArrowRight: 0.01, ArrowUp: 0.01, ArrowLeft: -0.01, ArrowDown: -0.01, PageUp: 0.1, PageDown: -0.1}[
    event.key
  ];
  const at = line.scale()(linePlace(line));
  if (step !== undefined) moveLine(line, line.scale().invert(at + step * (high - low)));
  else if (event.key === 'Home') moveLine(line, line.domain()[0]);
  else if (event.key === 'End') moveLine(line, line.domain()[1]);
  else return;
  event.preventDefault();
}

function drawLines() {
  const {margin, width} = chart;
  const metric = currentMetric();
  const x = chart.x(linePlace(LINES.budget)),
    y = chart.y(linePlace(LINES.quality));
  const right = width - margin.right,
    bottom = HEIGHT - margin.bottom;
  const place = (selection, x1, y1, x2, y2) => selection.attr('x1', x1).attr('y1', y1).attr('x2', x2).attr('y2', y2);
  for (const [key, line] of Object.entries(LINES)) {
    const value = line.get();
    const text = value === null ? 'no limit' : brief(line.show(value));
    const across = key === 'budget';
    line.g
      .selectAll('line')
      .call(place, across ? x : margin.left, across ? margin.top - 8 : y, across ? x : right, across ? bottom : y);
    const label =
      value === null
        ? across
          ? 'no budget'
          : 'no quality line'
        : across
          ? `budget ${text.replace(' bits per weight', ' bpw')}`
          : `${metric.lower ? '≤' : '≥'} ${text}`;
    line.g.select('text').text(label);
    const w = line.g.select('text').node().getComputedTextLength() + 14;
    const cx = across ? Math.max(margin.left + w / 2, Math.min(right - w / 2, x)) : margin.left + w / 2 + 2;
    const cy = across ? margin.top - 10 : Math.max(margin.top + 9, Math.min(bottom - 9, y));
    line.g
      .select('rect')
      .attr('x', cx - w / 2)
      .attr('y', cy - 9)
      .attr('width', w)
      .attr('height', 18);
    line.g
      .select('text')
      .attr('x', cx)
      .attr('y', cy + 4);
    const [low, high] = line.domain();
    const count = planPoints.filter(point => (across ? fits(point) : passes(point, metric, qualityOf(metric)))).length;
    line.g
      .attr('aria-valuemin', low)
      .attr('aria-valuemax', high)
      .attr('aria-valuenow', linePlace(line))
      .attr(
        'aria-valuetext',
        `${across ? '' : `${metric.name} `}${text}: ${count} of ${planPoints.length} plans ${across ? 'fit' : 'pass'}`,
      );
  }
  // What the lines exclude is hatched.
  const bad = metric.lower ? [margin.top, y] : [y, bottom];
  layers.shade
    .selectAll('rect')
    .data([
      [x, margin.top, right, bottom],
      [margin.left, bad[0], x, bad[1]],
    ])
    .join('rect')
    .attr('x', d => d[0])
    .attr('y', d => d[1])
    .attr('width', d => Math.max(0, d[2] - d[0]))
    .attr('height', d => Math.max(0, d[3] - d[1]))
    .attr('fill', 'url(#hatch)');
  drawChosen();
  showLimits();
}

// The two fields under the chart and the answer.
function showLimits() {
  const metric = currentMetric(),
    axis = currentAxis();
  const budget = LINES.budget.get(),
    quality = qualityOf(metric);
  const write = (id, value) => {
    if (document.activeElement !== byId(id)) byId(id).value = value === null ? '' : String(+value.toPrecision(5));
  };
  write('budget-field', budget);
  write('quality-field', quality);
  byId('budget-unit').textContent = axis.id === 'bpw' ? 'bits per weight' : pageUnit[0];
  byId('quality-name').textContent = `${metric.name} ${metric.lower ? 'at most' : 'at least'}`;
  byId('quality-unit').textContent = metric.unit;
  const {plan, any} = smallestWithin();
  const describeLimit =
    [
      budget === null ? null : `fits ${brief(axis.show(budget))}`,
      quality === null
        ? null
        : `has ${metric.name} ${metric.lower ? '≤' : '≥'} ${brief(metric.show(quality))} with its whole interval`,
    ]
      .filter(Boolean)
      .join(' and ') || 'there is';
  const choose = point =>
    h(
      'button',
      {type: 'button', class: 'choose', 'data-id': point.id, onclick: () => select(point, false)},
      `Select ${nameOf(point)}`,
    );
  const without = quality === null ? 0 : planPoints.filter(point => measured(point, metric)?.low == null).length;
  const found =
    plan === null
      ? [h('p', {class: 'none'}, `No plan ${describeLimit}.`)]
      : [
          h('p', {}, `Smallest plan that ${describeLimit}:`),
          h(
            'p',
            {class: 'found'},
            h('strong', {}, nameOf(plan)),
            describe(plan).slice(nameOf(plan).length),
            ' ',
            plan.id === state.selected ? h('span', {class: 'is-selected'}, '(selected)') : choose(plan),
          ),
        ];
  if (any && (plan === null || any.size_bytes < plan.size_bytes)) {
    found.push(
      h(
        'p',
        {class: 'rival'},
        `Smaller, and also within the lines: ${describe(any)} `,
        any.id === state.selected ? null : choose(any),
      ),
    );
  }
  if (without)
    found.push(
      h(
        'p',
        {class: 'hint'},
        `${without} of ${planPoints.length} plans have no interval of this measure; they pass no line.`,
      ),
    );
  fill('answer', found);
  announce(byId('answer').textContent);
}

// An empty field is no limit; what is not a number changes nothing.
function typed(id, line, usable) {
  byId(id).addEventListener('input', event => {
    const text = event.target.value.trim().replace(',', '.');
    const value = Number(text);
    const valid = text === '' || usable(value);
    event.target.setAttribute('aria-invalid', String(!valid));
    if (valid) line.set(text === '' ? null : value);
  });
  byId(id).addEventListener('blur', event => {
    event.target.removeAttribute('aria-invalid');
    showLimits();
  });
}
typed('budget-field', LINES.budget, value => value > 0 && Number.isFinite(value));
typed('quality-field', LINES.quality, value => value >= 0 && Number.isFinite(value));
