// What the formats of one component would cost: beside the maps, for the cell that is pointed at or kept.

// Draws a predicted and a measured value on the logarithmic scale that `values` span.
function dotPlot(values) {
  const positive = values.filter(value => known(value) && value > 0);
  const x = d3.scaleLog(positive.length ? d3.extent(positive) : [1, 10], [5, 75]);
  return (expected, found) => {
    const strip = d3.create('svg').attr('viewBox', '0 0 80 12').attr('width', 80).attr('height', 12);
    strip.append('path').attr('d', 'M0,6H80');
    for (const [value, name] of [
      [expected, 'expected'],
      [found, 'found'],
    ]) {
      if (known(value) && value > 0)
        strip.append('circle').attr('class', name).attr('cx', x(value)).attr('cy', 6).attr('r', 3.5);
    }
    return strip.node();
  };
}

// What each format of a component would cost, the chosen ones marked.
function showCell(component) {
  const a = selectedPoint(),
    b = secondPoint();
  if (component === null || component === undefined || !a) {
    fill(
      'cell',
      h(
        'p',
        {class: 'hint'},
        'Point at a cell, or move to it with Tab and the arrow keys, to see what each format would cost there. Click or Enter keeps it.',
      ),
    );
    return;
  }
  const {name, rows, cols} = doc.components[component];
  const chosen = [
    [a, 'A'],
    [b, 'B'],
  ].filter(([point]) => point && known(formatOf(point, component)));
  const costs = doc.formats.map((_, format) => predicted(component, format));
  const dots = dotPlot([...costs, ...doc.formats.map((_, format) => evidenceOf(a, component, format))]);
  const line = (format, index) => {
    const marks = chosen.filter(([point]) => formatOf(point, component) === index).map(([, letter]) => letter);
    const measuredHere = evidenceOf(a, component, index);
    if (!known(costs[index]) && !known(measuredHere) && !marks.length) return null;
    return h(
      'tr',
      {class: marks.length ? 'chosen' : null, 'data-format': index},
      h(
        'td',
        {},
        marks.length
          ? h('span', {class: 'mark'}, h('span', {class: 'unseen'}, 'chosen '), `✓ ${b ? marks.join(' ') : ''}`)
          : '',
      ),
      h('th', {scope: 'row'}, format.name),
      h('td', {}, `${+format.bits.toPrecision(5)}`),
      h('td', {}, integer(componentBytes(component, index))),
      h('td', {}, number(costs[index])),
      h('td', {}, number(measuredHere)),
      h('td', {class: 'dots', 'aria-hidden': 'true'}, dots(costs[index], measuredHere)),
    );
  };
  const not = doc.formats.filter((_, index) => !known(costs[index])).length;
  fill(
    'cell',
    h('h3', {}, h('code', {}, name)),
    h(
      'p',
      {class: 'hint'},
      `${integer(rows)} × ${integer(cols)} weights${state.cell === component ? ', kept; click the cell again to let go' : ''}`,
    ),
    h(
      'div',
      {class: 'scroll'},
      h(
        'table',
        {class: 'numbers'},
        h('caption', {}, 'Text KL with this component alone in a format'),
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ['', 'format', 'bits', exactSizes ? 'bytes' : 'bytes, about', 'predicted', 'measured'].map(text =>
              h('th', {scope: 'col', class: text === 'format' ? 'text' : null}, text),
            ),
            h('td', {class: 'dots', 'aria-hidden': 'true'}, 'log: ○ ●'),
          ),
        ),
        h('tbody', {}, doc.formats.map(line)),
      ),
    ),
    not
      ? h(
          'p',
          {class: 'hint'},
          `${not} of ${doc.formats.length} formats have no prediction here: it cannot take them, or they were not considered.`,
        )
      : null,
  );
}
