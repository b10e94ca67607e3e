"""Plans without a model run: JSON that `bitbudget show`, `export` and `lint` accept."""

import random

FLOAT_BYTES = {'f32': 4, 'f16': 2, 'bf16': 2}
# ggml type -> (weights per layer, bytes per layer)
BLOCKS = {
    'q4_0': (32, 18), 'q4_1': (32, 20), 'q5_0': (32, 22), 'q5_1': (32, 24), 'q8_0': (32, 34),
    'q2_k': (256, 84), 'q3_k': (256, 110), 'q4_k': (256, 144), 'q5_k': (256, 176),
    'q6_k': (256, 210), 'iq4_nl': (32, 18), 'iq4_xs': (256, 136), 'tq1_0': (256, 54),
    'tq2_0': (256, 66), 'q1_0': (128, 18), 'q2_0': (64, 18), 'mxfp4': (32, 17),
}
HIDDEN, HEADS, KEYS, FFN, VOCABULARY = 256, 256, 128, 768, 512


def parse_integer(name):
    """(bits, group or None, zero point) of an integer format, or None."""
    if not name.startswith('int'):
        return None
    width, _, group = name[3:].partition('-g')
    return int(width.rstrip('z')), int(group) if group else None, width.endswith('z')


def sparse_bytes(sparsity, bits, rows, cols):
    """Mask, directory and codes (docs/formats.md, "Sparse formats")."""
    up = lambda value: -(-value // 8)
    if sparsity == '2:4':
        kept = cols // 4 * 2 + min(cols % 4, 2)
        return rows * (up(-(-cols // 4) * 4) + up(kept * bits))
    permille = round(float(sparsity[1:]) * 10)
    kept = rows * cols - (rows * cols * permille + 500) // 1000
    columns = up(rows * cols.bit_length()) + up(kept * (cols - 1).bit_length())
    return min(rows * up(cols), columns) + 8 * ((rows - 1) // 64) + up(kept * bits)


def size_bytes(name, rows, cols):
    if name == 'removed':
        return 0
    if name.startswith('affine'):  # MLX: codes, and a scale and an offset of 16 bits a group
        bits, group = (int(part) for part in name.removeprefix('affine').split('-g'))
        assert cols % group == 0, (name, cols)
        return rows * (cols * bits // 8 + cols // group * 4)
    if name.startswith('onebit'):
        return rows * -(-cols // 8) + 2 * (rows + cols)
    if '+' in name:
        dense, sparsity = name.split('+')
        bits = 8 * FLOAT_BYTES[dense] if dense in FLOAT_BYTES else parse_integer(dense)[0]
        codes = rows * -(-cols * bits // 8)
        return size_bytes(dense, rows, cols) - codes + sparse_bytes(sparsity, bits, rows, cols)
    if name in FLOAT_BYTES:
        return rows * cols * FLOAT_BYTES[name]
    if name in BLOCKS:
        layer, size = BLOCKS[name]
        assert cols % layer == 0, (name, cols)
        return rows * cols // layer * size
    bits, group, zero = parse_integer(name)
    groups = -(-cols // group) if group else 1
    return rows * (-(-cols * bits // 8) + 2 * groups + (-(-groups * bits // 8) if zero else 0))


def component_list(layers, tied, hidden=HIDDEN, ffn=FFN):
    """(name, kind, layer, rows, cols) in execution order."""
    components = [('model.embed_tokens', 'embed', -1, VOCABULARY, hidden)]
    for b in range(layers):
        at = f'model.layers.{b}.'
        components += [
            (at + 'self_attn.q_proj', 'q', b, HEADS, hidden),
            (at + 'self_attn.k_proj', 'k', b, KEYS, hidden),
            (at + 'self_attn.v_proj', 'v', b, KEYS, hidden),
            (at + 'self_attn.o_proj', 'o', b, hidden, HEADS),
            (at + 'mlp.gate_proj', 'gate', b, ffn, hidden),
            (at + 'mlp.up_proj', 'up', b, ffn, hidden),
            (at + 'mlp.down_proj', 'down', b, hidden, ffn),
        ]
    if not tied:
        components.append(('lm_head', 'head', -1, VOCABULARY, hidden))
    return components


def make_plan(components, formats, architecture='LlamaForCausalLM', stored='bf16'):
    """A plan dictionary; `formats` has one name per component."""
    entries = []
    for (name, kind, layer, rows, cols), chosen in zip(components, formats):
        entries.append({'name': name, 'kind': kind, 'layer': layer, 'rows': str(rows),
                        'cols': str(cols), 'format': chosen,
                        'encoder': '' if chosen == stored else 'clip',
                        'size_bytes': str(size_bytes(chosen, rows, cols))})
    weights = sum(rows * cols for _, _, _, rows, cols in components)
    total = sum(int(entry['size_bytes']) for entry in entries)
    return {
        'format_version': 1,
        'model': {'architecture': architecture, 'fingerprint': 'ab' * 32,
                  'parameter_count': str(weights), 'stored_bytes': str(2 * weights),
                  'fixed_bytes': '0'},
        'budget': {'requested': f'{total}B', 'bytes': str(total)},
        'options': {'search': 'uniform', 'objective': 'kl', 'encoder': 'clip',
                    'activations': 'int16', 'probe_source': 'model'},
        'components': entries,
        'search': {},
        'complete': False,
        'tool_version': '0.0.0',
    }


def unit_of(kind, layer, joins):
    """Components with equal keys share a format."""
    if joins and kind in ('q', 'k', 'v'):
        return ('qkv', layer)
    if joins and kind in ('gate', 'up'):
        return ('gate_up', layer)
    return (kind, layer)


def mixed_formats(components, choices, joins, kept_kinds, seed):
    """Random formats: `choices` where they may be, the stored type for `kept_kinds`."""
    rng = random.Random(seed)
    chosen = {}
    formats = []
    for _, kind, layer, _, _ in components:
        key = unit_of(kind, layer, joins)
        if key not in chosen:
            chosen[key] = 'bf16' if kind in kept_kinds else rng.choice(choices)
        formats.append(chosen[key])
    return formats
