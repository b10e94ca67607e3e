"""With --activations llama.cpp bitbudget computes what llama.cpp computes of a plan's file.

usage: activations_test.py BITBUDGET FORMAT_TOOL SOURCE_DIR [unittest arguments]
Needs BITBUDGET_LLAMA_CPP (the folder of the npm packages); says so and skips without.

Inputs of products are rounded to the same bits as by ggml's own row functions, for every type of weights. The KL that is promised for a
plan is the one that llama.cpp measures of its file on the same windows of text.
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    print(f'SKIPPED: {sys.executable} has no numpy')
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / 'tools/peer')]
import llama_cpp  # noqa: E402

COLS = 512
ROWS = 2000
# ggml's block types of inputs: number, inputs, fields ahead of the codes and behind them.
Q8_0, Q8_1, Q8_K = 8, 9, 15
BLOCKS = {Q8_0: (32, [('scale', '<f2')], []), Q8_1: (32, [('scale', '<f2'), ('sum', '<f2')], []),
          Q8_K: (256, [('scale', '<f4')], [('sums', '<i2', 16)])}


def inputs():
    """Rows whose sizes differ by orders of magnitude, with ties, zeros and extremes of both signs."""
    random = np.random.default_rng(5)
    x = random.standard_normal((ROWS, COLS)) * np.exp(2 * random.standard_normal((ROWS, COLS // 32))).repeat(32, axis=1)
    x[:400] = np.round(x[:400] * 8) / 8
    x[0, :32] = np.arange(32) - 15.5
    x[0, 0] = 127
    x[1, 3], x[1, 7] = 50, -50
    x[2, :256] = 0
    x[3, :256] *= 1e-9
    return np.ascontiguousarray(x, np.float32)


class ActivationsPeer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.peer = llama_cpp.LlamaCpp()

    def rounded(self, name, x):
        done = subprocess.run([TOOL, 'round', name, str(COLS)], input=x.tobytes(), stdout=subprocess.PIPE, check=True)
        return done.stdout

    def test_every_type_rounds_inputs_to_the_bits_of_ggml(self):
        x = inputs()
        for name in llama_cpp.TYPES:
            peer = self.peer.input_rounder(name)
            if peer is None:
                print('SKIPPED: ggml\'s row functions are not reachable; the rounding of inputs was NOT compared with')
                self.skipTest('no row functions')
            kind, function = peer
            theirs, ours = function(x), self.rounded(name, x)
            with self.subTest(name, kind=kind):
                if kind not in BLOCKS:
                    values = np.frombuffer(theirs, {llama_cpp.F32: '<f4', llama_cpp.F16: '<f2', llama_cpp.BF16: '<u2'}[kind])
                    if kind == llama_cpp.BF16:
                        values = (values.astype(np.uint32) << 16).view(np.float32)
                    np.testing.assert_array_equal(np.frombuffer(ours, '<f4'), values.astype(np.float32))
                    continue
                run, before, behind = BLOCKS[kind]
                blocks = np.frombuffer(theirs, np.dtype(before + [('codes', 'i1', run)] + behind))
                runs = COLS // run
                got = np.frombuffer(ours, np.dtype([('codes', 'i1', COLS), ('scales', '<f4', runs), ('sums', '<f4', runs)]))
                np.testing.assert_array_equal(got['codes'].reshape(-1, run), blocks['codes'])
                np.testing.assert_array_equal(got['scales'].reshape(-1), blocks['scale'].astype(np.float32))
                if kind == Q8_1:
                    np.testing.assert_array_equal(got['sums'].reshape(-1), blocks['sum'].astype(np.float32))

    def test_a_plan_promises_what_llama_cpp_measures(self):
        import mixes
        import promises
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder) / 'text.txt'
            text.write_text(''.join(sorted_docs()), encoding='utf-8')
            runs = promises.Promises(self.peer, BITBUDGET, f'{SOURCE}/tools/demo/models/novel-1m', folder)
            plan, file = runs.plan(600000, text, '--probes', 4, '--held-out-probes', 4, '--prefix', 30, '--completion', 10)
            windows, said = runs.promised(plan, text, 24, 100, 'llama.cpp')
            _, int16 = runs.promised(plan, text, 24, 100, 'int16')
            reference = runs.run(runs.unmodified('f16'), windows)
            measured = mixes.compare(reference, runs.run(file, windows))
            np.testing.assert_array_equal(said[:, 0], measured[:, 0])
            promised, before = promises.ratio(said, measured)[0], promises.ratio(int16, measured)[0]
            print(f'KL in llama.cpp {measured[:, 1].sum() / measured[:, 0].sum():.5f}; promised {promised:.4f} of it, '
                  f'with int16 {before:.4f}', flush=True)
            self.assertLess(abs(promised - 1), 0.1)
            # Or the rounding that is promised with makes no difference here.
            self.assertGreater(abs(before - 1), 2 * abs(promised - 1))


def sorted_docs():
    """Text enough for windows of every role."""
    return [path.read_text(encoding='utf-8') for path in sorted(pathlib.Path(SOURCE, 'docs').glob('*.md'))[:12]]


if __name__ == '__main__':
    if llama_cpp.folder() is None:
        print('SKIPPED: BITBUDGET_LLAMA_CPP does not name the node-llama-cpp packages; llama.cpp was NOT compared with')
        sys.exit(77)
    BITBUDGET, TOOL, SOURCE = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=1)
