// Every number of the document in tables that can be sorted and copied.

const csvField = value => (/[",\n\r]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);
const csvOf = (columns, rows) =>
  [columns.map(column => column.name), ...rows.map(row => columns.map(column => column.value(row)))]
    .map(line => line.map(value => csvField(value === null || value === undefined ? '' : String(value))).join(','))
    .join('\n') + '\n';

// columns: name, value(row), and show(row) where the text is not the value. The copy has the values in full.
function dataTable(caption, columns, rows) {
  let sorted = [...rows],
    by = null,
    down = false;
  const body = h('tbody');
  const draw = () =>
    body.replaceChildren(
      ...sorted.map(row =>
        h(
          'tr',
          {},
          columns.map((column, index) => {
            const text = column.show ? column.show(row) : String(column.value(row) ?? DASH);
            return index === 0 ? h('th', {scope: 'row'}, text) : h('td', {class: column.text ? 'text' : null}, text);
          }),
        ),
      ),
    );
  const headings = columns.map(column => {
    const heading = h('th', {scope: 'col', 'aria-sort': 'none', class: column.text ? 'text' : null});
    heading.append(
      h(
        'button',
        {
          type: 'button',
          onclick: () => {
            down = by === column && !down;
            by = column;
            const rank = value => (value === null || value === undefined ? 1 : 0); // nothing last, either way
            sorted.sort((x, y) => {
              const a = column.value(x),
                b = column.value(y);
              if (rank(a) || rank(b)) return rank(a) - rank(b);
              const order =
                typeof a === 'number' && typeof b === 'number'
                  ? a - b
                  : String(a).localeCompare(String(b), 'en', {numeric: true});
              return down ? -order : order;
            });
            headings.forEach(other =>
              other.setAttribute('aria-sort', other === heading ? (down ? 'descending' : 'ascending') : 'none'),
            );
            draw();
          },
        },
        column.name,
      ),
    );
    return heading;
  });
  draw();
  return [
    h(
      'p',
      {class: 'table-tools'},
      copyButton('Copy as CSV', () => csvOf(columns, sorted), caption),
      h('span', {class: 'hint'}, `${rows.length} ${rows.length === 1 ? 'row' : 'rows'}`),
    ),
    h(
      'div',
      {class: 'scroll tall', tabindex: 0, role: 'region', 'aria-label': caption},
      h('table', {class: 'numbers data'}, h('caption', {}, caption), h('thead', {}, h('tr', {}, headings)), body),
    ),
  ];
}

// The table is made when it is opened first; `fresh` tables follow the selected plan.
function foldedTable(id, title, make, open) {
  const body = h('div');
  const details = h('details', {id, open}, h('summary', {}, title), body);
  const build = () => {
    if (details.open) body.replaceChildren(...make());
  };
  details.addEventListener('toggle', () => body.childElementCount === 0 && build());
  build();
  return {
    details,
    redraw: () => {
      body.replaceChildren();
      build();
    },
  };
}

const field = (name, key, show) => ({name, value: row => row[key] ?? null, show: show && (row => show(row[key]))});
const end = (key, index, name) => ({
  name,
  value: row => row[key]?.[index] ?? null,
  show: row => number(row[key]?.[index]),
});

function pointsTable() {
  const columns = [
    {name: 'point', value: row => nameOf(row)},
    {name: 'method', value: row => row.method, text: true},
    field('bytes', 'size_bytes', integer),
  ];
  if (doc.memory)
    columns.push({
      name: 'memory bytes',
      value: row => row.size_bytes + overhead,
      show: row => integer(row.size_bytes + overhead),
    });
  columns.push(field('bits/weight', 'bits_per_weight', value => (known(value) ? value.toPrecision(4) : DASH)));
  for (const [key, name] of [
    ['text_kl', 'text KL'],
    ['text_top1', 'text top-1'],
    ['text_ppl', 'perplexity'],
    ['fdt_mean', 'FDT'],
    ['kl_mean', 'greedy KL'],
  ]) {
    columns.push(field(name, key, number), end(`${key}_ci`, 0, `${name} low`), end(`${key}_ci`, 1, `${name} high`));
  }
  return dataTable('Every point, with 95 % intervals', columns, doc.points);
}
function componentsTable() {
  const point = selectedPoint();
  const rows = doc.components.map((component, index) => ({...component, index, format: formatOf(point, index)}));
  const here = row => (known(row.format) ? row.format : null);
  return dataTable(
    `Components of ${point ? nameOf(point) : 'no plan'}`,
    [
      field('component', 'name'),
      {...field('kind', 'kind'), text: true},
      field('layer', 'layer', value => (value < 0 ? DASH : String(value))),
      field('rows', 'rows', integer),
      field('cols', 'cols', integer),
      {name: 'format', value: row => (here(row) === null ? null : formatName(row.format)), text: true},
      {name: 'bits', value: row => (here(row) === null ? null : doc.formats[row.format].bits)},
      {
        name: exactSizes ? 'bytes' : 'bytes, about',
        value: row => componentBytes(row.index, here(row)),
        show: row => integer(componentBytes(row.index, here(row))),
      },
      {
        name: 'predicted text KL',
        value: row => (here(row) === null ? null : predicted(row.index, row.format)),
        show: row => number(here(row) === null ? null : predicted(row.index, row.format)),
      },
      {
        name: 'measured text KL',
        value: row => (here(row) === null ? null : evidenceOf(point, row.index, row.format)),
        show: row => number(here(row) === null ? null : evidenceOf(point, row.index, row.format)),
      },
    ],
    rows,
  );
}
function costsTable() {
  const rows = doc.components.map((component, index) => ({...component, index}));
  return dataTable(
    'Predicted text KL of each component alone in each format',
    [
      field('component', 'name'),
      ...doc.formats.map((format, f) => ({
        name: format.name,
        value: row => predicted(row.index, f),
        show: row => number(predicted(row.index, f)),
      })),
    ],
    rows,
  );
}
function evidenceTable() {
  const point = selectedPoint();
  const rows = (point?.evidence || []).map(([component, format, kl]) => ({component, format, kl}));
  return dataTable(
    `Components measured alone for ${point ? nameOf(point) : 'no plan'}`,
    [
      {name: 'component', value: row => doc.components[row.component]?.name ?? row.component},
      {name: 'format', value: row => formatName(row.format), text: true},
      field('measured text KL', 'kl', number),
      {
        name: 'predicted text KL',
        value: row => predicted(row.component, row.format),
        show: row => number(predicted(row.component, row.format)),
      },
    ],
    rows,
  );
}
function comparisonsTable() {
  const name = id => (pointById.has(id) ? nameOf(pointById.get(id)) : String(id));
  return dataTable(
    'Pairs, a minus b, paired over probes, 95 % intervals',
    [
      {name: 'a', value: row => name(row.a)},
      {name: 'b', value: row => name(row.b), text: true},
      end('text_kl_difference_ci', 0, 'text KL low'),
      end('text_kl_difference_ci', 1, 'text KL high'),
      {...field('text KL verdict', 'text_kl_verdict'), text: true},
      end('fdt_difference_ci', 0, 'FDT low'),
      end('fdt_difference_ci', 1, 'FDT high'),
      {...field('FDT verdict', 'fdt_verdict'), text: true},
    ],
    doc.comparisons,
  );
}
function formatsTable() {
  return dataTable('Formats', [field('format', 'name'), field('bits', 'bits')], doc.formats);
}

const tables = [
  foldedTable('table-points', 'Points', pointsTable, true),
  foldedTable('table-components', 'Components of the selected plan', componentsTable, false),
  foldedTable('table-evidence', 'Components measured alone, of the selected plan', evidenceTable, false),
  foldedTable('table-costs', 'Predicted costs', costsTable, false),
  foldedTable('table-comparisons', 'Comparisons', comparisonsTable, false),
  foldedTable('table-formats', 'Formats', formatsTable, false),
];
fill(
  'tables',
  tables.map(table => table.details),
);
const followSelection = () => [tables[1], tables[2]].forEach(table => table.redraw());
