"""What other programs make of a configuration, by their own rules.

A second reading beside the linter's: it shares nothing with it, so that an error in one shows as a
disagreement. Each reader takes the file's text and the component list of plan_maker.py and gives
{component name: format name}; what a consumer leaves alone is 'kept'. `Refused` stands for a
consumer that stops.
"""

import fnmatch
import json
import re


class Refused(Exception):
    pass


def scheme(bits, group, symmetric):
    return f'int{bits}{"" if symmetric else "z"}' + (f'-g{group}' if group and group > 0 else '')


# llama.cpp and ik_llama.cpp

LLAMA_TYPES = set('f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq1_s iq1_m '
                  'iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0 '
                  'q2_0'.split())
IK_TYPES = set('f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_K q3_K q4_K q5_K q6_K iq4_nl iq4_xs '
               'mxfp4 q6_0 iq4_ks'.split())
LLAMA_FALLBACK = {'q2_k': 'q4_0', 'q3_k': 'q4_0', 'q4_k': 'q5_0', 'q5_k': 'q5_1', 'q6_k': 'q8_0',
                  'iq4_xs': 'iq4_nl', 'tq1_0': 'q4_0', 'tq2_0': 'q4_0', 'q2_0': 'q4_0'}
IK_FALLBACK = {'q2_k': 'f16', 'q3_k': 'f16', 'q4_k': 'q5_0', 'q5_k': 'q6_0', 'q6_k': 'q8_0',
               'iq4_xs': 'iq4_nl'}
BLOCK = {'q2_k': 256, 'q3_k': 256, 'q4_k': 256, 'q5_k': 256, 'q6_k': 256, 'iq4_xs': 256,
         'tq1_0': 256, 'tq2_0': 256, 'q1_0': 128, 'q2_0': 64}


def gguf_names(components, architecture):
    """{tensor: [component names]} and {tensor: row length}."""
    names = {'embed': 'token_embd', 'head': 'output', 'q': 'attn_q', 'k': 'attn_k', 'v': 'attn_v',
             'o': 'attn_output', 'gate': 'ffn_gate', 'up': 'ffn_up', 'down': 'ffn_down'}
    if architecture == 'Phi3ForCausalLM':
        names.update(q='attn_qkv', k='attn_qkv', v='attn_qkv', gate='ffn_up')
    tensors, cols = {}, {}
    for name, kind, block, _, length in components:
        at = f'blk.{block}.' if block >= 0 else ''
        tensor = f'{at}{names[kind]}.weight'
        tensors.setdefault(tensor, []).append(name)
        cols[tensor] = length
    return tensors, cols


def substitute(kind, cols, fallback):
    block = BLOCK.get(kind, 32 if kind[0] in 'qim' else 1)
    if cols % block == 0:
        return kind
    if kind not in fallback:
        raise Refused(f'rows of {cols} in {kind}')
    other = fallback[kind]
    return other if other == 'f16' or cols % 32 == 0 else 'f16'


def read_llama_cpp(text, components, architecture, last_wins):
    rules = []
    for word in text.split():
        if '=' not in word:
            raise Refused(word)
        pattern, kind = word.split('=', 1)
        if kind.lower() not in LLAMA_TYPES:
            raise Refused(kind)
        rules.append((re.compile(pattern.lower()), kind.lower()))
    tensors, cols = gguf_names(components, architecture)
    result = {}
    for tensor, parts in tensors.items():
        hits = [kind for regex, kind in rules if regex.search(tensor)]
        if not hits:
            raise Refused(f'{tensor} is left to the built-in mix')
        kind = substitute(hits[-1 if last_wins else 0], cols[tensor], LLAMA_FALLBACK)
        result.update({part: kind for part in parts})
    return result


