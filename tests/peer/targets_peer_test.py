"""llama.cpp's own quantizer does with an exported rules file what the plan meant, and takes the memory that a budget counted.

usage: targets_peer_test.py BITBUDGET MAKE_TINY_MODEL SOURCE_DIR [unittest arguments]
Needs BITBUDGET_LLAMA_CPP (the folder of the npm packages); says so and skips without.
"""
import ctypes
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy  # noqa: F401  of llama_cpp
except ImportError:
    print(f'SKIPPED: {sys.executable} has no numpy')
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llama_cpp  # noqa: E402

# llama.cpp has one attention scale for a Gemma.
FIELDS = {arch: ['--fields', '{"query_pre_attn_scalar": 64, "sliding_window": 500}'] for arch in ('gemma2', 'gemma3')}
BASE_TYPES = {'Q5_1': 9, 'Q4_1': 3, 'Q5_0': 8, 'Q4_0': 2, 'Q8_0': 7, 'IQ4_NL': 25, 'Q6_K': 18}
NAMES = {number: name for name, number in llama_cpp.TYPES.items()}
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def tensor_types(path):
    """{tensor: (type, shape)} of a GGUF file."""
    with open(path, 'rb') as file:
        def number(form):
            return struct.unpack('<' + form, file.read(struct.calcsize(form)))[0]

        def text():
            return file.read(number('Q')).decode(errors='replace')

        def skip(kind):
            if kind == 8:
                text()
            elif kind == 9:
                element, count = number('I'), number('Q')
                for _ in range(count):
                    skip(element)
            else:
                file.read(SIZES[kind])

        assert file.read(4) == b'GGUF' and number('I') == 3
        tensors, entries = number('q'), number('q')
        for _ in range(entries):
            text()
            skip(number('I'))
        result = {}
        for _ in range(tensors):
            name = text()
            shape = tuple(number('q') for _ in range(number('I')))
            result[name] = (NAMES[number('I')], shape)
            number('Q')
        return result


def run(*args):
    result = subprocess.run([str(a) for a in args], capture_output=True, encoding='utf-8', timeout=600, check=False)
    if result.returncode != 0:
        raise AssertionError(f'{args}: {result.returncode}: {result.stderr}')
    return result.stdout


