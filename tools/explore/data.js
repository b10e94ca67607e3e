// What the page shows: the document of `bitbudget explore`, its metrics and axes, and how numbers are written.

function readDocument() {
  try {
    return JSON.parse(document.getElementById('data').textContent);
  } catch (error) {
    document.querySelector('main').textContent = `The data of this report cannot be read: ${error.message}`;
    throw error;
  }
}
const doc = readDocument();
doc.formats ||= [];
doc.components ||= [];
doc.costs ||= [];
doc.points ||= [];
doc.comparisons ||= [];
doc.continuations ||= [];
const pointById = new Map(doc.points.map(point => [point.id, point]));

const DASH = '–'; // what stands where the document has no number
const known = value => typeof value === 'number' && Number.isFinite(value);

// Four digits; small and large numbers with an exponent.
function number(value) {
  if (!known(value)) return DASH;
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-4) return value.toExponential(2);
  return size < 1e4 ? value.toPrecision(4) : Math.round(value).toLocaleString('en');
}
// Without zeros at the end, for what the user sets.
const brief = text => text.replace(/(\.\d*?)0+(?!\d)/, '$1').replace(/\.(?!\d)/, '');
const integer = value => (known(value) ? Math.round(value).toLocaleString('en') : DASH);
const percent = value => (known(value) ? `${(100 * value).toFixed(2)} %` : DASH);
const interval = (ends, show) =>
  Array.isArray(ends) && ends.every(known) ? `[${show(ends[0])}, ${show(ends[1])}]` : '';
const withInterval = (value, ends, show) => [show(value), interval(ends, show)].filter(Boolean).join(' ');

// Sizes of one page share a unit, that of the largest.
const UNITS = [
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
  ['B', 1],
];
function unitFor(bytes) {
  return UNITS.find(([, factor]) => bytes >= factor) || UNITS[3];
}
const overhead = doc.memory && known(doc.memory.overhead_bytes) ? doc.memory.overhead_bytes : 0;
const largest = Math.max(1, ...doc.points.map(point => point.size_bytes + overhead).filter(known));
const pageUnit = unitFor(largest);
function size(bytes, unit = pageUnit) {
  if (!known(bytes)) return DASH;
  const value = bytes / unit[1];
  return `${value >= 1e4 ? Math.round(value).toLocaleString('en') : value.toPrecision(4)} ${unit[0]}`;
}

// The measures of quality. `field` is read with `field`_ci; `y` turns a value of the document into what
// the chart draws (the share of other top tokens, so that a logarithm shows differences near 1).
const same = value => value;
const METRICS = [
  {
    id: 'text_kl',
    name: 'Text KL',
    unit: 'nats per token',
    lower: true,
    log: true,
    show: number,
    says: 'KL divergence from the original on text, nats per token',
  },
  {
    id: 'text_top1',
    name: 'Other top token',
    unit: 'share of tokens',
    lower: true,
    log: true,
    show: percent,
    y: value => 1 - value,
    says: 'share of text tokens where another token than the original’s is on top',
  },
  {
    id: 'fdt_mean',
    name: 'FDT',
    unit: 'tokens',
    lower: false,
    log: false,
    show: number,
    says: 'tokens until greedy text departs from the original’s, mean',
  },
  {id: 'text_ppl', name: 'Perplexity', unit: '', lower: true, log: true, show: number, says: 'perplexity on text'},
  {
    id: 'kl_mean',
    name: 'KL on greedy completions',
    unit: 'nats per token',
    lower: true,
    log: true,
    show: number,
    says: 'KL divergence from the original along its greedy completions, nats per token',
  },
].map(metric => ({y: same, ...metric}));
const metricById = new Map(METRICS.map(metric => [metric.id, metric]));

// {value, low, high} in the chart's terms, or null. low and high are null where there is no interval.
function measured(point, metric) {
  if (!known(point[metric.id])) return null;
  const ends = point[`${metric.id}_ci`];
  const both = Array.isArray(ends) && ends.every(known) ? ends.map(metric.y).sort((a, b) => a - b) : [null, null];
  return {value: metric.y(point[metric.id]), low: both[0], high: both[1]};
}
// What the noise floor, or the original model, has in the chart's terms, or null.
function floorOf(metric) {
  const value = metric.id === 'text_ppl' ? doc.reference?.text_ppl : doc.noise_floor?.[metric.id];
  return known(value) ? metric.y(value) : null;
}

