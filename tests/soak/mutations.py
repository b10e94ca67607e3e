"""Ways to spoil a command line and a file, drawn from a seed. Each returns what it made."""

import json
import os
import struct

from tiny import safetensors

NUMBERS = ('0', '-1', '1', '2', '3', '4', '5', '7', '8', '16', '31', '1000', '2147483647', '2147483648', '4294967296',
           '9223372036854775807', '9223372036854775808', '18446744073709551616', '1e308', '1e-308', '1e999',
           '-0', '0x10', '1.5', 'nan', 'NaN', '-nan', 'inf', '-inf', '', ' ', '1e', '+3', '1_000', '٣')
WORDS = ('', '.', '..', '-', '--', '---', '=', ',', ',,', '\n', 'a\nb', '\x1b[2J', '\t', '%s%n', '*', '(', '[',
         '(a*)*b', '.*=int8', '.*=', '=int4-g32', 'int4-g32,', 'int4-g0', 'int9', 'int4-g99999999999', 'q4_0',
         'removed', 'f32+s*', 'int4-g32+s100', 'int8+2:4', '0bpw', '-5bpw', 'nanbpw', '1e308bpw', '5bpw',
         '99999999999999999999B', '0B', '-1GiB', '1KiB', '1EiB', '100%', '0%', '-5%', '101%', 'nan%', 'kl<=0',
         'kl<=nan', 'top1>=101%', 'fdt>=1e308', 'ppl<=+-1%', b'\xff\xfe', b'\xc3', b'a\xc0\x80b', 'é', '😀',
         'a' * 255, 'a' * 256, 'a' * 5000, '/dev/null', '/dev/zero', '/proc/self/mem', '/nowhere/a',
         'model', 'model/', 'model/config.json', 'model.gguf', 'plan.pb', 'plan.json', 'text.txt', 'types.txt',
         'a.pb', 'a.gguf', 'a.json', 'none')
OPTIONS = ('--unknown', '--prob', '-x', '-n', '--v', '--v=3', '--version')
# What may well be given: such calls come further.
VALUES = {'--encoder': ('rtn', 'clip', 'imatrix', 'gptq', 'gptq-guided', 'lwc', 'auto'),
          '--activations': ('int16', 'int8', 'token8', 'token4', 'f32', 'llama.cpp'),
          '--search': ('greedy', 'additive', 'layerwise', 'uniform', 'random', 'beam', 'evolution', 'sparsify'),
          '--objective': ('fdt', 'fdt75', 'sdt', 'dppl', 'kl', 'text-kl', 'loss', 'text-ppl'),
          '--scorer': ('lim', 'zd', 'signal', 'kfac', 'fisher', 'first-order', 'weighted-error', 'linearity'),
          '--costs': ('kfac', 'fisher', 'first-order', 'weighted-error', 'linearity', 'output-error'),
          '--formats': ('int4-g32,int8', 'q4_0,q8_0', 'int2-g32,int3z-g32,int8', 'onebit,int8', 'removed,bf16', 'f32',
                        'bf16,int4-g32+2:4', 'int8+s50,int8', 'q2_k,q6_k,iq4_nl', 'mxfp4,tq1_0'),
          '--format': ('int8', 'int4-g32', 'q4_0', 'q4_k', 'onebit', 'removed', 'f16'),
          '--uniform': ('int8', 'int4-g32', 'q4_1', 'q4_k', 'onebit-ln', 'removed', 'f16', 'int8+s50'),
          '--pin': ('.*=int8', 'down=q4_0', 'layers.0=removed', 'embed=bf16', 'nothing=int8'),
          '--min-bits': ('.*=3', 'down=8', 'embed=16', 'nothing=4'),
          '--budget': ('1bpw', '3bpw', '5bpw', '9bpw', '20bpw', '60%', '50KiB', '100000B'),
          '--goal': ('kl<=1', 'text_kl<=0.5', 'top1>=50%', 'fdt>=1', 'ppl<=+50%'),
          '--sizes': ('5bpw', '70000B,80000B', '9bpw,9bpw', '30%,60%'), '--sparsity': ('10%', '60%'),
          '--memory': ('1KiB', '30MiB', '60MiB', '1GiB'), '--kv': ('f16', 'q8_0'), '--context': ('8', '128', '4096'),
          '--budget-for': ('weights', 'file', 'memory'), '--pruning': ('magnitude', 'wanda', 'fisher'),
          '--target': ('llama.cpp', 'ik_llama', 'autoround', 'mlx', 'modelopt', 'torchao', 'native'),
          '--to': ('llama.cpp', 'ik_llama', 'autoround', 'gptqmodel', 'mlx', 'modelopt', 'torchao', 'native'),
          '--rivals': ('additive', 'lim,zd', 'random', 'q4_k_m', 'none'), '--compare': ('model.gguf', 'plan.pb'),
          '--method': ('blockwise', 'omniquant', 'scales', 'distill', 'onebit', 'scales,distill'),
          '--recover': ('blockwise', 'scales'), '--retrain': ('1,1', '0,1'), '--freeze': ('none', 'ov', 'qk', 'random'),
          '--text': ('text.txt',), '--prompts': ('prompts.txt',), '--calibration': ('text.txt',),
          '--plan': ('plan.pb', 'plan.json', 'gguf.pb', 'packed.pb', 'recovered.pb', 'of-gguf.pb', 'model.gguf'),
          '--out': ('a.pb', 'a.json', 'a.gguf', 'a', 'a.npy', 'a.html', 'plan.pb', 'model', 'model.gguf'),
          '--tokens': ('1', '1,2,3', '299', '300', '-1'), '--prompt': ('the', '', 'é'),
          '--weights': ('dequantized', 'compressed-tensors', 'mlx'), '--dtype': ('f32', 'f16', 'bf16', 'stored')}
