"""llama.cpp itself, to compare with: the shared libraries of the npm package @node-llama-cpp/linux-x64 through ctypes.

The package that this was written for is node-llama-cpp 3.22.1 (llama.cpp 0.5.0). Where parameter structures are passed by
value, only the fields named here are touched, at the offsets that they have in that version; `check_layout` refuses a library
whose defaults do not stand where they are expected.
"""
import ctypes
import json
import os
import pathlib

import numpy as np

VERSION = "3.22.1"

F32, F16, BF16 = 0, 1, 30
TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_k": 10, "q3_k": 11, "q4_k": 12,
         "q5_k": 13, "q6_k": 14, "iq4_nl": 20, "iq4_xs": 23, "bf16": 30, "tq1_0": 34, "tq2_0": 35, "mxfp4": 39, "q1_0": 41,
         "q2_0": 42, "iq2_xxs": 16, "iq2_xs": 17, "iq3_xxs": 18, "iq1_s": 19, "iq3_s": 21, "iq2_s": 22, "iq1_m": 29}
FILE_TYPES = {"f16": 1, "q8_0": 7, "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13, "q4_k_s": 14, "q4_k_m": 15,
              "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18, "iq2_xxs": 19, "iq2_xs": 20, "iq3_xs": 22, "iq3_xxs": 23, "iq1_s": 24,
              "iq3_s": 26, "iq3_m": 27, "iq2_s": 28, "iq2_m": 29, "iq4_xs": 30, "iq1_m": 31, "bf16": 32}
# Those that llama.cpp makes with an importance matrix only.
NEED_IMATRIX = ("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "q2_k_s")


class Blob(ctypes.Structure):
    """A structure by value whose fields are reached by offset; larger than any that the library has."""
    _fields_ = [("words", ctypes.c_uint64 * 64)]

    def get(self, kind, offset):
        return kind.from_buffer(self, offset).value

    def set(self, kind, offset, value):
        kind.from_buffer(self, offset).value = value


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8)),
                ("rest", ctypes.c_uint64 * 8)]


class TensorOverride(ctypes.Structure):
    _fields_ = [("pattern", ctypes.c_char_p), ("type", ctypes.c_int)]


class ImatrixData(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.POINTER(ctypes.c_float)), ("size", ctypes.c_size_t)]


def folder():
    """The package's folder of libraries from BITBUDGET_LLAMA_CPP (an npm folder, or the libraries' own), or None."""
    given = os.environ.get("BITBUDGET_LLAMA_CPP", "")
    if not given:
        return None
    for path in (pathlib.Path(given), pathlib.Path(given) / "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"):
        if (path / "libggml-base.so").exists():
            return path.resolve()
    return None


class CpuTraits(ctypes.Structure):
    _fields_ = [("from_float", ctypes.c_void_p), ("vec_dot", ctypes.c_void_p), ("vec_dot_type", ctypes.c_int),
                ("nrows", ctypes.c_int64)]


