#!/usr/bin/env python3
"""Token ids of many texts: ours, those stored in tokenizer_golden.json, and llama.cpp's where it is installed.

    tokenizer_test.py TOKENIZER_TOOL SOURCE_DIR [--update]

llama.cpp is looked for in the npm folder that BITBUDGET_LLAMA_CPP names (tests/peer/llama_cpp.py); --update stores its ids.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf_vocab
import tokenizer_fixtures as fixtures

TOOL, SOURCE = map(pathlib.Path, sys.argv[1:3])
GOLDEN = SOURCE / "tests/model/tokenizer_golden.json"
UPDATE = "--update" in sys.argv

# One of each that means something else.
BYTE_LEVEL = ["default", "gpt-2", "llama-bpe", "smaug-bpe", "qwen2", "qwen35", "tekken", "gpt-4o", "smollm", "deepseek-v3", "falcon"]


def write_byte_level(path, pre, vocabulary):
    tokens, types, merges = vocabulary["tokens"], vocabulary["types"], vocabulary["merges"]
    end = tokens.index("<|endoftext|>")
    gguf_vocab.write_vocabulary(path, "gpt2", pre, tokens, types, merges=merges, ids={"bos": end, "eos": end})


def write_by_score(path, prefix, vocabulary):
    gguf_vocab.write_vocabulary(path, "llama", "default", vocabulary["tokens"], vocabulary["types"],
                                scores=vocabulary["scores"], ids={"bos": 1, "eos": 2, "unknown": 0},
                                flags={"add_space_prefix": prefix})


def runs(folder, golden):
    """(name, GGUF file) of every comparison."""
    for pre in BYTE_LEVEL:
        path = folder / f"{pre}.gguf"
        write_byte_level(path, pre, golden["byte_level"])
        yield pre, path
    for prefix in (True, False):
        path = folder / f"score-{prefix}.gguf"
        write_by_score(path, prefix, golden["by_score"])
        yield f"llama, add_space_prefix {prefix}".lower(), path
    path = folder / "novel.gguf"
    subprocess.run([TOOL, "write", SOURCE / "tools/demo/models/novel-1m", path], check=True)
    yield "novel-1m", path


def tokenize(model, texts):
    """[ids of every text, the same with special tokens]."""
    lines = [mark + text.hex() for mark in ("", "*") for text in texts]
    result = subprocess.run([TOOL, "encode", model], input="\n".join(lines) + "\n", check=True, capture_output=True, text=True)
    ids = [list(map(int, line.split())) for line in result.stdout.split("\n")[:-1]]
    return ids[:len(texts)], ids[len(texts):]


def peer_or_none():
    try:
        import llama_cpp
    except ImportError as error:
        print(f"SKIPPED: llama.cpp: {error}")
        return None
    if llama_cpp.folder() is None:
        print("SKIPPED: llama.cpp: BITBUDGET_LLAMA_CPP names no folder that has it")
        return None
    return llama_cpp.LlamaCpp()


def check(name, text, special, ours, others, should_differ=False):
    """Compares `ours` with {who: ids}; the number of surprises."""
    surprises = 0
    for who, ids in others.items():
        if (ids != ours) != should_differ:
            surprises += 1
            print(f"{name}, special {special}: {text!r}{': should differ' if should_differ else ''}\n"
                  f"  bitbudget {ours}\n  {who} {ids}")
    return surprises


def stored(golden, name, special, i):
    plain, with_special = golden["runs"][name]
    return with_special.get(str(i), plain[i]) if special else plain[i]


def compare_files(golden, peer, texts, folder):
    """GGUF files: ours, the stored ids and llama.cpp's. (comparisons, surprises)."""
    compared = surprises = 0
    for name, path in runs(folder, golden):
        model = peer.load(path, vocab_only=True) if peer else None
        if UPDATE:
            plain, special = ([model.tokenize(text, parse_special=parse) for text in texts] for parse in (False, True))
            # With special tokens only what differs.
            golden["runs"][name] = [plain, {str(i): ids for i, ids in enumerate(special) if ids != plain[i]}]
        ours = tokenize(path, texts)
        for special in (False, True):
            for i, text in enumerate(texts):
                others = {"stored": stored(golden, name, special, i)}
                if model:
                    others["llama.cpp"] = model.tokenize(text, parse_special=special)
                surprises += check(name, text, special, ours[special][i], others,
                                   (name, text) in fixtures.KNOWN_DIFFERENCES)
                compared += len(others)
        if model:
            model.close()
    return compared, surprises


def compare_folders(golden, peer, texts, folder):
    """Folders with a tokenizer.json: the same ids as the GGUF files of the same vocabulary, and so has the GGUF file that
    is made of them, here and in llama.cpp. (comparisons, surprises)."""
    documents = {pre: fixtures.byte_level_json(golden["byte_level"], pre) for pre in ("gpt-2", "llama-bpe", "qwen2")}
    for prefix in (True, False):
        documents[f"llama, add_space_prefix {prefix}".lower()] = fixtures.by_score_json(golden["by_score"], prefix)
    compared = surprises = 0
    for number, (name, document) in enumerate(documents.items()):
        model_folder, written = folder / f"folder{number}", folder / f"written{number}.gguf"
        model_folder.mkdir()
        (model_folder / "tokenizer.json").write_text(json.dumps(document))
        subprocess.run([TOOL, "write", model_folder, written], check=True)
        model = peer.load(written, vocab_only=True) if peer else None
        by_score = name.startswith("llama,")
        of_folder, of_written = tokenize(model_folder, texts), tokenize(written, texts)
        for special in (False, True):
            for i, text in enumerate(texts):
                expected = {"stored": stored(golden, name, special, i)}
                if not (by_score and text in fixtures.BROKEN):
                    surprises += check(f"folder, {name}", text, special, of_folder[special][i],
                                       expected, text in fixtures.FOLDER_DIFFERENCES.get(name, []))
                if model:
                    expected["llama.cpp"] = model.tokenize(text, parse_special=special)
                surprises += check(f"written, {name}", text, special, of_written[special][i], expected)
                compared += 1 + len(expected)
        if model:
            model.close()
    return compared, surprises


def main():
    texts = fixtures.all_texts()
    if UPDATE:
        tokens, types, merges = fixtures.byte_level()
        golden = {"byte_level": {"tokens": tokens, "types": types, "merges": [" ".join(m) for m in merges]}}
        tokens, types, scores = fixtures.by_score()
        golden["by_score"] = {"tokens": tokens, "types": types, "scores": scores}
        golden["texts"] = [text.hex() for text in texts]
        golden["runs"] = {}
    else:
        golden = json.loads(GOLDEN.read_text())
        if golden["texts"] != [text.hex() for text in texts]:
            sys.exit(f"{GOLDEN} is of other texts: run with --update")
    peer = peer_or_none()
    if UPDATE and peer is None:
        sys.exit("--update needs llama.cpp")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        counts = [compare(golden, peer, texts, folder) for compare in (compare_files, compare_folders)]
    compared, surprises = map(sum, zip(*counts))
    if UPDATE:
        GOLDEN.write_text(json.dumps(golden, separators=(",", ":")).replace("],[", "],\n[") + "\n")
    print(f"{compared} comparisons, {surprises} not as expected")
    sys.exit(1 if surprises else 0)


if __name__ == "__main__":
    main()
