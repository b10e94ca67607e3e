// The selected plan, the plan it is compared with, their continuations, and what to run next.

// What was measured of the pair, as a minus b, whichever way round the document has it; null where nothing was.
const OPPOSITE = {better: 'worse', worse: 'better'};
function comparisonOf(a, b) {
  for (const found of doc.comparisons) {
    if (found.a === a.id && found.b === b.id) return found;
    if (found.a === b.id && found.b === a.id) {
      const turned = ends => (Array.isArray(ends) && ends.every(known) ? [-ends[1], -ends[0]] : null);
      return {
        text_kl_difference_ci: turned(found.text_kl_difference_ci),
        fdt_difference_ci: turned(found.fdt_difference_ci),
        text_kl_verdict: OPPOSITE[found.text_kl_verdict] || found.text_kl_verdict,
        fdt_verdict: OPPOSITE[found.fdt_verdict] || found.fdt_verdict,
      };
    }
  }
  return null;
}

// The document's own numbers, in the order of the tables.
const top1 = {id: 'text_top1', name: 'Same top token', show: percent};
const SHOWN_METRICS = METRICS.map(metric => (metric.id === 'text_top1' ? top1 : metric));
const cellOf = (point, metric) => withInterval(point[metric.id], point[`${metric.id}_ci`], metric.show);

// A difference with its sign, and a verdict with a sign of its own beside its colour.
const signed = value =>
  (value > 0 ? '+' : value < 0 ? '−' : '') +
  (Math.abs(value) < 1e-4 || Math.abs(value) >= 100 ? number(Math.abs(value)) : Math.abs(value).toPrecision(3));
const SIGNS = {better: '▲ ', worse: '▼ ', 'not different': '= '};
const range = ends => (Array.isArray(ends) && ends.every(known) ? `[${signed(ends[0])}, ${signed(ends[1])}]` : DASH);
const verdictOf = word =>
  word ? h('span', {class: `verdict ${word.replace(' ', '-')}`}, `${SIGNS[word] || ''}${word}`) : DASH;

// Everything that the selected plan was compared with over the same probes.
function verdictsTable(point) {
  const others = doc.points.filter(other => other !== point && comparisonOf(point, other));
  if (!others.length) return null;
  const row = other => {
    const pair = comparisonOf(point, other);
    return h(
      'tr',
      {'data-with': other.id},
      h(
        'th',
        {scope: 'row'},
        h(
          'button',
          {
            type: 'button',
            class: 'as-link',
            'aria-label': `Compare with ${nameOf(other)}`,
            onclick: () => update({second: other.id}),
          },
          nameOf(other),
        ),
      ),
      h('td', {}, size(other.size_bytes)),
      h('td', {}, range(pair.text_kl_difference_ci)),
      h('td', {class: 'text'}, verdictOf(pair.text_kl_verdict)),
      h('td', {}, range(pair.fdt_difference_ci)),
      h('td', {class: 'text'}, verdictOf(pair.fdt_verdict)),
    );
  };
  const heading = (text, left) => h('th', {scope: 'col', class: left ? 'text' : null}, text);
  return h(
    'div',
    {class: 'scroll verdicts', tabindex: 0, role: 'region', 'aria-label': 'Compared over the same probes'},
    h(
      'table',
      {class: 'numbers'},
      h('caption', {}, 'A minus others over the same probes, paired 95 % intervals; choose one to see both'),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          heading('other', true),
          heading('size'),
          heading('text KL, nats'),
          heading('A is', true),
          heading('FDT, tokens'),
          heading('A is', true),
        ),
      ),
      h('tbody', {}, others.sort((x, y) => x.size_bytes - y.size_bytes).map(row)),
    ),
  );
}

function drawFacts() {
  const a = selectedPoint(),
    b = secondPoint();
  const option = point => h('option', {value: point.id}, `${nameOf(point)}, ${size(point.size_bytes)}`);
  const groups = () => SERIES.map(series => h('optgroup', {label: series.name}, series.points.map(option)));
  fill('plan-select', groups());
  fill('second-select', h('option', {value: ''}, 'none'), groups());
  byId('plan-select').value = state.selected ?? '';
  byId('second-select').value = state.second ?? '';
  if (!a) {
    fill('facts', h('p', {class: 'none'}, 'This report has no plans.'));
    return;
  }
  const pair = b ? comparisonOf(a, b) : null;
  const paired = {
    text_kl: pair && [range(pair.text_kl_difference_ci), verdictOf(pair.text_kl_verdict)],
    fdt_mean: pair && [range(pair.fdt_difference_ci), verdictOf(pair.fdt_verdict)],
  };
  const change = (x, y, show) =>
    known(x) && known(y) ? `${x > y ? '+' : x < y ? '−' : ''}${show(Math.abs(x - y))}` : DASH;
  const row = (name, title, first, second, more) =>
    h(
      'tr',
      {},
      h('th', {scope: 'row', title}, name),
      h('td', {}, first),
      b ? h('td', {}, second) : null,
      b ? (more || ['', '']).map(cell => h('td', {}, cell)) : null,
    );
  const bits = point => (known(point?.bits_per_weight) ? point.bits_per_weight.toPrecision(4) : DASH);
  fill(
    'facts',
    h(
      'div',
      {class: 'scroll'},
      h(
        'table',
        {class: 'numbers facts'},
        h('caption', {}, b ? 'The two side by side, with 95 % intervals' : 'What was measured, with 95 % intervals'),
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', {scope: 'col'}, ''),
            h('th', {scope: 'col'}, `A: ${nameOf(a)}`),
            b
              ? [
                  h('th', {scope: 'col'}, `B: ${nameOf(b)}`),
                  h('th', {scope: 'col'}, 'A minus B'),
                  h('th', {scope: 'col'}, 'A is'),
                ]
              : null,
          ),
        ),
        h(
          'tbody',
          {},
          row(
            'Size',
            doc.measured?.size_counts ?? '',
            `${size(a.size_bytes)} (${integer(a.size_bytes)} bytes)`,
            b && `${size(b.size_bytes)} (${integer(b.size_bytes)} bytes)`,
            [b && change(a.size_bytes, b.size_bytes, value => `${integer(value)} bytes`), ''],
          ),
          doc.memory
            ? row(
                'Memory',
                'file and everything beside it',
                size(a.size_bytes + overhead),
                b && size(b.size_bytes + overhead),
              )
            : null,
          row('Bits per weight', '', bits(a), bits(b), [b && change(a.bits_per_weight, b.bits_per_weight, number), '']),
          SHOWN_METRICS.filter(metric => known(a[metric.id]) || (b && known(b[metric.id]))).map(metric =>
            row(metric.name, metric.says, cellOf(a, metric), b && cellOf(b, metric), paired[metric.id]),
          ),
        ),
      ),
    ),
    b && !pair && a !== b
      ? h('p', {class: 'hint'}, 'This pair was not compared over the same probes; overlapping intervals do not decide.')
      : null,
    b && pair
      ? h(
          'p',
          {class: 'hint'},
          'A minus B of text KL and FDT: 95 % interval of the difference, paired over the same probes.',
        )
      : null,
    b ? null : verdictsTable(a),
  );
}