SMALL = ('0', '1', '2', '3', '4', '5', '8', '12', '0.5')


def mutate_args(args, options, draw):
    """Another command line: words of it are dropped, doubled, swapped, changed or added. Options: whether each takes
    a value."""
    args = list(args)
    if options and draw.random() < 0.5:
        for _ in range(draw.choice((1, 1, 2, 3))):
            option = draw.choice(sorted(options))
            at = args.index(option) if option in args else len(args)
            value = [draw.choice(VALUES.get(option, SMALL))] if options[option] else []
            args[at:at + 1 + len(value)] = [option, *value]
        return args
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        kind = draw.choice(('drop', 'double', 'swap', 'number', 'number', 'word', 'word', 'option', 'option',
                            'value', 'value', 'join', 'letter'))
        at = draw.randrange(len(args)) if args else 0
        if not args or kind == 'option':
            option = draw.choice((*options, *OPTIONS))
            args[at + 1:at + 1] = [option, draw.choice(NUMBERS + WORDS)][:draw.choice((1, 2))]
        elif kind == 'drop':
            del args[at]
        elif kind == 'double':
            other = draw.randrange(len(args))
            args[other:other] = args[at:at + draw.choice((1, 2))]
        elif kind == 'swap':
            other = draw.randrange(len(args))
            args[at], args[other] = args[other], args[at]
        elif kind == 'number':
            numbers = [i for i, word in enumerate(args) if isinstance(word, str) and word.isdigit()]
            args[draw.choice(numbers) if numbers else at] = draw.choice(NUMBERS)
        elif kind == 'word':
            args[at] = draw.choice(WORDS)
        elif kind == 'value':
            known = [i for i, word in enumerate(args[:-1]) if word in VALUES]
            place = draw.choice(known) if known else at
            args[place + 1:place + 2] = [draw.choice(VALUES.get(args[place], NUMBERS + WORDS))]
        elif kind == 'join' and at + 1 < len(args):
            args[at:at + 2] = [encoded(args[at]) + draw.choice((b'=', b' ', b'')) + encoded(args[at + 1])]
        elif kind == 'letter' and args[at]:
            word = bytearray(encoded(args[at]))
            # No slash: no command line shall lead out of its folder.
            word[draw.randrange(len(word))] = draw.choice([byte for byte in range(1, 256) if byte != ord('/')])
            args[at] = bytes(word)
    return args


def encoded(word):
    return word.encode() if isinstance(word, str) else word


SCALARS = (None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, -2**63, 1e308, -1e-308, 0.5, '', 'x', 'é\n', [], {},
           [1], {'a': 1}, '9' * 400)


