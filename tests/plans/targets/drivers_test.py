"""The Python programs beside exports, run against stubs of the consumers.

    drivers_test.py BINARY [unittest arguments]
"""

import os
import subprocess
import sys
import textwrap

import export_case
from export_case import ExportCase
from plan_maker import component_list


class DriverTest(ExportCase):
    """The scripts beside the exports call the programs as they want to be called."""

    def drive(self, target, formats, kept, stubs, args):
        components = component_list(2, False)
        chosen = ['bf16' if kind in kept else formats for _, kind, *_ in components]
        self.export(self.plan(components, chosen), target, 'the plan.json')
        for name, text in stubs.items():
            path = os.path.join(self.folder, 'stubs', name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w', encoding='utf-8') as file:
                file.write(textwrap.dedent(text))
        result = subprocess.run(
            [sys.executable, '-B', self.path('run_the plan.py'), *args], cwd='/',
            env={**os.environ, 'PYTHONPATH': os.path.join(self.folder, 'stubs')},
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout, [name for name, *_ in components]

    TRANSFORMERS = '''
        class Any:
            def from_pretrained(path, **options):
                return Any()
            def save_pretrained(self, path, **options):
                print('saved', path)
        AutoModelForCausalLM = AutoTokenizer = Any
        '''

    def test_autoround(self):
        out, names = self.drive('autoround', 'int4-g64', ('embed', 'head'), {'auto_round.py': '''
            class AutoRound:
                def __init__(self, model, scheme, layer_config):
                    print(model, scheme, len(layer_config))
                def quantize_and_save(self, out, format):
                    print(out, format)
            '''}, ['MODEL', 'OUT'])
        self.assertEqual(out.split(), ['MODEL', 'W4A16', str(len(names) - 2), 'OUT', 'auto_round'])

    def test_gptqmodel(self):
        text = self.write('text.txt', 'one\n\ntwo\n')
        out, _ = self.drive('gptqmodel', 'int8', ('embed', 'head'), {'gptqmodel.py': '''
            class QuantizeConfig:
                def __init__(self, bits, group_size, sym, desc_act, lm_head, dynamic):
                    print(bits, group_size, sym, desc_act, lm_head, len(dynamic))
            class GPTQModel:
                def load(model, config):
                    return GPTQModel()
                def quantize(self, texts):
                    print(len(texts))
                def save(self, out):
                    print(out)
            '''}, ['MODEL', text, 'OUT'])
        self.assertEqual(out.split(), ['8', '-1', 'True', 'False', 'False', '1', '2', 'OUT'])

    def test_mlx(self):
        out, names = self.drive('mlx', 'affine4-g64', ('head',), {'mlx_lm.py': '''
            def convert(model, mlx_path, quantize, q_group_size, q_bits, quant_predicate):
                print(model, mlx_path, quantize, q_group_size, q_bits,
                      quant_predicate('model.layers.1.mlp.up_proj', None)['group_size'],
                      quant_predicate('lm_head', None), quant_predicate('other', None))
            '''}, ['MODEL', 'OUT'])
        self.assertEqual(out.split(),
                         ['MODEL', 'OUT', 'True', '64', '4', '64', 'False', 'False'])
        self.assertIn('lm_head', names)

    def test_modelopt(self):
        out, names = self.drive('modelopt', 'int4-g64', ('embed', 'head'), {
            'modelopt/__init__.py': '',
            'modelopt/torch/__init__.py': '',
            'modelopt/torch/quantization.py': '''
                def quantize(model, config, forward_loop):
                    print(len(config['quant_cfg']), config['quant_cfg'][1]['cfg']['block_sizes'],
                          config['algorithm'], forward_loop)
                ''',
            'modelopt/torch/export.py': '''
                def export_hf_checkpoint(model, export_dir):
                    print(export_dir)
                ''',
            'transformers.py': self.TRANSFORMERS}, ['MODEL', 'OUT'])
        self.assertEqual(out.split('\n')[0], f'{len(names) - 1} {{-1: 64}} max None')

    def test_torchao(self):
        out, names = self.drive('torchao', 'int8', ('embed',), {
            'torch.py': 'int8 = "torch.int8"\nint4 = "torch.int4"\n',
            'torchao/__init__.py': '',
            'torchao/quantization/__init__.py': '''
                def quantize_(model, config, filter_fn):
                    print(len(config), config['model.embed_tokens'], config['lm_head'], filter_fn)
                def FqnToConfig(mapping):
                    return mapping
                def IntxWeightOnlyConfig(weight_dtype, granularity, mapping_type):
                    return f'{weight_dtype}/{granularity}/{mapping_type.name}'
                ''',
            'torchao/quantization/granularity.py': '''
                def PerAxis(axis):
                    return f'axis{axis}'
                def PerGroup(size):
                    return f'group{size}'
                ''',
            'torchao/quantization/quant_primitives.py': '''
                import enum
                MappingType = enum.Enum('MappingType', 'SYMMETRIC ASYMMETRIC')
                ''',
            'transformers.py': self.TRANSFORMERS}, ['MODEL', 'OUT'])
        self.assertEqual(out.split('\n')[0],
                         f'{len(names)} None torch.int8/axis0/SYMMETRIC None')


if __name__ == '__main__':
    export_case.main()
