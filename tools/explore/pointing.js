// Points of the chart under the pointer and the keys: the tooltip, and selecting.

function select(point, second) {
  update(second ? {second: point.id === state.second ? null : point.id} : {selected: point.id});
  announce(`${second ? 'Compared with' : 'Selected'}: ${describe(point)}`);
}

// Arrow keys go through the points by size; Enter selects, with Shift as the plan to compare with.
function pointKey(point) {
  const event = d3.event;
  const order = layers.points.selectAll('path').data();
  const at = order.indexOf(point);
  const to = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    Home: 0,
    End: order.length - 1,
  }[event.key];
  if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    select(point, event.shiftKey);
  } else if (to !== undefined) {
    event.preventDefault();
    layers.points.selectAll('path').nodes()[Math.max(0, Math.min(order.length - 1, to))].focus();
  }
}

function showTooltip(point) {
  const metric = currentMetric();
  const tip = byId('tooltip');
  const row = (name, text) => h('div', {}, h('dt', {}, name), h('dd', {}, text));
  tip.replaceChildren(
    h('strong', {}, nameOf(point) + (point.id === doc.knee ? ', the knee' : '')),
    h(
      'dl',
      {},
      row(
        'Size',
        `${size(point.size_bytes)}, ${known(point.bits_per_weight) ? point.bits_per_weight.toPrecision(4) : DASH} bits per weight`,
      ),
      doc.memory ? row('Memory', size(point.size_bytes + overhead)) : null,
      ...METRICS.map(each => {
        const found = measured(point, each);
        return (
          found &&
          row(each.name, withInterval(found.value, found.low === null ? null : [found.low, found.high], each.show))
        );
      }),
    ),
  );
  tip.hidden = false;
  const x = xPixel(point),
    y = yPixel(measured(point, metric).value);
  const scale = byId('chart-svg').getBoundingClientRect().width / chart.width;
  const left = x * scale > (chart.width * scale) / 2 ? x * scale - tip.offsetWidth - 16 : x * scale + 16;
  tip.style.left = `${Math.max(0, Math.min(chart.width * scale - tip.offsetWidth, left))}px`;
  tip.style.top = `${Math.max(0, Math.min(HEIGHT - tip.offsetHeight, y + 14))}px`;
}
function hideTooltip() {
  byId('tooltip').hidden = true;
}

// The pointer means the nearest point within 24 pixels.
function nearest(x, y) {
  const metric = currentMetric();
  let best = null,
    least = 24;
  for (const point of shownPoints()) {
    const distance = Math.hypot(xPixel(point) - x, yPixel(measured(point, metric).value) - y);
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}
function inChart(event) {
  const box = byId('chart-svg').getBoundingClientRect();
  return [((event.clientX - box.left) * chart.width) / box.width, ((event.clientY - box.top) * HEIGHT) / box.height];
}