def mutate_json(value, draw):
    """The value with something in it removed, added or changed."""
    places = []

    def walk(inside):
        if isinstance(inside, (dict, list)) and inside:
            keys = list(inside) if isinstance(inside, dict) else range(len(inside))
            places.extend((inside, key) for key in keys)
            for key in keys:
                walk(inside[key])

    walk(value)
    if not places:
        return draw.choice(SCALARS)
    for _ in range(draw.choice((1, 1, 3))):
        inside, key = draw.choice(places)
        kind = draw.choice(('scalar', 'scalar', 'remove', 'add', 'other', 'nudge', 'deep'))
        if isinstance(inside, dict) and key not in inside or isinstance(inside, list) and key >= len(inside):
            continue
        if kind == 'remove':
            del inside[key]
        elif kind == 'add' and isinstance(inside, dict):
            inside[draw.choice(('more', '', str(key) + 'x', 'rope_scaling', 'quantization_config'))] = \
                draw.choice(SCALARS)
        elif kind == 'add':
            inside.insert(key, inside[draw.randrange(len(inside))])
        elif kind == 'other':
            source, name = draw.choice(places)
            if isinstance(source, dict) and name in source and source is not inside[key]:
                inside[key] = json.loads(json.dumps(source[name]))
        elif kind == 'nudge' and isinstance(inside[key], (int, float)):
            inside[key] = draw.choice((inside[key] + 1, inside[key] - 1, inside[key] * 2, -inside[key],
                                       inside[key] / 2))
        elif kind == 'deep':
            inside[key] = json.loads('[' * 600 + ']' * 600)
        else:
            inside[key] = draw.choice(SCALARS)
    return value


def mutate_structure(name, contents, draw):
    """The contents of a JSON file, or of a safetensors file with its header changed; None for others."""
    try:
        if name.endswith('.safetensors'):
            size = struct.unpack('<Q', contents[:8])[0]
            header = mutate_json(json.loads(contents[8:8 + size]), draw)
            return safetensors(header, contents[8 + size:])
        return json.dumps(mutate_json(json.loads(contents), draw), ensure_ascii=draw.random() < 0.5).encode()
    except (ValueError, RecursionError):
        return None


EXTREMES = (b'\xff' * 8, b'\0' * 8, b'\xff' * 7 + b'\x7f', b'\0' * 7 + b'\x80', b'\xff\xff\xff\x7f', b'\xff' * 4,
            b'\0\0\xc0\x7f', b'\0\0\x80\x7f', b'\x80', b'\n', b'"', b'\\', b'{', b'[' * 3000, b'(' * 300)


def mutate_bytes(contents, others, draw):
    """(what, contents) with bits, runs of bytes or all of it changed. Most hit the beginning, where headers are."""
    contents = bytearray(contents)
    kind = draw.choice(('bits', 'bits', 'bits', 'cut', 'empty', 'extreme', 'extreme', 'extreme', 'insert',
                        'remove', 'repeat', 'other', 'head', 'garbage'))
    reach = min(len(contents), draw.choice((64, 512, 4096, len(contents)))) or 1
    at = draw.randrange(reach)
    if kind == 'bits' and contents:
        for _ in range(draw.choice((1, 1, 4, 32))):
            place = draw.randrange(8 * reach)
            contents[place // 8] ^= 1 << place % 8
    elif kind == 'cut':
        del contents[draw.choice((at, draw.randrange(len(contents) + 1))):]
    elif kind == 'empty':
        contents = bytearray()
    elif kind == 'extreme':
        value = draw.choice(EXTREMES)
        contents[at:at + len(value)] = value
    elif kind == 'insert':
        contents[at:at] = draw.choice((*EXTREMES, draw.randbytes(100)))
    elif kind == 'remove':
        del contents[at:at + draw.choice((1, 2, 8, 100))]
    elif kind == 'repeat':
        contents[at:at] = contents[at:at + draw.choice((1, 8, 100, 5000))] * draw.choice((1, 2, 50))
    elif kind == 'other':
        contents = bytearray(draw.choice(others))
    elif kind == 'head':
        other = draw.choice(others)
        contents[:at] = other[:at]
    else:
        contents[at:at + 64] = draw.randbytes(64)
    return kind, bytes(contents)


def mutate_file(folder, name, others, draw):
    """Spoils a file of the folder, or what stands in its place; says how."""
    path = os.path.join(folder, name)
    with open(path, 'rb') as file:
        contents = file.read()
    if draw.random() < 0.06:
        os.unlink(path)
        kind = draw.choice(('missing', 'folder', 'loop', 'fifo'))
        if kind == 'folder':
            os.mkdir(path)
        elif kind == 'loop':
            os.symlink(os.path.basename(path), path)
        elif kind == 'fifo':
            os.mkfifo(path)
        return kind
    changed = mutate_structure(name, contents, draw) if draw.random() < 0.6 else None
    kind = 'structure'
    if changed is None:
        kind, changed = mutate_bytes(contents, others, draw)
    with open(path, 'wb') as file:
        file.write(changed)
    return kind