def read_ik_llama(text, components, architecture):
    lines = [line for line in text.splitlines() if line and not line.startswith('#')]
    rules = []
    for item in ','.join(lines).split(','):
        pattern, _, kind = item.partition('=')
        if kind not in IK_TYPES:
            raise Refused(kind)
        rules.append((re.compile(pattern), kind.lower()))
    tensors, cols = gguf_names(components, architecture)
    result = {}
    for tensor, parts in tensors.items():
        kind = next((kind for regex, kind in rules if regex.search(tensor)), None)
        if kind is None:
            raise Refused(tensor)
        kind = substitute(kind, cols[tensor], IK_FALLBACK)
        result.update({part: kind for part in parts})
    return result


# Targets that name modules

def modules(components, architecture):
    """{module: [component names]}; phi-3 stores joined modules."""
    result = {}
    for name, kind, _, _, _ in components:
        module = name
        if architecture == 'Phi3ForCausalLM':
            if kind in ('q', 'k', 'v'):
                module = name.rsplit('.', 1)[0] + '.qkv_proj'
            elif kind in ('gate', 'up'):
                module = name.rsplit('.', 1)[0] + '.gate_up_proj'
        result.setdefault(module, []).append(name)
    return result


def spread(by_module, components, architecture):
    result = {}
    for module, parts in modules(components, architecture).items():
        result.update({part: by_module[module] for part in parts})
    return result


FUSED = {'qkv_proj': ['q_proj', 'k_proj', 'v_proj'], 'gate_up_proj': ['gate_proj', 'up_proj']}


def vllm_modules(components, architecture):
    """What vLLM builds: {joined or single module: [checkpoint modules]}."""
    shard_of = {shard: fused for fused, shards in FUSED.items() for shard in shards}
    result = {}
    for module in modules(components, architecture):
        before, _, last = module.rpartition('.')
        joined = f'{before}.{shard_of[last]}' if last in shard_of else module
        result.setdefault(joined, []).append(module)
    return result


def read_autoround(text, components, architecture):
    layer_config = json.loads(text)
    linear = [m for m in modules(components, architecture) if m != 'model.embed_tokens']
    chosen = {name: value for name, value in layer_config.items() if name in linear}
    for key, value in layer_config.items():
        if key in linear:
            continue
        hits = [name for name in linear if re.search(key.replace('*', '.*'), name)]
        if any(name in chosen and chosen[name] != value for name in hits):
            raise Refused(f'{key} overrides others')
        chosen.update({name: value for name in hits})
    rows_cols = {name: (rows, cols) for name, _, _, rows, cols in components}
    by_module = {'model.embed_tokens': 'kept'}
    for name in linear:
        value = chosen.get(name)
        rows, cols = rows_cols.get(name, (32, 32))
        if value is None:
            if name != 'lm_head':
                raise Refused(f'{name} gets the default scheme')
            by_module[name] = 'kept'
        elif value['bits'] >= 16 or rows % 32 or cols % 32:
            by_module[name] = 'kept'
        else:
            by_module[name] = scheme(value['bits'], value['group_size'], value['sym'])
    for joined, parts in vllm_modules(components, architecture).items():
        if len({by_module[part] for part in parts}) > 1:
            raise Refused(f'{joined}: vLLM wants one scheme')
    return spread(by_module, components, architecture)


def gptq_value(name, rules, config):
    for pattern, value in rules:
        if pattern.startswith('-:'):
            if re.match(pattern[2:], name):
                return 'kept'
        elif re.match(pattern.removeprefix('+:'), name):
            return scheme(*(value.get(key, config[key]) for key in ('bits', 'group_size', 'sym')))
    return scheme(config['bits'], config['group_size'], config['sym'])


def read_gptqmodel(text, components, architecture):
    config = json.loads(text)
    rules = list(config['dynamic'].items())
    own_order = ([rule for rule in rules if rule[0].startswith('-:')]
                 + [rule for rule in rules if not rule[0].startswith('-:')])
    by_module = {}
    for name in modules(components, architecture):
        outside = name in ('model.embed_tokens', 'lm_head')
        assert not (outside and config.get('lm_head'))
        by_module[name] = 'kept' if outside else gptq_value(name, own_order, config)
    for joined, parts in vllm_modules(components, architecture).items():
        if joined in ('model.embed_tokens', 'lm_head'):
            continue
        loaded = gptq_value(joined, rules, config)
        if any(by_module[part] != loaded for part in parts):
            raise Refused(f'{joined}: quantized and loaded differently')
    return spread(by_module, components, architecture)


