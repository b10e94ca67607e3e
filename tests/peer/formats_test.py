"""Files of every format that GGUF has here compute in llama.cpp what they compute here.

usage: formats_test.py BITBUDGET MAKE_TINY_MODEL SOURCE_DIR [unittest arguments]
Needs BITBUDGET_LLAMA_CPP (the folder of the npm packages); says so and skips without.

`bitbudget apply` writes a file from a checkpoint, llama.cpp loads it. It must give the same token ids for a text, the same
argmax wherever its margin is beyond what rounded activations can move, and the same mean negative log likelihood. The file must
also read back here as the model that was planned. (architectures_test.py: every architecture.)
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    print(f'SKIPPED: {sys.executable} has no numpy')
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llama_cpp  # noqa: E402

FORMATS = ['f32', 'bf16', 'f16', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl',
           'iq4_xs', 'tq1_0', 'tq2_0', 'q1_0', 'q2_0', 'mxfp4',
           'iq1_s', 'iq1_m', 'iq2_xxs', 'iq2_xs', 'iq2_s', 'iq3_xxs', 'iq3_s']
FLOATS = ('f32', 'bf16', 'f16')
# Relative to the negative log likelihood.
NLL_FLOAT = 0.001
NLL_QUANTIZED = 0.005
ALONE = (1, 100, 500, 900)  # tokens
TEXT = ('It was the best of times, it was the worst of times; the year 1775 - "a prodigy", said Mr. Lorry.\n\n'
        'Naïve café owners don\'t   mind:\ttabs, spaces & 3.14159!')


def run(*args):
    """The command's standard output."""
    result = subprocess.run([str(a) for a in args], capture_output=True, encoding='utf-8', timeout=600)
    if result.returncode != 0:
        raise AssertionError(f'{args}: {result.returncode}: {result.stderr}')
    return result.stdout


class FormatsPeer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.peer = llama_cpp.LlamaCpp()
        cls.folder = tempfile.TemporaryDirectory()
        cls.text = cls.path('text.txt')
        with open(cls.text, 'w', encoding='utf-8') as f:
            f.write(TEXT)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def tiny(cls):
        """A random checkpoint whose rows fit every block format, with the tokenizer of the bundled model."""
        folder = cls.path('model')
        if not os.path.exists(folder):
            # Weights of such a size that logits are far from flat.
            run(MAKE, '--arch', 'llama', '--out', folder, '--hidden', 256, '--heads', 4, '--kv-heads', 2, '--ffn', 512,
                '--layers', 3, '--context', 256, '--scale', 2, '--dtype', 'f32', '--tokenizer',
                f'{SOURCE}/tools/demo/models/novel-1m')
        return folder

    def apply(self, model, form):
        """A file with every component in one format."""
        plan, out = self.path('plan.pb'), self.path('model.gguf')
        run(BITBUDGET, 'plan', model, '--search', 'uniform', '--formats', form, '--budget', '200%', '--target', 'llama.cpp',
            '--probes', 2, '--held-out-probes', 2, '--prefix', 3, '--completion', 3, '--no-run-dir', '--out', plan)
        run(BITBUDGET, 'apply', model, '--plan', plan, '--out', out)
        return plan, out

    def logits(self, model, tokens, *options):
        out = self.path('logits.npy')
        run(BITBUDGET, 'logits', model, '--tokens', ','.join(map(str, tokens)), '--out', out, *options)
        return np.load(out)

    def compare(self, model, form):
        plan, out = self.apply(model, form)
        peer = self.peer.load(out)
        try:
            text = json.loads(run(BITBUDGET, 'tokenize', model, '--file', self.text, '--json'))['tokens']
            self.assertEqual(text, peer.tokenize(TEXT))
            self.assertEqual(text, json.loads(run(BITBUDGET, 'tokenize', out, '--file', self.text, '--json'))['tokens'])
            tokens = ([1] + text)[:96]
            theirs = next(peer.logits([tokens], kv='f32'))
            alone = list(peer.logits([[token] for token in ALONE], kv='f32'))
        finally:
            peer.close()
        exact = self.logits(model, tokens, '--plan', plan, '--activations', 'f32')
        rounded = self.logits(model, tokens, '--plan', plan, '--activations', 'int8')
        same = self.logits(model, tokens, '--plan', plan, '--activations', 'llama.cpp')
        again = self.logits(out, tokens, '--activations', 'f32')
        np.testing.assert_array_equal(exact, again)  # what was written is what was planned

        spread = exact.std()
        self.assertGreater(spread, 0.5)  # flat logits would prove nothing
        ours, nll = llama_cpp.mean_nll(exact, tokens), llama_cpp.mean_nll(theirs, tokens)
        limit = NLL_FLOAT if form in FLOATS else NLL_QUANTIZED
        difference = np.sqrt(np.mean((theirs - exact)**2)) / spread
        noise = np.sqrt(np.mean((rounded - exact)**2)) / spread
        left = np.sqrt(np.mean((theirs - same)**2)) / spread
        moved = np.argmax(theirs, 1) != np.argmax(exact, 1)
        top = np.sort(exact, 1)[:, -2:]
        margin = (top[:, 1] - top[:, 0]) / spread
        beyond = float(margin[moved].max()) if moved.any() else 0.0
        print(f'{form:7} nll {ours:.5f} {nll:.5f} ({abs(nll / ours - 1):.5%})  rms {difference:.5f} '
              f'int8 {noise:.5f} left {left:.5f}  argmax {np.mean(~moved):.3f}, moved at margins to {beyond:.4f}', flush=True)
        self.assertLess(abs(nll / ours - 1), limit)
        # llama.cpp rounds activations to 8 bits ahead of quantized weights, and to the weights' type ahead of 16-bit ones: f16
        # has 11 bits, bf16 has 8. Ours to 8 bits move the logits as far.
        self.assertLess(difference, {'f32': 1e-4, 'f16': 0.005, 'bf16': 0.04}.get(form, 2 * noise))
        self.assertLess(beyond, 8 * difference)
        # With inputs rounded as llama.cpp rounds them the bits are almost those of llama.cpp, until some input lies so near a tie that
        # another order of float sums puts it on the other side, which moves all that follows by some rounding errors. On some CPUs
        # llama.cpp does not round ahead of f16.
        if form != 'f16' or difference >= 1e-5:
            self.assertLess(left, 1e-5 if form == 'f32' else difference)
        if form not in FLOATS:
            self.assertLess(min(self.apart(model, plan, token, row) for token, row in zip(ALONE, alone)), 1e-5 * spread)

    def apart(self, model, plan, token, theirs):
        """The largest difference of the logits behind a single token."""
        return np.abs(self.logits(model, [token], '--plan', plan, '--activations', 'llama.cpp') - theirs).max()


for block in FORMATS:
    setattr(FormatsPeer, f'test_{block}', lambda self, form=block: self.compare(self.tiny(), form))

if __name__ == '__main__':
    if llama_cpp.folder() is None:
        print('SKIPPED: BITBUDGET_LLAMA_CPP does not name the node-llama-cpp packages; llama.cpp was NOT compared with')
        sys.exit(77)
    BITBUDGET, MAKE, SOURCE = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=1)
