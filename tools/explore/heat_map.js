// The formats of a plan as a table of layers and components; what a cell's formats cost.

// The rows and columns of every map: one row per layer, one column per kind of component; what belongs to no
// layer has a row of its own, the head below the layers and everything else above them.
const MAP = (() => {
  const kinds = [],
    layers = new Map(),
    above = [],
    below = [];
  doc.components.forEach((component, index) => {
    if (component.layer < 0) {
      (component.kind === 'head' ? below : above).push(index);
      return;
    }
    if (!layers.has(component.layer)) layers.set(component.layer, new Map());
    const row = layers.get(component.layer);
    let kind = component.kind;
    for (let copy = 2; row.has(kind); ++copy) kind = `${component.kind} ${copy}`;
    row.set(kind, index);
    if (!kinds.includes(kind)) kinds.push(kind);
  });
  return {kinds, above, below, layers: [...layers].sort(([a], [b]) => a - b)};
})();

// What colours a cell: the value, its text, its place between 0 and 1.
const COLOURS = {
  bits: {
    name: 'Bits per weight',
    value: (c, f) => doc.formats[f].bits,
    show: value => `${+value.toPrecision(4)}`,
    log: true,
  },
  cost: {
    name: 'Sensitivity: predicted text KL of the chosen format alone',
    value: (c, f) => predicted(c, f),
    show: value => (value === 0 ? '0' : value.toExponential(1).replace('e-', 'e−').replace('e+', 'e')),
    log: true,
  },
  bytes: {
    name: 'Bytes',
    value: (c, f) => componentBytes(c, f),
    show: value =>
      value < 1024
        ? `${Math.round(value)}`
        : value < 2 ** 20
          ? `${(value / 1024).toPrecision(3)}K`
          : `${(value / 2 ** 20).toPrecision(3)}M`,
    log: true,
  },
};

// Both plans share a scale, so that their colours mean the same.
function colourScale(points) {
  const colour = COLOURS[state.colour];
  const values = points
    .flatMap(point => point.assignment.map((format, c) => (known(format) ? colour.value(c, format) : null)))
    .filter(value => known(value) && value > 0);
  const [low, high] = values.length ? d3.extent(values) : [1, 1];
  const place = value => (low === high ? 0.5 : Math.log(value / low) / Math.log(high / low));
  return {
    ...colour,
    low,
    high,
    any: values.length > 0,
    place: value => (known(value) ? (value <= 0 ? 0 : place(value)) : null),
  };
}

const formatOf = (point, component) => point?.assignment?.[component] ?? null;
const formatName = format => (known(format) ? doc.formats[format].name : DASH);

// -1, 0 or 1: fewer, the same format, or more bits than the other plan has here.
function difference(point, other, component) {
  const a = formatOf(point, component),
    b = formatOf(other, component);
  if (!other?.assignment || a === b) return 0;
  return known(a) && known(b) && doc.formats[a].bits < doc.formats[b].bits ? -1 : 1;
}

function heatCell(point, other, scale, component, span) {
  const format = formatOf(point, component);
  const name = doc.components[component].name;
  const value = known(format) ? scale.value(component, format) : null;
  const sign = difference(point, other, component);
  const place = scale.place(value);
  const differs =
    sign === 0
      ? ''
      : `, ${sign < 0 ? 'fewer' : 'more'} bits than ${formatName(formatOf(other, component))} of the other plan`;
  const text = known(value) ? scale.show(value) : DASH;
  const cell = h(
    'td',
    {
      role: 'gridcell',
      tabindex: -1,
      colspan: span,
      'data-component': component,
      class: sign ? 'differs' : null,
      style: place === null ? null : `--t:${(100 * place).toFixed(1)}%`,
      'aria-label': `${name}: ${formatName(format)}, ${scale.name} ${text}${differs}`,
    },
    state.colour === 'bits'
      ? [h('span', {class: 'format'}, formatName(format)), h('span', {class: 'value'}, text)]
      : text,
    sign ? h('span', {class: 'sign', 'aria-hidden': 'true'}, sign < 0 ? '▼' : '▲') : null,
  );
  if (place === null) cell.classList.add('unknown');
  return cell;
}

// Bits per weight of some components of a plan.
function averageBits(point, components) {
  let bits = 0,
    weights = 0;
  for (const component of components) {
    const format = formatOf(point, component);
    if (!known(format)) return null;
    const {rows, cols} = doc.components[component];
    bits += 8 * componentBytes(component, format);
    weights += rows * cols;
  }
  return weights ? bits / weights : null;
}

