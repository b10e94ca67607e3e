"""Vocabularies and texts for comparing tokenizers.

The merges are trained on these very texts, which nothing has cut into words, and tokens are short: nearly every two neighbours
can be merged. So wherever two programs cut a text in different places, their ids differ.
"""
import collections

# A little of many scripts.
CORPUS = """
It was the best of the times, and the worst of the times; they said that it's what they'd have, and we'll see if you're right.
The old house stood at the end of the lane.  Nobody had lived there since 1987, when the last of the 1,234 books was sold.
"Don't," she said. "I'm sure they've gone; he'd know." The rain didn't stop. IT'S LATE, THEY'RE GONE, WE'LL WAIT, I'VE SEEN.
for (int i = 0; i < 10; ++i) {\n\tsum += values[i] * 3.14159;\n\t\tif (sum > 100) { return -1; }\n}\n\n\nprint("done");
def area(r):\n    return 3.14 * r ** 2\n\n        x = {'a': 1, "b": [2, 3, 4]}\r\n\r\n
Les \u00e9l\u00e8ves sont all\u00e9s \u00e0 l'\u00e9cole, d\u00e9j\u00e0 l'\u00e9t\u00e9. \u00dcber die Stra\u00dfe gr\u00fc\u00dfen.
\u041f\u0440\u0438\u0432\u0435\u0442, \u043a\u0430\u043a \u0434\u0435\u043b\u0430? \u041f\u0440\u0438\u0432\u0435\u0442 \u0432\u0441\u0435\u043c.
\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u3002\u4eca\u5929\u5f88\u597d\u3002\u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u3002\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4
\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e
12345 67890 2024-12-31 100% $9.99 #tag @name a+b=c x_y z/w ~`^|\\ <tag> &amp; ... !!! ???
"""

TEXTS = [
    "", " ", "  ", "a", " a", "  a", "a ", "a  ", "\n", "\n\n", " \n", "\n ", "\t", "\r\n", "\r\n\r\n", "\n\n\n\na", " \n \n ",
    "the", " the", "The end of the lane.", "It was the best of the times, and the worst of the times.",
    "don't I'm they've WE'LL it'S 'tis '' 'll 'LL 've 'VE 're'RE 'd'D 'm'M 't'T 's'S x'sy", "a'\u017fy'\u017f'\u017fy",
    "1 12 123 1234 12345 123456 1234567 3.14159 1,234 2024-12-31 x1y22z333 \u0661\u0662\u0663\u0664 \u00bd\u00b2\u2167 \u096b\u096c",
    "a    b     c\t\td \t e\u00a0f\u2003g\u3000h\u2028i\u0085j\u180ek\u200bl\u202fm\u205fn\u1680o",
    "line one\nline two\r\nline three\n\n\n  indented\n\tand tabbed   \n   \nend  ",
    "caf\u00e9 cafe\u0301 \u212bngstr\u00f6m \ufb01n n\u0303 \u1ee9ng d\u1ee5ng \u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u3002abc\u4eca\u5929123\u3053\u3093\u306b\u3061\u306f\u30ab\u30bf\u30ab\u30ca\uc548\ub155",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd\u2764\ufe0f x\U0001d400\U0001d7d8 \U00020000\U0001f9d1\u200d\U0001f680",
    "\u0645\u0631\u062d\u0628\u0627\u060c \u0628\u0627\u0644\u0639\u0627\u0644\u0645! \u05e9\u05dc\u05d5\u05dd \u200f\u05e2\u05d5\u05dc\u05dd\u200e (abc) \u0631\u0661\u0662",
    "!!! ??? ... ---- ==== <<>> $$$ +++ ^^^ ~~~ ||| ``` a!b?c.d,e;f:g \u2014\u2026\u201cquoted\u201d \u00abx\u00bb \u20ac5 \u00a39 5% #1 @me /path/to\\file",
    "HelloWorld helloWORLD XMLHttpRequest iPhone \u00c9COLE\u00e9cole \u0394\u03b4 \u01c5x",
    "def f(x):\n    return {'a': [1, 2], \"b\": x**2}\n\n\nclass A:\n\tpass\n",
    "a" * 300, " " * 100, "\n" * 50, "ab " * 80, "9" * 100, "!" * 100, "\u4eca" * 100, "the" * 60, "\u2581", "\u2581\u2581 a\u2581b", "a\u2581 b",
    "<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>user\nhi<|im_end|>", "a<|im_end|>b", "x <s> y</s>", "<|im_start", "<0x41>",
    "<tool>call</tool>", " <tool> a <tool>b", "a<tool>", "<tool><tool>", "<to<tool>ol>", "[PAD7]", "\ufffd", "\ufeffbom", "\u0000", "a\u0000b",
    "\u0378\ue000\uffff\U0010ffff\u0530",
]
# Bytes that are no UTF-8.
BROKEN = [b"\xff\xfe broken", b"a\x80b", b"\xe4\xbd", b"\xf0\x9f\x98", b"caf\xe9 au lait", b"\xc3(", b"\xe2\x82(", b"ok \xf8\x88\x80\x80\x80 x", b"\x80\x81\x82"]

# What llama.cpp cuts otherwise than the tokenizer.json of the models does: its expressions for these pre-tokenizers take
# combining marks (\p{M}) for no part of a word.
KNOWN_DIFFERENCES = {(pre, text.encode()) for pre in ("tekken", "gpt-4o") for text in TEXTS if "\u0301" in text}

