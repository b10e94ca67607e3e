"""Model folders of generated weights, small enough that a command takes some hundredths of a second."""

import array
import json
import os
import random
import struct

DTYPES = {'F32': 'float32', 'BF16': 'bfloat16'}


class Shape:
    """The geometry of a Llama model."""

    def __init__(self, hidden=64, ffn=128, layers=2, heads=2, kv_heads=1, head_dim=32, vocab=300, tied=True,
                 dtype='BF16', seed=1):
        self.hidden, self.ffn, self.layers, self.vocab = hidden, ffn, layers, vocab
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.tied, self.dtype, self.seed = tied, dtype, seed

    def __str__(self):
        return ' '.join(f'{name}={value}' for name, value in vars(self).items())

    def config(self):
        return {'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'hidden_act': 'silu',
                'hidden_size': self.hidden, 'intermediate_size': self.ffn, 'num_hidden_layers': self.layers,
                'num_attention_heads': self.heads, 'num_key_value_heads': self.kv_heads,
                'head_dim': self.head_dim, 'max_position_embeddings': 128, 'rms_norm_eps': 1e-5,
                'rope_theta': 10000.0, 'rope_scaling': None, 'vocab_size': self.vocab, 'bos_token_id': 1,
                'eos_token_id': 2, 'tie_word_embeddings': self.tied, 'attention_bias': False,
                'mlp_bias': False, 'torch_dtype': DTYPES[self.dtype]}

    def tensors(self):
        """(name, shape)"""
        yield 'model.embed_tokens.weight', (self.vocab, self.hidden)
        for i in range(self.layers):
            layer = f'model.layers.{i}.'
            for name, outputs, inputs in (('q', self.heads * self.head_dim, self.hidden),
                                          ('k', self.kv_heads * self.head_dim, self.hidden),
                                          ('v', self.kv_heads * self.head_dim, self.hidden),
                                          ('o', self.hidden, self.heads * self.head_dim)):
                yield f'{layer}self_attn.{name}_proj.weight', (outputs, inputs)
            for name, outputs, inputs in (('gate', self.ffn, self.hidden), ('up', self.ffn, self.hidden),
                                          ('down', self.hidden, self.ffn)):
                yield f'{layer}mlp.{name}_proj.weight', (outputs, inputs)
            for name in ('input_layernorm', 'post_attention_layernorm'):
                yield f'{layer}{name}.weight', (self.hidden,)
        yield 'model.norm.weight', (self.hidden,)
        if not self.tied:
            yield 'lm_head.weight', (self.vocab, self.hidden)

    def weights(self):
        """model.safetensors"""
        draw = random.Random(self.seed)
        header, data = {}, b''
        for name, shape in self.tensors():
            if len(shape) == 1:
                values = [draw.gauss(1, 0.1) for _ in range(shape[0])]
            else:
                values = [draw.gauss(0, 1.5 * shape[1]**-0.5) for _ in range(shape[0] * shape[1])]
            contents = array.array('f', values).tobytes()
            if self.dtype == 'BF16':
                halves = bytearray(len(contents) // 2)
                halves[::2], halves[1::2] = contents[2::4], contents[3::4]
                contents = bytes(halves)
            header[name] = {'dtype': self.dtype, 'shape': shape,
                            'data_offsets': [len(data), len(data) + len(contents)]}
            data += contents
        return safetensors(header, data)


def safetensors(header, data):
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text + data


def tokenizer():
    """A byte-level tokenizer.json of 256 bytes, three special tokens before them and one pair."""
    whole = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in whole}
    for i, byte in enumerate(byte for byte in range(256) if byte not in letters):
        letters[byte] = chr(256 + i)
    special = ['<unk>', '<s>', '</s>']
    vocabulary = {name: i for i, name in enumerate(special)}
    vocabulary.update((letters[byte], len(special) + byte) for byte in range(256))
    vocabulary['th'] = len(vocabulary)
    return {'added_tokens': [{'id': i, 'content': name, 'single_word': False, 'lstrip': False,
                              'rstrip': False, 'normalized': False, 'special': True}
                             for i, name in enumerate(special)],
            'normalizer': None,
            'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': False, 'use_regex': True},
            'decoder': {'type': 'ByteLevel'},
            'model': {'type': 'BPE', 'vocab': vocabulary, 'merges': ['t h']}}


def write_model(folder, shape, with_tokenizer=True):
    os.mkdir(folder)
    with open(os.path.join(folder, 'config.json'), 'w', encoding='utf-8') as file:
        json.dump(shape.config(), file, indent=1)
    with open(os.path.join(folder, 'model.safetensors'), 'wb') as file:
        file.write(shape.weights())
    if with_tokenizer:
        with open(os.path.join(folder, 'tokenizer.json'), 'w', encoding='utf-8') as file:
            json.dump(tokenizer(), file)
