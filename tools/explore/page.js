// Puts the page together: head, controls, legend, theme; and what is drawn again when something changes.

function drawHead() {
  const {model, measured: how} = doc;
  fill(
    'model-facts',
    [
      [model.architecture],
      [`${integer(model.weights)} weights`],
      [`${integer(model.layers)} layers`],
      [`${size(model.stored_bytes, unitFor(model.stored_bytes))} as stored`],
      doc.target ? [`for ${doc.target}`] : null,
    ]
      .filter(Boolean)
      .map(([text]) => h('li', {}, text)),
  );
  const rows = [
    ['Program', `${doc.tool.name} ${doc.tool.version}`],
    ['Command', h('code', {}, how.command ?? DASH)],
    [
      'Model',
      `${model.name}, ${model.architecture}, ${integer(model.weights)} weights, ${integer(model.stored_bytes)} bytes as stored`,
    ],
    ['Target', doc.target || 'none'],
    doc.memory
      ? [
          'Memory',
          `file and ${integer(doc.memory.overhead_bytes)} bytes beside it, with a context of ${integer(doc.memory.context)} tokens and a cache in ${doc.memory.kv_type}`,
        ]
      : null,
    ['Search', `${planMethod}${known(how.search_probes) ? `, on ${integer(how.search_probes)} probes` : ''}`],
    [
      'Shown numbers',
      `on ${known(how.held_out_probes) ? `${integer(how.held_out_probes)} ` : ''}probes that no search has seen, with 95 % intervals`,
    ],
    [
      'Probes',
      [
        known(how.completion_tokens) && `${how.completion_tokens} tokens after ${how.prefix_tokens ?? 0}`,
        how.probe_source && `from ${how.probe_source}`,
        known(how.seed) && `seed ${how.seed}`,
      ]
        .filter(Boolean)
        .join(', ') || DASH,
    ],
    ['Fingerprint of the probes', h('code', {}, how.probe_fingerprint ?? DASH)],
    ['Positions of text', integer(how.text_positions)],
    ['Sizes', how.size_counts],
    ['Encoder', how.encoder],
    ['Activations', how.activations],
    [
      'Noise floor',
      METRICS.filter(metric => metric.id !== 'text_ppl' && floorOf(metric) !== null)
        .map(metric => `${metric.name} ${metric.show(floorOf(metric))}`)
        .join('; ') || DASH,
    ],
    ['Perplexity of the original', number(doc.reference?.text_ppl)],
  ].filter(Boolean);
  fill(
    'how',
    h(
      'dl',
      {class: 'how'},
      rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value ?? DASH))),
    ),
    h('h3', {}, 'The measures'),
    h(
      'dl',
      {class: 'how'},
      METRICS.map(metric =>
        h(
          'div',
          {},
          h('dt', {}, metric.name),
          h('dd', {}, `${metric.says}; ${metric.lower ? 'lower' : 'higher'} is better`),
        ),
      ),
    ),
  );
}

function drawControls() {
  fill(
    'x-select',
    AXES.map(axis => h('option', {value: axis.id}, axis.name)),
  );
  fill(
    'y-select',
    METRICS.map(metric => {
      const any = doc.points.some(point => measured(point, metric));
      return h('option', {value: metric.id, disabled: !any}, metric.name + (any ? '' : ' (not measured)'));
    }),
  );
  byId('x-select').value = state.x;
  byId('y-select').value = state.y;
  byId('log-scale').checked = state.log;
  byId('x-select').addEventListener('change', event => update({x: event.target.value}));
  byId('y-select').addEventListener('change', event => {
    const log = metricById.get(event.target.value).log;
    byId('log-scale').checked = log;
    update({y: event.target.value, log});
  });
  byId('log-scale').addEventListener('change', event => update({log: event.target.checked}));
  byId('plan-select').addEventListener('change', event => update({selected: Number(event.target.value)}));
  byId('second-select').addEventListener('change', event =>
    update({second: event.target.value === '' ? null : Number(event.target.value)}),
  );
  fill(
    'colour-select',
    Object.entries(COLOURS).map(([id, colour]) => h('option', {value: id}, colour.name.replace(/:.*/, ''))),
  );
  byId('colour-select').addEventListener('change', event => update({colour: event.target.value}));
}

function drawLegend() {
  fill(
    'legend',
    SERIES.map(series => {
      const mark = d3
        .create('svg')
        .attr('class', 'key')
        .attr('viewBox', '-14 -9 28 18')
        .attr('width', 28)
        .attr('height', 18)
        .attr('aria-hidden', 'true');
      if (series.line)
        mark
          .append('path')
          .attr('class', `curve s${series.style}${series.isPlan ? ' plan' : ''}`)
          .attr('d', 'M-14,0H14');
      mark.append('path').attr('class', `point s${series.style}`).attr('d', shapeOf(series.style));
      return h(
        'button',
        {
          type: 'button',
          'aria-pressed': 'true',
          'data-method': series.method,
          onclick: event => {
            const hidden = new Set(state.hidden);
            if (!hidden.delete(series.method)) hidden.add(series.method);
            event.currentTarget.setAttribute('aria-pressed', String(!hidden.has(series.method)));
            update({hidden});
          },
        },
        mark.node(),
        `${series.name} (${series.points.length})`,
      );
    }),
  );
}

function setTheme() {
  const button = byId('theme');
  const dark = () =>
    (document.documentElement.dataset.theme ||
      (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
  const name = () => {
    button.textContent = dark() ? 'Light colours' : 'Dark colours';
  };
  button.addEventListener('click', () => {
    document.documentElement.dataset.theme = dark() ? 'light' : 'dark';
    name();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', name);
  name();
}

function drawChart() {
  if (!chart.width) return;
  hideTooltip();
  setScales();
  drawFrame();
  drawPoints();
  drawLines();
}

readHash();
drawHead();
drawControls();
drawLegend();
setTheme();
drawFacts();
drawHeatMaps();
drawContinuations();
drawCommands();
followSelection();

onChange(['x', 'y', 'log', 'hidden'], drawChart);
onChange(['budget', 'quality'], drawLines);
onChange(['selected', 'second'], () => {
  drawChart();
  drawFacts();
  drawHeatMaps();
  drawContinuations();
});
onChange(['selected'], () => {
  drawCommands();
  followSelection();
});
onChange(['colour'], drawHeatMaps);
onChange(['cell'], () => {
  markPinned();
  showCell(state.cell);
});
onChange(['x', 'y', 'selected', 'second'], writeHash);

new ResizeObserver(([entry]) => {
  const width = Math.max(300, Math.round(entry.contentRect.width));
  if (width === chart.width) return;
  chart.width = width;
  chart.margin.left = width < 520 ? 54 : 68;
  drawChart();
}).observe(byId('chart'));

document.addEventListener('keydown', event => event.key === 'Escape' && hideTooltip());
svg
  .on('pointermove', () => {
    const point = nearest(...inChart(d3.event));
    svg.classed('over-point', point !== null);
    if (point) showTooltip(point);
    else if (!document.activeElement?.closest('.points')) hideTooltip();
  })
  .on('pointerleave', hideTooltip)
  .on('click', () => {
    const event = d3.event;
    if (event.target.closest('.limit')) return;
    const point = nearest(...inChart(event));
    if (point) select(point, event.shiftKey);
  });
