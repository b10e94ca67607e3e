// What the user has chosen, who is told of a change, and the few helpers that build elements.

// budget: bytes, null for no limit. quality: metric -> value in the chart's terms, null for none.
const state = {
  x: 'size',
  y: 'text_kl',
  log: true,
  hidden: new Set(),
  budget: null,
  quality: {},
  selected: null,
  second: null,
  colour: 'bits',
  cell: null,
};

const listeners = [];
function onChange(keys, listener) {
  listeners.push({keys, listener});
}
function update(change) {
  const keys = Object.keys(change);
  Object.assign(state, change);
  for (const {keys: wanted, listener} of listeners) {
    if (wanted.some(key => keys.includes(key))) listener();
  }
}

const selectedPoint = () => pointById.get(state.selected) ?? null;
const secondPoint = () => pointById.get(state.second) ?? null;

// Where the quality line stands unless the user moves it: the goal, else what the knee, else the middle plan keeps.
function defaultQuality(metric) {
  const goal = goalOf(metric);
  if (goal !== null) return goal;
  const point = pointById.get(doc.knee) ?? planPoints[Math.floor(planPoints.length / 2)];
  const found = point && measured(point, metric);
  if (!found) return null;
  return (metric.lower ? found.high : found.low) ?? found.value;
}
function qualityOf(metric) {
  if (!(metric.id in state.quality)) state.quality[metric.id] = defaultQuality(metric);
  return state.quality[metric.id];
}

// The whole interval must be on the right side; a point without an interval does not pass a line.
function passes(point, metric, limit) {
  if (limit === null) return true;
  const found = measured(point, metric);
  if (!found || found.low === null) return false;
  return metric.lower ? found.high <= limit : found.low >= limit;
}
const fits = point => state.budget === null || point.size_bytes <= state.budget;

// The smallest point within both lines, of the plan curve and of everything shown; each may be null.
function smallestWithin() {
  const metric = metricById.get(state.y);
  const limit = qualityOf(metric);
  const within = points =>
    points
      .filter(point => fits(point) && passes(point, metric, limit))
      .reduce((best, point) => (best === null || point.size_bytes < best.size_bytes ? point : best), null);
  const shown = SERIES.filter(series => !state.hidden.has(series.method));
  return {plan: within(planPoints), any: within(shown.flatMap(series => series.points))};
}

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const id = name => (given.has(name) && pointById.has(Number(given.get(name))) ? Number(given.get(name)) : null);
  const first = pointById.get(doc.knee) ?? planPoints[Math.floor(planPoints.length / 2)] ?? doc.points[0];
  state.selected = id('plan') ?? first?.id ?? null;
  state.second = id('with');
  const hasValues = metric => doc.points.some(point => measured(point, metric));
  const goal = doc.goal && metricById.get(doc.goal.metric);
  const start = [metricById.get(given.get('y')), goal, ...METRICS].find(metric => metric && hasValues(metric));
  state.y = (start || METRICS[0]).id;
  state.log = metricById.get(state.y).log;
  if (axisById.has(given.get('x'))) state.x = given.get('x');
}
function writeHash() {
  const given = new URLSearchParams({x: state.x, y: state.y});
  if (state.selected !== null) given.set('plan', state.selected);
  if (state.second !== null) given.set('with', state.second);
  try {
    history.replaceState(null, '', `#${given}`);
  } catch (error) {
    // Some browsers do not allow it in a local file; then the address just does not follow.
  }
}

// An element. Attributes that are null or false are left out, functions become listeners of `on...`.
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}
const byId = id => document.getElementById(id);
function fill(id, ...children) {
  byId(id).replaceChildren(...children.flat(3).filter(child => child !== null && child !== undefined));
}

// Says something to screen readers, once things have come to rest.
let announcement = null;
function announce(text) {
  clearTimeout(announcement);
  announcement = setTimeout(() => {
    byId('live').textContent = text;
  }, 400);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    const area = h('textarea', {class: 'unseen', 'aria-hidden': 'true'});
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
// A button that copies what `text()` gives and says whether it could.
function copyButton(label, text, what) {
  const button = h('button', {type: 'button', class: 'copy', 'aria-label': `${label}: ${what}`}, label);
  button.addEventListener('click', async () => {
    const done = await copyText(text());
    button.textContent = done ? 'Copied' : 'Cannot copy';
    announce(done ? `Copied: ${what}` : 'The browser does not allow copying');
    button.focus();
    setTimeout(() => {
      button.textContent = label;
    }, 1600);
  });
  return button;
}