# What tokenizer.json says and GGUF cannot: NFC, and the letters that fold to those of contractions. Broken text is no text
# to Hugging Face; by score, its bytes are kept.
FOLDER_DIFFERENCES = {"qwen2": [text.encode() for text in TEXTS if "\u212b" in text or "\u017f" in text],
                      "llama-bpe": [text.encode() for text in TEXTS if "\u017f" in text]}


def all_texts():
    return [text.encode() for text in TEXTS] + BROKEN


def byte_characters():
    """GPT-2's printable character of every byte."""
    visible = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    characters, extra = {}, 0x100
    for byte in range(256):
        if byte in visible:
            characters[byte] = chr(byte)
        else:
            characters[byte] = chr(extra)
            extra += 1
    return characters


def train(symbols, count, size):
    """Up to `count` merges of a list of strings by byte pair encoding, into strings of at most `size` bytes or characters, each
    of which is one character of a symbol; ties go to the smaller pair. [(left, right)]."""
    merges = []
    while len(merges) < count:
        pairs = collections.Counter(pair for pair in zip(symbols, symbols[1:]) if len(pair[0] + pair[1]) <= size)
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        joined, merged, i = best[0] + best[1], [], 0
        while i < len(symbols):
            if symbols[i] == best[0] and i + 1 < len(symbols) and symbols[i + 1] == best[1]:
                merged.append(joined)
                i += 2
            else:
                merged.append(symbols[i])
                i += 1
        symbols = merged
    return merges


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")


def tokenizer_json(vocabulary, merges, added, model, **parts):
    """The document that Hugging Face's tokenizers would write. added: [(id, text, special)]."""
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                              "normalized": False, "special": special} for i, text, special in added],
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "vocab": vocabulary, "merges": merges} | model} | parts


def byte_level_json(golden, pre):
    """tokenizer.json as GPT-2, Llama 3 and Qwen2 have it, from the vocabulary of byte_level()."""
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    whole = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pre == "gpt-2"}
    expressions = {"llama-bpe": LLAMA3, "qwen2": LLAMA3.replace("{1,3}", "")}
    pre_tokenizer = whole if pre == "gpt-2" else {
        "type": "Sequence", "pretokenizers": [split | {"pattern": {"Regex": expressions[pre]}}, whole]}
    vocabulary, added = {}, []
    for i, (text, kind) in enumerate(zip(golden["tokens"], golden["types"])):
        if kind == 1:
            vocabulary[text] = i
        else:
            added.append((i, text, kind == 3))
    merges = [merge.split(" ") for merge in golden["merges"]] if pre == "qwen2" else golden["merges"]
    return tokenizer_json(vocabulary, merges, added, {"ignore_merges": pre == "llama-bpe", "byte_fallback": False},
                          normalizer={"type": "NFC"} if pre == "qwen2" else None, pre_tokenizer=pre_tokenizer)


def by_score_json(golden, prefix):
    """tokenizer.json as it is made of SentencePiece models: every way to cut a token in two is a merge, best tokens first."""
    vocabulary = {text: i for i, text in enumerate(golden["tokens"]) if golden["types"][i] in (1, 2, 3, 6)}
    added = [(i, text, golden["types"][i] != 4) for i, text in enumerate(golden["tokens"]) if golden["types"][i] in (2, 3, 4)]
    normal = {text for i, text in enumerate(golden["tokens"]) if golden["types"][i] == 1}
    merges = []
    for text in sorted(normal, key=lambda text: -golden["scores"][vocabulary[text]]):
        merges += [[text[:i], text[i:]] for i in range(1, len(text)) if text[:i] in normal and text[i:] in normal]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    return tokenizer_json(vocabulary, merges, added, {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
                          normalizer={"type": "Sequence", "normalizers": [prepend, replace]} if prefix else replace)


def byte_level(count=2000):
    """tokens, types, merges of a byte-level vocabulary with control and user-defined tokens at its end."""
    characters = byte_characters()
    merges = train([characters[byte] for byte in (CORPUS + "".join(TEXTS)).encode()], count, 5)
    tokens = list(characters.values())
    for left, right in merges:
        if left + right not in tokens:
            tokens.append(left + right)
    types = [1] * len(tokens)
    # A token that no merges make: taken by the pre-tokenizers that ignore merges for whole pieces.
    tokens += ["\u0120best", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>", "<too"]
    types += [1, 3, 3, 3, 4, 4]
    keep = [i for i, token in enumerate(tokens) if tokens.index(token) == i]
    return [tokens[i] for i in keep], [types[i] for i in keep], merges


def by_score(count=1500):
    """tokens, types, scores of a SentencePiece-like vocabulary with byte fallback."""
    # Without some characters, which go by bytes then. llama.cpp reads tokens up to a zero byte.
    text = "".join(c for c in CORPUS + "".join(TEXTS) if c not in "\t\r\u00e9\u4eca~\0").replace(" ", "\u2581")
    merges = train(list(text), count, 4)
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [2, 3, 3] + [6] * 256
    scores = [0.0] * len(tokens)
    for rank, (left, right) in enumerate(merges):
        if left + right not in tokens:
            tokens.append(left + right)
            types.append(1)
            scores.append(-float(rank))
    for rank, character in enumerate(sorted(set(text))):
        tokens.append(character)
        types.append(1)
        scores.append(-float(len(merges) + rank))
    for special, kind in (("<|im_start|>", 3), ("<|im_end|>", 3), ("<tool>", 4), ("<too", 4)):
        tokens.append(special)
        types.append(kind)
        scores.append(-1000.0)
    return tokens, types, scores