def ct_matches(name, target):
    return re.match(target[3:], name) if target.startswith('re:') else target == name


def ct_scheme(group):
    weights = group['weights']
    assert weights['type'] == 'int' and not weights['dynamic']
    assert group['input_activations'] is None and group['format'] == 'pack-quantized'
    size = -1 if weights['strategy'] == 'channel' else weights['group_size']
    return scheme(weights['num_bits'], size, weights['symmetric'])


def ct_vllm(joined, parts, config, class_first):
    ignored = [any(ct_matches(part, t) for t in config['ignore']) for part in parts]
    if any(ignored):
        if not all(ignored):
            raise Refused(f'{joined}: partly ignored')
        return 'kept'
    groups = config['config_groups'].values()
    targets = [(target, group) for group in groups for target in group['targets']]
    last = joined.rsplit('.', 1)[-1]
    name_of_class = {'qkv_proj': 'QKVParallelLinear',
                     'gate_up_proj': 'MergedColumnParallelLinear'}.get(last, 'RowParallelLinear')

    def by_name():
        return next((g for t, g in targets if ct_matches(joined, t)), None)

    def by_class():
        return next((g for t, g in targets
                     if not t.startswith('re:') and t.lower() in name_of_class.lower()), None)

    def by_parts():
        hits = [next((g for t, g in targets if ct_matches(part, t)), None) for part in parts]
        return hits[0] if len(parts) > 1 and all(hit is not None for hit in hits) else None

    order = [by_name, by_class, by_parts] if class_first else [by_name, by_parts, by_class]
    group = next((g for g in (look() for look in order) if g is not None), None)
    if group is None:
        raise Refused(f'{joined}: neither targeted nor ignored')
    return ct_scheme(group)


def read_compressed_tensors(text, components, architecture):
    config = json.loads(text)
    assert config['quant_method'] == 'compressed-tensors'
    by_module = {}
    for name in modules(components, architecture):
        if name == 'model.embed_tokens' or any(ct_matches(name, t) for t in config['ignore']):
            by_module[name] = 'kept'
            continue
        ranked = [((0 if t == name else 1), ct_scheme(g)) for g in config['config_groups'].values()
                  for t in g['targets'] if ct_matches(name, t)]
        if len(ranked) != 1:
            raise Refused(f'{name}: {len(ranked)} targets')
        by_module[name] = ranked[0][1]
    for joined, parts in vllm_modules(components, architecture).items():
        if joined == 'model.embed_tokens':
            continue
        for class_first in (False, True):
            loaded = ct_vllm(joined, parts, config, class_first)
            if any(by_module[part] != loaded for part in parts):
                raise Refused(f'{joined}: written and loaded differently')
    return spread(by_module, components, architecture)


def read_mlx(text, components, architecture):
    config = json.loads(text)
    assert config['quantization'] == config['quantization_config']
    quantization = config['quantization']
    cols = {m: next(c for n, _, _, _, c in components if n == parts[0])
            for m, parts in modules(components, architecture).items()}
    by_module = {}
    for name in cols:
        if name not in quantization:
            raise Refused(f'{name}: left to the weights')
        value = quantization[name]
        if value is False or cols[name] % quantization['group_size']:
            by_module[name] = 'kept'
            continue
        bits, group, mode = value['bits'], value['group_size'], value['mode']
        if cols[name] % group:
            raise Refused(f'{name}: groups of {group}')
        if mode == 'affine' and group in (32, 64, 128) and bits in (2, 3, 4, 5, 6, 8):
            by_module[name] = f'affine{bits}-g{group}'
        elif mode == 'mxfp4' and (bits, group) == (4, 32):
            by_module[name] = 'mxfp4'
        else:
            raise Refused(f'{name}: {value}')
    return spread(by_module, components, architecture)