class LlamaCpp:
    CONTEXT = {"n_ctx": 0, "n_batch": 4, "n_ubatch": 8, "threads": 28, "threads_batch": 32, "flash_attention": 52,
               "type_k": 104, "type_v": 108, "swa_full": 132}
    QUANTIZE = {"threads": 0, "file_type": 4, "output_type": 8, "embedding_type": 12, "allow_requantize": 16,
                "pure": 19, "imatrix": 24, "tensor_types": 40}
    VOCAB_ONLY = 72  # in the model's parameters

    def __init__(self, path=None):
        path = path or folder()
        self.path = path
        self.base = ctypes.CDLL(str(path / "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
        self.ggml = ctypes.CDLL(str(next(path.glob("libggml.*so"))), mode=ctypes.RTLD_GLOBAL)
        self.llama = ctypes.CDLL(str(next(path.glob("libllama.*so"))), mode=ctypes.RTLD_GLOBAL)
        lib = self.llama
        for name in ("llama_model_default_params", "llama_context_default_params", "llama_model_quantize_default_params"):
            getattr(lib, name).restype = Blob
        for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab", "llama_get_memory"):
            getattr(lib, name).restype = ctypes.c_void_p
        lib.llama_batch_init.restype = Batch
        lib.llama_get_logits.restype = ctypes.POINTER(ctypes.c_float)
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(self._log)
        self.messages = []
        lib.llama_log_set(self.quiet, None)
        self.ggml.ggml_backend_load_all_from_path(str(path).encode())
        lib.llama_backend_init()
        self.check_layout()

    def _log(self, level, text, _):
        if level >= 3:  # warnings and errors, for messages of failures
            self.messages.append(text.decode(errors="replace").strip())

    def check_layout(self):
        context = self.llama.llama_context_default_params()
        at = self.CONTEXT
        seen = [context.get(ctypes.c_uint32, at[k]) for k in ("n_ctx", "n_batch", "n_ubatch", "type_k", "type_v")]
        quantize = self.llama.llama_model_quantize_default_params()
        seen += [quantize.get(ctypes.c_uint32, self.QUANTIZE[k]) for k in ("output_type", "embedding_type")]
        if seen != [512, 2048, 512, F16, F16, 43, 43]:
            raise RuntimeError(f"{self.path}: not the llama.cpp of node-llama-cpp {VERSION}: {seen}")

    # --- single blocks

    def dequantize(self, name, data, count):
        """`count` values from the bytes of a type, by ggml's own row function."""
        symbol = {"q2_k": "q2_K", "q3_k": "q3_K", "q4_k": "q4_K", "q5_k": "q5_K", "q6_k": "q6_K"}.get(name, name)
        out = np.empty(count, np.float32)
        source = np.frombuffer(data, np.uint8)
        getattr(self.base, "dequantize_row_" + symbol)(
            ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(count))
        return out

    def quantize_rows(self, name, weights, moments=None):
        """The bytes that ggml gives a float matrix [rows, cols], with an importance matrix of [cols] or without."""
        weights = np.ascontiguousarray(weights, np.float32)
        rows, cols = weights.shape
        self.base.ggml_row_size.restype = ctypes.c_size_t
        out = np.zeros(rows * self.base.ggml_row_size(TYPES[name], ctypes.c_int64(cols)), np.uint8)
        importance = None
        if moments is not None:
            moments = np.ascontiguousarray(moments, np.float32)
            importance = ctypes.c_void_p(moments.ctypes.data)
        self.base.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.base.ggml_quantize_init(TYPES[name])
        self.base.ggml_quantize_chunk(TYPES[name], ctypes.c_void_p(weights.ctypes.data), ctypes.c_void_p(out.ctypes.data),
                                      ctypes.c_int64(0), ctypes.c_int64(rows), ctypes.c_int64(cols), importance)
        return out.tobytes()

    def input_rounder(self, name):
        """What the CPU products with weights of a type do to their inputs: (the type that inputs are rounded to, the function from
        floats to its bytes), of the very library that llama.cpp runs on here; None if that is not reachable."""
        with open("/proc/self/maps", encoding="utf-8") as maps:
            loaded = sorted({line.split()[-1] for line in maps if "libggml-cpu" in line})
        if len(loaded) != 1:
            return None
        library = ctypes.CDLL(loaded[0])
        if not hasattr(library, "ggml_get_type_traits_cpu"):
            return None
        traits = library.ggml_get_type_traits_cpu
        traits.restype = ctypes.POINTER(CpuTraits)
        kind = traits(TYPES[name]).contents.vec_dot_type
        from_float = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
        size = self.base.ggml_row_size
        size.restype = ctypes.c_size_t

        def rounded(inputs):
            if kind == F32:
                return inputs.tobytes()
            out = np.zeros(size(kind, ctypes.c_int64(inputs.size)), np.uint8)
            from_float(traits(kind).contents.from_float)(inputs.ctypes.data, out.ctypes.data, inputs.size)
            return out.tobytes()

        return kind, rounded

    # --- whole files

    def quantize(self, source, target, file_type, tensor_types=None, imatrix=None, pure=False, threads=2):
        """What llama-quantize does. tensor_types: [(pattern, type name)]; imatrix: {tensor name: moments}."""
        params = self.llama.llama_model_quantize_default_params()
        at = self.QUANTIZE
        params.set(ctypes.c_int32, at["threads"], threads)
        params.set(ctypes.c_int32, at["file_type"], FILE_TYPES[file_type])
        params.set(ctypes.c_int8, at["allow_requantize"], 1)
        params.set(ctypes.c_int8, at["pure"], int(pure))
        keep = []
        if tensor_types:
            rules = (TensorOverride * (len(tensor_types) + 1))()
            for rule, (pattern, kind) in zip(rules, tensor_types):
                rule.pattern, rule.type = pattern.encode(), TYPES[kind]
            rules[len(tensor_types)].type = 43
            keep.append(rules)
            params.set(ctypes.c_uint64, at["tensor_types"], ctypes.addressof(rules))
        if imatrix:
            data = (ImatrixData * (len(imatrix) + 1))()
            for entry, (name, moments) in zip(data, imatrix.items()):
                moments = np.ascontiguousarray(moments, np.float32)
                keep.append(moments)
                entry.name, entry.size = name.encode(), moments.size
                entry.data = moments.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            keep.append(data)
            params.set(ctypes.c_uint64, at["imatrix"], ctypes.addressof(data))
        status = self.llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
        if status != 0:
            raise RuntimeError(f"llama_model_quantize: {status}: {self.messages[-3:]}")

    def load(self, path, vocab_only=False):
        return Model(self, path, vocab_only)


class Model:
    def __init__(self, peer, path, vocab_only=False):
        self.peer, self.lib = peer, peer.llama
        params = self.lib.llama_model_default_params()
        if vocab_only:
            params.set(ctypes.c_int8, peer.VOCAB_ONLY, 1)
        peer.messages.clear()
        self.model = ctypes.c_void_p(self.lib.llama_model_load_from_file(str(path).encode(), params))
        if not self.model:
            raise RuntimeError(f"{path}: llama.cpp does not load it: {peer.messages[-3:]}")
        self.vocab = ctypes.c_void_p(self.lib.llama_model_get_vocab(self.model))
        self.vocab_size = self.lib.llama_vocab_n_tokens(self.vocab)

    def close(self):
        if self.model:
            self.lib.llama_model_free(self.model)
            self.model = None

    def tokenize(self, text, special=False, parse_special=False):
        data = text.encode() if isinstance(text, str) else text
        size = 2 * len(data) + 16
        out = (ctypes.c_int32 * size)()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), out, size, ctypes.c_bool(special),
                                        ctypes.c_bool(parse_special))
        if count < 0:
            raise RuntimeError(f"llama_tokenize needs {-count} tokens")
        return list(out[:count])

    def logits(self, sequences, kv="f16", flash=False, threads=2):
        """Yields logits [len(sequence), vocabulary] for every sequence."""
        longest = max(len(s) for s in sequences)
        params = self.lib.llama_context_default_params()
        at = LlamaCpp.CONTEXT
        for key in ("n_ctx", "n_batch", "n_ubatch"):
            params.set(ctypes.c_uint32, at[key], longest + 8)
        params.set(ctypes.c_int32, at["threads"], threads)
        params.set(ctypes.c_int32, at["threads_batch"], threads)
        params.set(ctypes.c_int32, at["flash_attention"], int(flash))
        params.set(ctypes.c_int32, at["type_k"], TYPES[kv])
        params.set(ctypes.c_int32, at["type_v"], TYPES[kv])
        context = ctypes.c_void_p(self.lib.llama_init_from_model(self.model, params))
        if not context:
            raise RuntimeError(f"llama.cpp makes no context: {self.peer.messages[-3:]}")
        batch = self.lib.llama_batch_init(longest, 0, 1)
        try:
            memory = ctypes.c_void_p(self.lib.llama_get_memory(context))
            for tokens in sequences:
                self.lib.llama_memory_clear(memory, ctypes.c_bool(True))
                batch.n_tokens = len(tokens)
                for i, token in enumerate(tokens):
                    batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
                    batch.seq_id[i][0] = 0
                status = self.lib.llama_decode(context, batch)
                if status != 0:
                    raise RuntimeError(f"llama_decode: {status}")
                got = self.lib.llama_get_logits(context)
                yield np.ctypeslib.as_array(got, (len(tokens), self.vocab_size)).copy()
        finally:
            self.lib.llama_batch_free(batch)
            self.lib.llama_free(context)


def mean_nll(logits, tokens):
    """Mean negative log likelihood in nats of tokens[1:] under logits of the positions before them."""
    rows = logits[: len(tokens) - 1].astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(rows).sum(axis=1))
    return float(np.mean(log_sum - rows[np.arange(len(tokens) - 1), tokens[1:]]))
