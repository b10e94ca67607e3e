"""Writes GGUF files that hold a vocabulary and nothing else: a second writer, independent of the project's own.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3.
"""
import struct

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def _string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def write(path, entries):
    """entries: [(key, type, value)]; an array's type is (ARRAY, element type)."""
    data = struct.pack("<IIQQ", 0x46554747, 3, 0, len(entries))
    for key, kind, value in entries:
        data += _string(key)
        if isinstance(kind, tuple):
            data += struct.pack("<IIQ", ARRAY, kind[1], len(value)) + b"".join(_value(kind[1], v) for v in value)
        else:
            data += struct.pack("<I", kind) + _value(kind, value)
    with open(path, "wb") as file:
        file.write(data + b"\0" * (-len(data) % 32))


def write_vocabulary(path, model, pre, tokens, types, scores=None, merges=None, ids=None, flags=None):
    """ids: {"bos": 1, ...}; flags: {"add_space_prefix": False, ...}."""
    entries = [("general.architecture", STRING, "llama"),
               ("tokenizer.ggml.model", STRING, model),
               ("tokenizer.ggml.pre", STRING, pre),
               ("tokenizer.ggml.tokens", (ARRAY, STRING), tokens),
               ("tokenizer.ggml.token_type", (ARRAY, I32), types)]
    if scores is not None:
        entries.append(("tokenizer.ggml.scores", (ARRAY, F32), scores))
    if merges is not None:
        entries.append(("tokenizer.ggml.merges", (ARRAY, STRING), merges))
    for name, value in (ids or {}).items():
        entries.append((f"tokenizer.ggml.{name}_token_id", U32, value))
    for name, value in (flags or {}).items():
        entries.append((f"tokenizer.ggml.{name}", BOOL, value))
    write(path, entries)