def read_modelopt(text, components, architecture):
    entries = json.loads(text)['quant_cfg']
    by_module = {}
    for name in modules(components, architecture):
        state = None
        for entry in entries:
            if fnmatch.fnmatchcase(name + '.weight_quantizer', entry['quantizer_name']):
                state = entry
            if fnmatch.fnmatchcase(name + '.input_quantizer', entry['quantizer_name']):
                assert not entry['enable']
        if not state['enable']:
            by_module[name] = 'kept'
            continue
        cfg = state['cfg']
        assert cfg.get('axis') == 0 or 'block_sizes' in cfg
        by_module[name] = scheme(cfg['num_bits'], cfg.get('block_sizes', {}).get('-1'), True)
    for joined, parts in vllm_modules(components, architecture).items():
        if len({by_module[part] for part in parts}) > 1:
            raise Refused(f'{joined}: vLLM wants one scheme')
    return spread(by_module, components, architecture)


def read_torchao(text, components, architecture):
    config = json.loads(text)
    by_module = {}
    for name in modules(components, architecture):
        looks = [lambda key: key == name + '.weight', lambda key: key == name,
                 lambda key: key.startswith('re:') and re.fullmatch(key[3:], name + '.weight'),
                 lambda key: key.startswith('re:') and re.fullmatch(key[3:], name)]
        key = next((key for look in looks for key in config if look(key)), None)
        if key is None:
            raise Refused(f'{name}: no key')
        value = config[key]
        if value is None:
            by_module[name] = 'kept'
            continue
        by_module[name] = scheme(int(value['weight_dtype'][3:]), value['group_size'],
                                 value['mapping_type'] == 'SYMMETRIC')
    return spread(by_module, components, architecture)


def read_native(text, components, architecture):
    del architecture
    plan = json.loads(text)
    chosen = {c['name']: c['format'] for c in plan['components']}
    return {name: chosen[name] for name, _, _, _, _ in components}


# target -> (readers that all must agree, formats to mix, joins, kinds that are kept)
MODULE_FORMATS = ['int4-g32', 'int4-g64', 'int4-g128', 'int8', 'int8-g32', 'int8-g64', 'bf16']
ZERO_POINTS = ['int4z-g32', 'int4z-g64', 'int4z-g128']
FEW_BITS = ['int3-g32', 'int3z-g64', 'int2-g128', 'int2z-g32']
TARGETS = {
    'llama.cpp': ([lambda *a: read_llama_cpp(*a, last_wins=False),
                   lambda *a: read_llama_cpp(*a, last_wins=True)],
                  ['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_xs', 'q8_0', 'q4_0', 'tq2_0',
                   'q2_0', 'q1_0', 'mxfp4', 'bf16', 'f16'], False, ()),
    'ik_llama': ([read_ik_llama],
                 ['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_xs', 'q8_0', 'bf16'], False, ()),
    'autoround': ([read_autoround], MODULE_FORMATS + ZERO_POINTS + FEW_BITS, True, ('embed', 'head')),
    'gptqmodel': ([read_gptqmodel], MODULE_FORMATS, True, ('embed', 'head')),
    'compressed-tensors': ([read_compressed_tensors], MODULE_FORMATS + ZERO_POINTS, True,
                           ('embed', 'head')),
    'mlx': ([read_mlx], [f'affine{bits}-g{group}' for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
            + ['mxfp4', 'bf16'], False, ()),
    'modelopt': ([read_modelopt], MODULE_FORMATS, True, ('embed', 'head')),
    'torchao': ([read_torchao], MODULE_FORMATS + ZERO_POINTS + ['int8z'], False, ('embed',)),
    'native': ([read_native], MODULE_FORMATS + ZERO_POINTS + FEW_BITS + [
        'onebit', 'onebit-ln', 'removed', 'bf16+s37.5', 'int4-g32+2:4', 'int8+s99'], False, ()),
}
