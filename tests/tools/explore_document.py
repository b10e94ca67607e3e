"""Made-up documents of `bitbudget explore`, for the tests of its page; the same at every call."""

import random

KINDS = [
    ('q', 256, 256),
    ('k', 64, 256),
    ('v', 64, 256),
    ('o', 256, 256),
    ('gate', 688, 256),
    ('up', 688, 256),
    ('down', 256, 688),
]
FORMATS = [
    ('binary-g64', 1.25),
    ('int2z-g64', 2.5),
    ('int3-g64', 3.25),
    ('int3z-g64', 3.5),
    ('int4-g128', 4.125),
    ('int4-g64', 4.25),
    ('int4z-g64', 4.5),
    ('int5-g64', 5.25),
    ('int6-g64', 6.25),
    ('int8', 8.0625),
    ('bf16', 16.0),
]
MODULES = {
    'q': 'self_attn.q_proj',
    'k': 'self_attn.k_proj',
    'v': 'self_attn.v_proj',
    'o': 'self_attn.o_proj',
    'gate': 'mlp.gate_proj',
    'up': 'mlp.up_proj',
    'down': 'mlp.down_proj',
}


def components_of(layers):
    found = [{'name': 'model.embed_tokens', 'kind': 'embed', 'layer': -1, 'rows': 4096, 'cols': 256}]
    for layer in range(layers):
        for kind, rows, cols in KINDS:
            found.append(
                {
                    'name': f'model.layers.{layer}.{MODULES[kind]}',
                    'kind': kind,
                    'layer': layer,
                    'rows': rows,
                    'cols': cols,
                }
            )
    found.append({'name': 'lm_head', 'kind': 'head', 'layer': -1, 'rows': 4096, 'cols': 256})
    return found


def measures(rng, bpw, worse):
    """Numbers like those of a plan at `bpw` bits per weight."""
    kl = worse * 2.2 * 2.0 ** (-1.9 * (bpw - 2)) * rng.uniform(0.93, 1.07)
    values = {
        'text_kl': kl,
        'text_top1': 1 - 0.5 * min(1, kl**0.5) * 0.9,
        'text_ppl': 12.34 * (1 + kl * 0.9),
        'fdt_mean': min(99.0, 7 / (kl + 0.05) ** 0.8),
        'kl_mean': kl * 0.44,
    }
    point = {}
    for name, value in values.items():
        width = abs(1 - value if name == 'text_top1' else value) * rng.uniform(0.03, 0.12)
        point[name] = value
        point[name + '_ci'] = [value - width, value + width * 1.1]
    return point