// A token as it reads; what cannot be seen has a sign.
const visible = token => token.replace(/\n/g, '⏎\n').replace(/\t/g, '⇥');
function continuation(title, tokens, divergent) {
  const marked = known(divergent) && divergent < tokens.length ? divergent : null;
  const text =
    marked === null
      ? [visible(tokens.join(''))]
      : [
          visible(tokens.slice(0, marked).join('')),
          h(
            'mark',
            {class: 'divergent'},
            h('span', {class: 'unseen'}, ' first different token: '),
            visible(tokens[marked]),
          ),
          h('span', {class: 'after'}, visible(tokens.slice(marked + 1).join(''))),
        ];
  const says = !known(divergent)
    ? title === 'Original'
      ? ''
      : `the same for ${tokens.length} tokens`
    : title === 'Original'
      ? ''
      : `differs from token ${divergent + 1} on`;
  return h(
    'div',
    {class: 'text'},
    h('h4', {}, title, says ? h('span', {class: 'says'}, says) : null),
    h('p', {class: 'tokens'}, text),
  );
}

function drawContinuations() {
  const shown = [
    [selectedPoint(), 'A'],
    [secondPoint(), 'B'],
  ].filter(([point]) => point);
  const open = new Set([...document.querySelectorAll('#continuations details[open]')].map(each => each.dataset.prompt));
  const first = !document.querySelector('#continuations details');
  const items = doc.continuations
    .map((one, index) => {
      const texts = shown
        .map(([point, letter]) => [point, letter, one.points?.[point.id]])
        .filter(([, , text]) => text);
      if (!texts.length) return null;
      const divergent = texts.map(([, , text]) => text.first_divergent).filter(known);
      return h(
        'details',
        {'data-prompt': index, open: first ? index < 3 : open.has(String(index))},
        h('summary', {}, h('q', {}, one.prompt)),
        h(
          'div',
          {class: 'texts'},
          continuation('Original', one.reference, divergent.length ? Math.min(...divergent) : null),
          texts.map(([point, letter, text]) =>
            continuation(`${letter}: ${nameOf(point)}`, text.tokens, text.first_divergent),
          ),
        ),
      );
    })
    .filter(Boolean);
  const missing = shown
    .filter(([point]) => !doc.continuations.some(one => one.points?.[point.id]))
    .map(([point]) => nameOf(point));
  fill(
    'continuations',
    items,
    missing.length && doc.continuations.length
      ? h('p', {class: 'hint'}, `No continuations of ${missing.join(' and ')} in this report.`)
      : null,
  );
  byId('continuations-section').hidden = doc.continuations.length === 0;
  byId('continuations-link').hidden = doc.continuations.length === 0;
}

function drawCommands() {
  const point = selectedPoint();
  const commands = point?.commands || [];
  byId('next-name').textContent = point ? `For ${nameOf(point)}, ${size(point.size_bytes)}.` : '';
  fill(
    'commands',
    commands.map(command =>
      h(
        'div',
        {class: 'command'},
        h('h3', {}, command.title),
        copyButton('Copy', () => command.text, command.title),
        h('pre', {tabindex: 0}, h('code', {}, command.text)),
      ),
    ),
    commands.length ? null : h('p', {class: 'none'}, 'This report has no commands for it.'),
    point?.plan_json
      ? h(
          'p',
          {},
          h('button', {type: 'button', id: 'download', onclick: () => download(point)}, 'Download the plan as JSON'),
          point.plan ? [' The plan file is ', h('code', {}, point.plan), '.'] : null,
        )
      : point?.plan
        ? h('p', {}, 'The plan file is ', h('code', {}, point.plan), '.')
        : null,
  );
}

function download(point) {
  const link = URL.createObjectURL(
    new Blob([`${JSON.stringify(point.plan_json, null, 2)}\n`], {type: 'application/json'}),
  );
  const name = (point.plan || `${doc.model.name}-${point.label}`)
    .replace(/^.*\//, '')
    .replace(/\.pb$/, '')
    .replace(/[^\w.-]+/g, '-');
  const anchor = h('a', {href: link, download: `${name}.json`});
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(link), 10000);
  announce('The plan is being saved');
}
