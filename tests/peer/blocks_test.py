"""Block formats mean here what they mean in ggml: the same bytes decode to the same bits.

usage: blocks_test.py FORMAT_TOOL [--golden]
Needs BITBUDGET_LLAMA_CPP (the folder of the npm packages); says so and skips without. --golden prints the table of
tests/tensor/block_goldens.inc.
"""
import os
import subprocess
import sys

try:
    import numpy as np
except ImportError:
    print(f"SKIPPED: {sys.executable} has no numpy")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llama_cpp  # noqa: E402

# Inputs and bytes per block, and where the f16 scales (or the one E8M0 byte) stand.
BLOCKS = {
    "q4_0": (32, 18, [0]), "q4_1": (32, 20, [0, 2]), "q5_0": (32, 22, [0]), "q5_1": (32, 24, [0, 2]), "q8_0": (32, 34, [0]),
    "q2_k": (256, 84, [80, 82]), "q3_k": (256, 110, [108]), "q4_k": (256, 144, [0, 2]), "q5_k": (256, 176, [0, 2]),
    "q6_k": (256, 210, [208]), "iq4_nl": (32, 18, [0]), "iq4_xs": (256, 136, [0]), "tq1_0": (256, 54, [52]),
    "tq2_0": (256, 66, [64]), "q1_0": (128, 18, [0]), "q2_0": (64, 18, [0]), "mxfp4": (32, 17, []),
    "iq1_s": (256, 50, [0]), "iq1_m": (256, 56, []), "iq2_xxs": (256, 66, [0]), "iq2_xs": (256, 74, [0]),
    "iq2_s": (256, 82, [0]), "iq3_xxs": (256, 98, [0]), "iq3_s": (256, 110, [0]),
}
RANDOM_BLOCKS = 20000


def random_blocks(name, count, random):
    """Every bit at random; f16 scales of both signs, subnormal ones too, but finite."""
    _, size, halves = BLOCKS[name]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in halves:
        scales = random.integers(0, 1 << 16, count, dtype=np.uint16)
        scales[(scales & 0x7c00) == 0x7c00] &= 0xbfff
        scales[::16] &= 0x83ff  # subnormal
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(count, 2)
    return blocks


def decode(tool, name, blocks):
    block, _, _ = BLOCKS[name]
    run = subprocess.run([tool, "decode", name, str(block)], input=blocks.tobytes(), stdout=subprocess.PIPE, check=True)
    return np.frombuffer(run.stdout, np.float32).reshape(len(blocks), block)


def literal(text):
    return "\n".join(' "%s"' % text[i:i + 96] for i in range(0, len(text), 96))


def golden_table(library):
    """Blocks of every type and the values that ggml decodes, as initialisers."""
    random = np.random.default_rng(2026)
    for name, (block, _, _) in BLOCKS.items():
        for data in random_blocks(name, 2, random):
            if name == "mxfp4":
                data[0] = 120 + data[0] % 8
            values = library.dequantize(name, data.tobytes(), block).view(np.uint32)
            print('{"%s",\n%s,\n%s},' % (name, literal(data.tobytes().hex()), literal("".join("%08x" % v for v in values))))


def main():
    tool = sys.argv[1]
    if llama_cpp.folder() is None:
        print("SKIPPED: BITBUDGET_LLAMA_CPP does not name a folder with llama.cpp's libraries")
        return 77
    library = llama_cpp.LlamaCpp()
    if "--golden" in sys.argv:
        golden_table(library)
        return 0
    random = np.random.default_rng(1)
    failures = 0
    for name, (block, _, _) in BLOCKS.items():
        blocks = random_blocks(name, RANDOM_BLOCKS, random)
        if name == "mxfp4":
            blocks[:256, 0] = np.arange(256)  # every exponent
        ours = decode(tool, name, blocks)
        theirs = library.dequantize(name, blocks.tobytes(), RANDOM_BLOCKS * block).reshape(ours.shape)
        same = (ours.view(np.uint32) == theirs.view(np.uint32)) | (np.isnan(ours) & np.isnan(theirs))
        print(f"{name}: {RANDOM_BLOCKS} blocks, {np.count_nonzero(~same)} values differ")
        failures += not same.all()
        for at, i in np.argwhere(~same)[:3]:
            print(f"  block {blocks[at].tobytes().hex()} input {i}: {ours[at, i]!r}, ggml {theirs[at, i]!r}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