def document(
    layers=8,
    plans=9,
    rivals=('uniform', 'additive', 'lim', 'zd', 'random', 'mix', 'file'),
    continuations=4,
    memory=True,
    seed=7,
    name='novel-8m',
):
    rng = random.Random(seed)
    components = components_of(layers)
    weights = sum(c['rows'] * c['cols'] for c in components)
    importance = [rng.lognormvariate(0, 1.1) for _ in components]
    costs = [
        [
            None if c['layer'] < 0 and f < 2 else importance[i] * 0.02 * 2.0 ** (-1.8 * (bits - 2))
            for f, (_, bits) in enumerate(FORMATS)
        ]
        for i, c in enumerate(components)
    ]

    def assignment(bpw):
        chosen = []
        for i, c in enumerate(components):
            wanted = bpw + 0.45 * (importance[i] ** 0.5 - 1) * 1.4
            usable = [f for f in range(len(FORMATS)) if costs[i][f] is not None]
            chosen.append(min(usable, key=lambda f: abs(FORMATS[f][1] - wanted)))
        return chosen

    points = []

    def add(method, label, bpw, worse, **more):
        points.append(
            {
                'id': len(points),
                'method': method,
                'label': label,
                'budget': label,
                'bits_per_weight': bpw,
                'size_bytes': round(weights * bpw / 8),
                **measures(rng, bpw, worse),
                'assignment': assignment(bpw),
                'commands': [],
                'plan': None,
                'plan_json': None,
                **more,
            }
        )

    for i in range(plans):
        bpw = 2.25 + (8 - 2.25) * i / max(1, plans - 1)
        label = f'{bpw:.4g}bpw'
        add(
            'greedy',
            label,
            bpw,
            1.0,
            plan=f'plan-{label}.pb',
            plan_json={'model': name, 'budget': label, 'units': [{'format': '<&>'}]},
            commands=[
                {'title': 'Plan it', 'text': f'bitbudget plan {name} --budget {label} --out plan-{label}.pb'},
                {
                    'title': 'Write the GGUF file',
                    'text': f'bitbudget apply {name} --plan plan-{label}.pb \\\n  --out "{name} {label}.gguf"',
                },
            ],
        )
        chosen = points[-1]['assignment']
        points[-1]['evidence'] = [
            [c, chosen[c], costs[c][chosen[c]] * rng.uniform(0.8, 1.3)] for c in range(0, len(components), 2)
        ]
    for method in rivals:
        if method == 'uniform':
            for f, (label, bits) in enumerate(FORMATS[2:10], 2):
                add(method, label, bits, 1.9, assignment=[f] * len(components))
        elif method == 'mix':
            for label, bits in (('Q2_K', 3.1), ('Q4_K_M', 4.9), ('Q6_K', 6.6)):
                add(method, label, bits, 1.5)
        elif method == 'file':
            add(method, 'someone <else>.gguf', 4.35, 1.35, assignment=None)
        else:
            for i in range(0, plans, 2):
                add(
                    method,
                    points[i]['label'],
                    points[i]['bits_per_weight'],
                    {'additive': 1.15, 'lim': 1.4, 'zd': 1.5}.get(method, 1.8),
                )
    knee = plans // 3 if plans else None
    comparisons = []
    for a in range(plans):
        for b in range(len(points)):
            if (
                points[b]['method'] not in ('greedy', 'random')
                and abs(points[a]['bits_per_weight'] - points[b]['bits_per_weight']) < 0.8
            ):
                gap = points[a]['text_kl'] - points[b]['text_kl']
                comparisons.append(
                    {
                        'a': a,
                        'b': b,
                        'text_kl_difference_ci': sorted([gap * 0.9, gap * 1.1]),
                        'fdt_difference_ci': [-0.4, 2.1],
                        'text_kl_verdict': 'better' if gap < 0 else 'worse',
                        'fdt_verdict': 'not different',
                    }
                )
    words = (
        'the old captain looked out over the sea and said nothing for a long while , '
        'then he went below to the cabin where a lamp was burning'
    ).split()
    texts = []
    for prompt in (
        'It was a cold evening',
        'She opened <b>the</b> letter',
        'No one had seen him since',
        'At last',
    )[:continuations]:
        reference = [' ' + rng.choice(words) for _ in range(40)]
        reference[20] = '\n'
        texts.append({'prompt': prompt, 'reference': reference, 'points': {}})
        for point in points[: plans + 8]:
            at = min(40, int(point['fdt_mean']))
            tokens = reference[:at] + [' ' + rng.choice(words) for _ in range(at, 40)]
            at = next((i for i, (x, y) in enumerate(zip(tokens, reference)) if x != y), None)
            texts[-1]['points'][str(point['id'])] = {'tokens': tokens, 'first_divergent': at}
    return {
        'tool': {'name': 'bitbudget', 'version': '0.1.0'},
        'model': {
            'name': name,
            'architecture': 'LlamaForCausalLM',
            'weights': weights,
            'stored_bytes': 2 * weights,
            'layers': layers,
        },
        'target': 'llama.cpp',
        'memory': {'context': 8192, 'kv_type': 'f16', 'overhead_bytes': 1234567} if memory else None,
        'measured': {
            'search_probes': 48,
            'held_out_probes': 128,
            'prefix_tokens': 100,
            'completion_tokens': 100,
            'probe_source': 'text',
            'probe_fingerprint': 'ab12cd34',
            'seed': 1,
            'encoder': 'clip',
            'activations': 'int16',
            'text_positions': 10752,
            'size_counts': 'weights in their formats; no metadata, no tokenizer',
            'command': f'bitbudget explore {name} --out report.html',
        },
        'noise_floor': {'text_kl': 1.1e-8, 'text_top1': 1.0, 'fdt_mean': 100.0, 'kl_mean': 1.3e-8},
        'reference': {'text_ppl': 12.34},
        'formats': [{'name': n, 'bits': b} for n, b in FORMATS],
        'components': components,
        'costs': costs,
        'points': points,
        'method': 'greedy',
        'knee': knee,
        'goal': {'metric': 'text_kl', 'op': '<=', 'value': 0.05},
        'comparisons': comparisons,
        'continuations': texts,
    }


def with_nulls(seed=3):
    """Everything that may be missing is missing somewhere."""
    doc = document(layers=3, plans=5, seed=seed)
    doc.update(
        memory=None,
        goal=None,
        knee=None,
        target='',
        noise_floor={'text_kl': None, 'text_top1': None, 'fdt_mean': None, 'kl_mean': None},
        reference={'text_ppl': None},
    )
    for name in doc['measured']:
        doc['measured'][name] = None
    doc['points'][0].update(text_kl=None, text_kl_ci=None)
    doc['points'][1].update(text_kl_ci=None, assignment=None)
    doc['points'][2].update(fdt_mean=None, fdt_mean_ci=[None, None], bits_per_weight=None, commands=[])
    doc['points'][3]['assignment'][4] = None
    for point in doc['points']:
        point.update(text_ppl=None, text_ppl_ci=None)
    doc['comparisons'] = [
        {
            'a': 1,
            'b': 2,
            'text_kl_difference_ci': None,
            'fdt_difference_ci': None,
            'text_kl_verdict': None,
            'fdt_verdict': None,
        }
    ]
    doc['continuations'] = []
    return doc