class TargetsPeer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.peer = llama_cpp.LlamaCpp()
        llama_cpp.FILE_TYPES.update(BASE_TYPES)

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def model(self, arch, hidden, layers=12, kv_heads=2):
        folder = self.path('model')
        run(MAKE, '--arch', arch, '--out', folder, '--hidden', hidden, '--heads', 4, '--kv-heads', kv_heads, '--head-dim', 64,
            '--ffn', 2 * hidden, '--layers', layers, '--context', 256, '--dtype', 'f32',
            '--tokenizer', f'{SOURCE}/tools/demo/models/novel-1m', *FIELDS.get(arch, []))
        return folder

    def plan(self, model, name, *options):
        path = self.path(name)
        run(BITBUDGET, 'plan', model, '--target', 'llama.cpp', '--probes', 2, '--held-out-probes', 2, '--prefix', 3,
            '--completion', 3, '--no-run-dir', '--out', path, *options)
        return path

    def quantize(self, arch, hidden, *options):
        """Types that llama.cpp's quantizer gives by the exported rules, and those of the plan's own file."""
        model = self.model(arch, hidden)
        source, target, own = self.path('f16.gguf'), self.path('rules.gguf'), self.path('own.gguf')
        run(BITBUDGET, 'apply', model, '--out', source, '--plan',
            self.plan(model, 'f16.json', '--search', 'uniform', '--formats', 'f16', '--budget', '100%'))
        plan = self.plan(model, 'plan.json', *options)
        rules = self.path('rules.txt')
        command = run(BITBUDGET, 'export', plan, '--to', 'llama.cpp', '--out', rules).split('\n')[0]
        with open(rules, encoding='utf-8') as file:
            # As the program reads them.
            parsed = [(pattern.lower(), kind.lower())
                      for pattern, kind in (word.split('=', 1) for word in file.read().split())]
        self.peer.quantize(source, target, command.split()[-1], tensor_types=parsed)
        run(BITBUDGET, 'apply', model, '--out', own, '--plan', plan)
        with open(plan, encoding='utf-8') as file:
            kinds = {c['format'] for c in json.load(file)['components']}
        return tensor_types(target), tensor_types(own), kinds

    def check(self, arch, hidden, *options, mixed=3):
        by_rules, own, kinds = self.quantize(arch, hidden, *options)
        self.assertEqual(by_rules, own)
        self.assertGreaterEqual(len(kinds), mixed)  # a mixed plan, or nothing is shown

    def test_rules_of_mixed_plans(self):
        for arch in ('llama', 'qwen3', 'gemma2', 'phi3'):
            with self.subTest(arch):
                self.folder.cleanup()
                os.makedirs(self.folder.name)
                self.check(arch, 256, '--search', 'random', '--budget', '4.6bpw', mixed=2)

    def test_rows_that_have_no_whole_blocks(self):
        # Rows of 192 are whole blocks of 32 only, rows of 384 too.
        self.check('llama', 192, '--search', 'additive', '--budget', '5bpw')

    def test_types_with_and_without_a_rule_of_the_built_in_mix(self):
        # Plain llama-quantize would raise some of these (attn_v, ffn_down, output) whatever the base.
        self.check('llama', 256, '--search', 'uniform', '--formats', 'q4_k', '--budget', '90%', mixed=1)
        self.folder.cleanup()
        os.makedirs(self.folder.name)
        self.check('llama', 256, '--search', 'uniform', '--budget', '90%', '--pin', 'layers.1.*=q5_1', '--pin',
                   'layers.1[01].*q_proj=q2_k', '--pin', 'embed=bf16', mixed=4)

    def test_mixes_are_those_that_the_quantizer_makes(self):
        mixes = [name for name in llama_cpp.FILE_TYPES if re.fullmatch(r'q\d_k.*', name)]
        for arch, hidden, layers, kv_heads in (('llama', 256, 19, 1), ('llama', 192, 9, 2), ('gemma2', 256, 8, 2),
                                               ('phi3', 256, 9, 2)):
            with self.subTest(f'{arch} {hidden} {layers} {kv_heads}'):
                self.folder.cleanup()
                os.makedirs(self.folder.name)
                model, source, curve = self.model(arch, hidden, layers, kv_heads), self.path('f16.gguf'), self.path('curve.json')
                run(BITBUDGET, 'apply', model, '--out', source, '--plan',
                    self.plan(model, 'f16.json', '--search', 'uniform', '--formats', 'f16', '--budget', '100%'))
                compared = []
                for mix in mixes:
                    path = self.path(f'{mix.upper()}.gguf')
                    self.peer.quantize(source, path, mix)
                    compared += ['--compare', path]
                run(BITBUDGET, 'explore', model, '--target', 'llama.cpp', '--search', 'uniform', '--formats', 'q8_0', '--sizes',
                    '100%', '--encoder', 'rtn', '--probes', 2, '--held-out-probes', 2, '--prefix', 3, '--completion', 3,
                    '--no-run-dir', '--out', self.path('page.html'), '--json', curve, '--rivals', ','.join(mixes), *compared)
                with open(curve, encoding='utf-8') as file:
                    points = json.load(file)['points']
                by = {method: {p['label'].removesuffix('.gguf'): p for p in points if p['method'] == method}
                      for method in ('mix', 'file')}
                self.assertEqual(set(by['mix']), {mix.upper() for mix in mixes})
                for label, point in by['mix'].items():
                    self.assertEqual(point['plan'], by['file'][label]['plan'], label)
                    self.assertEqual(point['size_bytes'], by['file'][label]['size_bytes'], label)

    def buffers(self, model, context, kv):
        """(keys and values, compute) in bytes, as llama.cpp prints them."""
        lines = []
        log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda level, text, _: lines.append(text.decode(errors='replace')))
        self.peer.llama.llama_log_set(log, None)
        loaded = self.peer.load(model)
        params = self.peer.llama.llama_context_default_params()
        at = llama_cpp.LlamaCpp.CONTEXT
        for key, value in (('n_ctx', context), ('n_batch', 2048), ('n_ubatch', 512)):
            params.set(ctypes.c_uint32, at[key], value)
        for key, value in (('flash_attention', 1), ('type_k', llama_cpp.TYPES[kv]), ('type_v', llama_cpp.TYPES[kv])):
            params.set(ctypes.c_int32, at[key], value)
        params.set(ctypes.c_int8, at['swa_full'], 0)  # as the programs have it; the library's default is another
        running = ctypes.c_void_p(self.peer.llama.llama_init_from_model(loaded.model, params))
        self.peer.llama.llama_free(running)
        loaded.close()
        self.peer.llama.llama_log_set(self.peer.quiet, None)
        text = ''.join(lines)
        return tuple(sum(float(size) for size in re.findall(rf'{what} buffer size = +([0-9.]+) MiB', text)) * 2**20
                     for what in ('KV', 'compute'))

    def test_memory_is_what_a_budget_counts(self):
        for model, context, kv in (('novel-8m', 2048, 'f16'), ('novel-8m', 2048, 'q8_0'), ('novel-8m', 4096, 'f16'),
                                   ('novel-8m', 300, 'f16'), ('gemma3', 4096, 'f16')):
            with self.subTest(f'{model} {context} {kv}'):
                folder = f'{SOURCE}/tools/demo/models/{model}'
                if model == 'gemma3':  # layers with a sliding window
                    folder = self.model('gemma3', 256)
                plan = self.plan(folder, 'memory.json', '--search', 'uniform', '--formats', 'q8_0', '--budget', '1GB',
                                 '--context', context, '--kv', kv)
                gguf = self.path('memory.gguf')
                run(BITBUDGET, 'apply', folder, '--plan', plan, '--out', gguf)
                with open(plan, encoding='utf-8') as file:
                    budget = json.load(file)['budget']
                keys, compute = self.buffers(gguf, context, kv)
                print(f'{model} {context} {kv}: keys and values {int(budget["kv_cache_bytes"]) / 2**20:.2f} MiB, llama.cpp '
                      f'{keys / 2**20:.2f}; buffers {int(budget["compute_bytes"]) / 2**20:.2f}, {compute / 2**20:.2f}',
                      flush=True)
                # Printed to a hundredth of a MiB.
                self.assertLess(abs(int(budget['kv_cache_bytes']) - keys), 0.0051 * 2**20)
                # And 64 KiB for what a batch has of its own.
                self.assertLess(abs(int(budget['compute_bytes']) - compute), 0.02 * compute + 65536)


if __name__ == '__main__':
    if llama_cpp.folder() is None:
        print('SKIPPED: BITBUDGET_LLAMA_CPP does not name the node-llama-cpp packages; llama.cpp was NOT compared with')
        sys.exit(77)
    BITBUDGET, MAKE, SOURCE = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=1)