// The goal in the chart's terms, where it is one of this measure, else null.
const goalOf = metric => (doc.goal?.metric === metric.id && known(doc.goal.value) ? metric.y(doc.goal.value) : null);

// The axes of size: all are increasing functions of a point's bytes.
const AXES = [
  {
    id: 'size',
    name: 'Size',
    label: `Size, ${pageUnit[0]}`,
    of: bytes => bytes / pageUnit[1],
    bytes: value => value * pageUnit[1],
    show: value => size(value * pageUnit[1]),
  },
  {
    id: 'bpw',
    name: 'Bits per weight',
    label: 'Bits per weight',
    of: bytes => (8 * bytes) / doc.model.weights,
    bytes: value => (value * doc.model.weights) / 8,
    show: value => `${value.toPrecision(4)} bits per weight`,
  },
];
if (doc.memory) {
  const context = `context of ${integer(doc.memory.context)}, ${doc.memory.kv_type} cache`;
  AXES.splice(1, 0, {
    id: 'memory',
    name: `Memory with a ${context}`,
    label: `Memory with a ${context}, ${pageUnit[0]}`,
    of: bytes => (bytes + overhead) / pageUnit[1],
    bytes: value => value * pageUnit[1] - overhead,
    show: value => size(value * pageUnit[1]),
  });
}
const axisById = new Map(AXES.map(axis => [axis.id, axis]));
function xOf(point, axis) {
  return axis.id === 'bpw' && known(point.bits_per_weight) ? point.bits_per_weight : axis.of(point.size_bytes);
}

// Series: a mark and a colour (a class of page.css) for each method, the plan curve first.
const METHOD_NAMES = {
  uniform: 'Uniform',
  additive: 'Additive',
  greedy: 'Greedy',
  lim: 'LIM order',
  zd: 'ZD order',
  random: 'Random order',
  signal: 'Signal order',
  file: 'Files of others',
  mix: 'llama.cpp mixes',
};
const STYLES = {uniform: 1, additive: 2, lim: 3, zd: 4, random: 5, file: 6, mix: 7};
const ONLY_MARKS = new Set(['uniform', 'file', 'mix']); // no order by budget, so no line
const planMethod = doc.method || 'greedy';
const SERIES = [];
{
  const methods = [...new Set(doc.points.map(point => point.method))];
  methods.sort((a, b) => (a !== planMethod) - (b !== planMethod) || (STYLES[a] || 9) - (STYLES[b] || 9));
  const taken = new Set(methods.map(method => (method === planMethod ? 0 : STYLES[method])));
  for (const method of methods) {
    const isPlan = method === planMethod;
    const free = [2, 3, 4, 5, 6, 7].find(style => !taken.has(style)) ?? 8;
    const style = isPlan ? 0 : (STYLES[method] ?? free);
    taken.add(style);
    const name = METHOD_NAMES[method] || method;
    SERIES.push({
      method,
      style,
      name: isPlan ? `Plans (${method})` : name,
      isPlan,
      line: !ONLY_MARKS.has(method),
      points: doc.points
        .filter(point => point.method === method && known(point.size_bytes))
        .sort((a, b) => a.size_bytes - b.size_bytes),
    });
  }
}
const seriesOf = new Map(SERIES.map(series => [series.method, series]));
const planPoints = seriesOf.get(planMethod)?.points ?? [];

function nameOf(point) {
  if (point.method === planMethod || point.method === 'file') return point.label;
  if (point.method === 'mix') return `${point.label} mix`;
  return `${METHOD_NAMES[point.method] || point.method} ${point.label}`;
}

// Bytes of a component in a format. Without the document's `sizes` this is the format's bits times the weights.
const exactSizes = Array.isArray(doc.sizes);
function componentBytes(component, format) {
  if (format === null || format === undefined) return null;
  if (exactSizes) return doc.sizes[component]?.[format] ?? null;
  const {rows, cols} = doc.components[component];
  return (rows * cols * doc.formats[format].bits) / 8;
}
const predicted = (component, format) => doc.costs[component]?.[format] ?? null;

// The divergence with this component alone in this format, measured on the way to this point, or null.
function evidenceOf(point, component, format) {
  const found = (point.evidence || []).find(([c, f]) => c === component && f === format);
  return found ? found[2] : null;
}