function heatMap(point, other, letter, scale) {
  const columns = Math.max(1, MAP.kinds.length);
  const average = components =>
    h(
      'td',
      {class: 'average'},
      known(averageBits(point, components)) ? averageBits(point, components).toFixed(2) : DASH,
    );
  const wide = component =>
    h(
      'tr',
      {},
      h('th', {scope: 'row'}, doc.components[component].kind),
      heatCell(point, other, scale, component, columns),
      average([component]),
    );
  const rows = [
    ...MAP.above.map(wide),
    ...MAP.layers.map(([layer, row]) =>
      h(
        'tr',
        {},
        h('th', {scope: 'row'}, `${layer}`),
        MAP.kinds.map(kind =>
          row.has(kind) ? heatCell(point, other, scale, row.get(kind), 1) : h('td', {class: 'empty'}),
        ),
        average([...row.values()]),
      ),
    ),
    ...MAP.below.map(wide),
  ];
  const table = h(
    'table',
    {class: 'heat', role: 'grid', 'data-plan': point.id},
    h('caption', {}, `${letter}: ${nameOf(point)}, formats by layer and component`),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', {scope: 'col'}, 'layer'),
        MAP.kinds.map(kind => h('th', {scope: 'col'}, kind)),
        MAP.kinds.length ? null : h('th', {scope: 'col'}, ''),
        h('th', {scope: 'col', class: 'average'}, 'bits/w'),
      ),
    ),
    h('tbody', {}, rows),
  );
  const cells = [...table.querySelectorAll('[data-component]')];
  if (cells.length) cells[0].tabIndex = 0;
  const of = event => event.target.closest('[data-component]');
  table.addEventListener('pointerover', event => of(event) && showCell(Number(of(event).dataset.component)));
  table.addEventListener('pointerleave', () => showCell(state.cell));
  table.addEventListener('focusin', event => {
    if (!of(event)) return;
    cells.forEach(cell => {
      cell.tabIndex = cell === of(event) ? 0 : -1;
    });
    showCell(Number(of(event).dataset.component));
  });
  table.addEventListener('click', event => of(event) && pinCell(Number(of(event).dataset.component)));
  table.addEventListener('keydown', event => of(event) && cellKey(event, of(event)));
  return table;
}

function pinCell(component) {
  update({cell: state.cell === component ? null : component});
}

function cellKey(event, cell) {
  if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    pinCell(Number(cell.dataset.component));
    return;
  }
  const rows = [...cell.closest('tbody').rows]
    .map(row => [...row.querySelectorAll('[data-component]')])
    .filter(row => row.length);
  const y = rows.findIndex(row => row.includes(cell)),
    x = rows[y].indexOf(cell);
  const to = {
    ArrowRight: [y, x + 1],
    ArrowLeft: [y, x - 1],
    ArrowDown: [y + 1, x],
    ArrowUp: [y - 1, x],
    Home: [y, 0],
    End: [y, Infinity],
  }[event.key];
  if (!to) return;
  event.preventDefault();
  const row = rows[Math.max(0, Math.min(rows.length - 1, to[0]))];
  row[Math.max(0, Math.min(row.length - 1, to[1]))].focus();
}

function drawHeatMaps() {
  const a = selectedPoint(),
    b = secondPoint();
  const shown = [
    [a, 'A', b],
    [b, 'B', a],
  ].filter(([point]) => point);
  const mapped = shown.filter(([point]) => Array.isArray(point.assignment));
  const scale = colourScale(mapped.map(([point]) => point));
  fill(
    'maps',
    shown.map(([point, letter, other]) =>
      Array.isArray(point.assignment)
        ? h(
            'div',
            {class: 'map', role: 'region', tabindex: 0, 'aria-label': `Formats of ${nameOf(point)}`},
            heatMap(point, other, letter, scale),
          )
        : h('p', {class: 'none'}, `${letter}: ${nameOf(point)} has no table of formats in this report.`),
    ),
  );
  byId('maps').classList.toggle('two', mapped.length === 2);
  fill(
    'heat-legend',
    mapped.length && scale.any
      ? [
          h('span', {}, scale.show(scale.low)),
          h('span', {class: 'ramp', 'aria-hidden': 'true'}),
          h('span', {}, scale.show(scale.high)),
          h(
            'span',
            {class: 'ramp-name'},
            state.colour === 'bytes' && !exactSizes ? 'bytes, from the bits of the format' : scale.name,
          ),
        ]
      : null,
  );
  let text = '';
  if (mapped.length === 2) {
    const signs = doc.components.map((_, c) => difference(a, b, c));
    const count = wanted => signs.filter(sign => sign === wanted).length;
    text =
      count(-1) + count(1) === 0
        ? 'Both have the same format everywhere.'
        : `${count(-1) + count(1)} of ${signs.length} components differ: A has more bits in ${count(1)} (▲), fewer in ${count(-1)} (▼).`;
  }
  fill('heat-summary', text);
  markPinned();
  showCell(state.cell);
}

function markPinned() {
  document.querySelectorAll('.heat [data-component]').forEach(cell => {
    const pinned = Number(cell.dataset.component) === state.cell;
    cell.setAttribute('aria-selected', String(pinned));
    cell.classList.toggle('pinned', pinned);
  });
}
