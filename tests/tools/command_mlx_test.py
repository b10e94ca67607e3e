"""apply --weights mlx: folders that MLX-LM loads. Arguments as command_case.py."""

import json
import os

import numpy

import command_case
from command_case import PLAN_PROBES, CommandTest, read_bytes
from mlx_folder import MlxFolder, floats, read_safetensors

FORMATS = [f'affine{bits}-g{group}' for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
MATRICES = ['embed_tokens'] + [f'layers.{layer}.{name}_proj' for layer in range(4)
                               for name in ('self_attn.q', 'self_attn.k', 'self_attn.v', 'self_attn.o',
                                            'mlp.gate', 'mlp.up', 'mlp.down')]


class MlxTest(CommandTest):
    def mlx_plan(self, *args, budget='20bpw', model=None):
        path = self.file('plan.json')
        self.succeed('plan', model or self.model, '--budget', budget, '--target', 'mlx', '--out', path,
                     '--search', 'uniform', '--no-run-dir', *PLAN_PROBES, *args)
        with open(path, encoding='utf-8') as file:
            return path, json.load(file)

    def pinned_plan(self, formats, model=None):
        pins = []
        for name, chosen in zip(MATRICES, formats):
            pins += ['--pin', f'^model.{name}$={chosen}']
        return self.mlx_plan(*pins, model=model)

    def folders(self, plan, *args, model=None):
        """As MLX-LM reads the folder, and the decoded weights of the same plan."""
        packed, decoded = self.file('packed'), self.file('decoded')
        self.succeed('apply', model or self.model, '--plan', plan, '-o', packed, '--weights', 'mlx', *args)
        self.succeed('apply', model or self.model, '--plan', plan, '-o', decoded, '--dtype', 'f32')
        self.assertEqual(sorted(os.listdir(packed)), sorted(os.listdir(decoded)))
        for name in os.listdir(packed):
            if name not in ('config.json', 'model.safetensors'):
                self.assertEqual(read_bytes(os.path.join(packed, name)), read_bytes(os.path.join(decoded, name)))
        return MlxFolder(packed), read_safetensors(os.path.join(decoded, 'model.safetensors'))

    def assert_same_weights(self, mlx, decoded, plan):
        for component in plan['components']:
            name = component['name']
            numpy.testing.assert_array_equal(mlx.weight(name).view('<u4'),
                                             floats(decoded[name + '.weight']).view('<u4'), name)
            self.assertEqual(mlx.bytes_of(name), int(component['size_bytes']), name)
            self.assertEqual(mlx.scheme(name) is None, component['format'] == 'bf16', name)
        for name in sorted(mlx.unread):
            self.assertEqual(mlx.tensors[name][0], decoded[name][0], name)
            numpy.testing.assert_array_equal(mlx.tensors[name][1], decoded[name][1], name)
        self.assertTrue(all(name.endswith('norm.weight') for name in mlx.unread), mlx.unread)
        self.assertEqual(mlx.config['quantization'], mlx.config['quantization_config'])

    def test_every_format_of_mlx_is_read_back_bit_for_bit(self):
        # Beside what stays; a second time on matrices of another shape.
        for formats in (FORMATS + ['mxfp4', 'bf16'] + FORMATS[:9], FORMATS[9:] + ['bf16', 'mxfp4'] + FORMATS):
            path, plan = self.pinned_plan(formats)
            self.assertEqual([c['format'] for c in plan['components']], formats[:29])
            self.assert_same_weights(*self.folders(path), plan)
            for folder in ('packed', 'decoded'):
                os.rename(self.file(folder), self.file(folder + formats[0]))

    def test_the_budget_is_held_against_the_bytes_of_mlx(self):
        path, plan = self.mlx_plan(budget='4.5bpw')
        mlx, decoded = self.folders(path)
        self.assert_same_weights(mlx, decoded, plan)
        total = sum(values.nbytes for _, values in mlx.tensors.values())
        self.assertLessEqual(total, int(plan['budget']['bytes']))
        self.assertEqual(total, sum(int(c['size_bytes']) for c in plan['components'])
                         + int(plan['model']['fixed_bytes']))

    def test_an_untied_head_is_a_module_like_others(self):
        model = self.copy('novel-1m', 'untied')
        weights = os.path.join(model, 'model.safetensors')
        contents = read_bytes(weights)
        length = int.from_bytes(contents[:8], 'little')
        header = json.loads(contents[8:8 + length])
        embedding = header['model.embed_tokens.weight']
        begin, end = embedding['data_offsets']
        data = contents[8 + length:]
        header['lm_head.weight'] = {**embedding, 'data_offsets': [len(data), len(data) + end - begin]}
        text = json.dumps(header).encode()
        command_case.write(weights, len(text).to_bytes(8, 'little') + text + data + data[begin:end])
        config = json.loads(read_bytes(os.path.join(model, 'config.json')))
        command_case.write(os.path.join(model, 'config.json'), json.dumps({**config, 'tie_word_embeddings': False}))
        path, plan = self.mlx_plan('--pin', 'embed=bf16', '--pin', 'lm_head=affine6-g64', model=model)
        mlx, decoded = self.folders(path, model=model)
        self.assert_same_weights(mlx, decoded, plan)
        self.assertEqual(mlx.scheme('lm_head'), {'group_size': 64, 'bits': 6, 'mode': 'affine'})

    def test_dtype_is_that_of_all_that_is_not_quantized(self):
        path, _ = self.pinned_plan(['affine4-g64', 'bf16'] + ['affine3-g32'] * 27)
        mlx, decoded = self.folders(path, '--dtype', 'f16')
        self.assertEqual({dtype for dtype, _ in mlx.tensors.values()}, {'F16', 'U32'})
        self.assertEqual(mlx.config['torch_dtype'], 'float16')
        for name in ('model.norm.weight', f'model.{MATRICES[1]}.weight'):
            numpy.testing.assert_array_equal(floats(mlx.tensors[name]),
                                             floats(decoded[name]).astype('<f2').astype('<f4'), name)

    def test_what_mlx_cannot_hold_is_refused_by_name(self):
        out = self.file('out')
        path = self.make_plan('--formats', 'int4-g64', '--no-run-dir', out='int.pb')
        self.refuse(3, ['model.embed_tokens in int4-g64', 'affine4-g64', 'for target mlx'], 'apply', self.model,
                    '--plan', path, '-o', out, '--weights', 'mlx')
        path, _ = self.mlx_plan(budget='7bpw')
        self.refuse(3, ['model.gguf', 'for folders'], 'apply', self.model, '--plan', path, '-o',
                    self.file('model.gguf'), '--weights', 'mlx')
        self.refuse(3, ['model.embed_tokens in affine', 'compressed-tensors'], 'apply', self.model, '--plan', path,
                    '-o', out, '--weights', 'compressed-tensors')
        self.refuse(2, ["unknown kind of weights 'mxl'", 'compressed-tensors', 'mlx'], 'apply', self.model, '--plan',
                    path, '-o', out, '--weights', 'mxl')

    def test_a_folder_of_mlx_is_no_model_here_and_says_so(self):
        path, _ = self.mlx_plan(budget='7bpw')
        out = self.file('out')
        self.succeed('apply', self.model, '--plan', path, '-o', out, '--weights', 'mlx')
        config_path = os.path.join(out, 'config.json')
        parts = ['config.json', 'is not supported: give the unquantized checkpoint']
        self.refuse(3, parts, 'eval', out, '--uniform', 'int8')
        config = json.loads(read_bytes(config_path))
        del config['quantization_config']  # older versions of MLX-LM wrote the other one alone
        command_case.write(config_path, json.dumps(config))
        self.refuse(3, ['quantization: ', *parts], 'eval', out, '--uniform', 'int8')


if __name__ == '__main__':
    command_case.main()
