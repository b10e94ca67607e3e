#!/usr/bin/env python3
"""The Python module does what the command does.

    python_module_test.py BITBUDGET MODULE_DIR SOURCE_DIR [unittest arguments]
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

COMMAND, MODULES, SOURCE = (os.path.abspath(path) for path in sys.argv[1:4])
sys.path.insert(0, MODULES)
import bitbudget  # pylint: disable=wrong-import-position

MODEL = os.path.join(SOURCE, 'tools', 'demo', 'models', 'novel-1m')
FEW = {'probes': 4, 'held_out_probes': 8, 'prefix': 32, 'completion': 32}


def command(*args):
    return subprocess.run([COMMAND, '-q', *args], capture_output=True, text=True, check=True).stdout


def words(options):
    return [word for name, value in options.items()
            for word in ('--' + name.replace('_', '-'), str(value))]


class PythonModuleTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.model = bitbudget.load(MODEL)
        cls.plan = bitbudget.plan(cls.model, budget='4.5bpw', **FEW)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-python-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), 'rb') as file:
            return file.read()

    def test_plans_are_those_of_the_command(self):
        command('plan', MODEL, '--budget', '4.5bpw', *words(FEW), '-o', self.path('a.pb'),
                '--no-run-dir')
        self.plan.write(self.path('b.pb'))
        self.assertEqual(self.read('a.pb'), self.read('b.pb'))
        plan = bitbudget.read_plan(self.path('a.pb'))
        self.assertEqual(plan.to_dict(), self.plan.to_dict())
        self.assertEqual(str(plan), command('show', self.path('a.pb')))

    def test_evaluations_are_those_of_the_command(self):
        self.plan.write(self.path('plan.pb'))
        few = {'probes': 6, 'prefix': 32, 'completion': 32}
        for options, measured in (
                (['--uniform', 'int4-g64'], bitbudget.evaluate(self.model, uniform='int4-g64', **few)),
                (['--plan', self.path('plan.pb')], bitbudget.evaluate(self.model, self.plan, **few))):
            printed = json.loads(command('eval', MODEL, *options, *words(few), '--json'))
            del printed['memory'], measured['memory']
            self.assertEqual(measured, printed)

    def test_models_are_those_of_the_command(self):
        plan = bitbudget.plan(self.model, budget='4.5bpw', target='llama.cpp', **FEW)
        plan.write(self.path('plan.pb'))
        size = bitbudget.apply(self.model, plan, self.path('a.gguf'))
        command('apply', MODEL, '--plan', self.path('plan.pb'), '-o', self.path('b.gguf'))
        self.assertEqual(size, os.path.getsize(self.path('a.gguf')))
        self.assertEqual(self.read('a.gguf'), self.read('b.gguf'))

    def test_exports_are_those_of_the_command(self):
        # A size at which every target has a plan; the command's twin writes to a folder of its own,
        # as drivers are named after the configuration.
        for folder in ('a', 'b'):
            os.mkdir(self.path(folder))
        for target in bitbudget.targets():
            plan = bitbudget.plan(self.model, budget='7bpw', target=target, search='uniform', **FEW)
            plan.write(self.path('plan.pb'))
            files, instructions = plan.export(self.path(f'a/{target}.cfg'))
            said = command('export', self.path('plan.pb'), '-o', self.path(f'b/{target}.cfg'))
            self.assertEqual(said.strip().replace(self.path('b/'), self.path('a/')),
                             instructions.strip())
            for file in files:
                with open(file, 'rb') as a, open(file.replace(self.path('a/'), self.path('b/')),
                                                 'rb') as b:
                    self.assertEqual(a.read(), b.read())

    def test_components_describe_model_and_plan(self):
        self.assertEqual(self.model.components[0].name, 'model.embed_tokens')
        self.assertEqual(self.model.components[0].format, 'bf16')
        self.assertEqual(len(self.plan.components), len(self.model.components))
        pinned = bitbudget.plan(self.model, budget='6bpw', pin=['embed_tokens=int8', 'layers.0.*q_=int8'],
                                search='uniform', **FEW)
        self.assertEqual([c.name for c in pinned.components if c.pinned],
                         ['model.embed_tokens', 'model.layers.0.self_attn.q_proj'])
        fixed = self.model.size_bytes - sum(c.size_bytes for c in self.model.components)
        self.assertEqual(pinned.size_bytes, fixed + sum(c.size_bytes for c in pinned.components))

    def test_mistakes_are_told_as_by_the_command(self):
        for options, what in (
                ({}, 'is required'),
                ({'budget': '4bpw', 'taget': 'mlx'}, "did you mean '--target'"),
                ({'budget': '4bpw', 'kv': 'q8_0'}, '--kv has no effect'),
                ({'budget': '4bpw', 'out': 'plan.pb'}, "unknown option '--out'"),
                ({'budget': '4bpw', 'probes': 1}, '--probes'),
                ({'budget': 'much'}, 'much')):
            with self.assertRaisesRegex(bitbudget.UsageError, what):
                bitbudget.plan(self.model, **options)
        with self.assertRaisesRegex(bitbudget.InfeasibleError, 'smallest possible size'):
            bitbudget.plan(self.model, budget='0.1bpw')
        with self.assertRaisesRegex(bitbudget.Error, 'no such model folder'):
            bitbudget.load(self.path('nowhere'))
        with self.assertRaisesRegex(bitbudget.Error, 'nowhere.pb'):
            bitbudget.read_plan(self.path('nowhere.pb'))
        with self.assertRaisesRegex(bitbudget.Error, 'exists and is not'):
            shutil.copy(os.path.join(MODEL, 'config.json'), self.path('plan.pb'))
            self.plan.write(self.path('plan.pb'))
        self.plan.write(self.path('plan.pb'), force=True)
        with self.assertRaisesRegex(bitbudget.UsageError, 'suffix'):
            bitbudget.apply(self.model, self.plan, self.path('a.ggfu'))
        with self.assertRaisesRegex(bitbudget.UsageError, 'do not go with a plan'):
            bitbudget.evaluate(self.model, self.plan, uniform='int8')

    def test_progress_rises_to_the_end(self):
        reports = []
        bitbudget.plan(self.model, budget='4.5bpw', progress=reports.append, **FEW)
        shares = [report['share'] for report in reports if report['share'] is not None]
        self.assertEqual(shares, sorted(shares))
        self.assertGreater(shares[-1], 0.5)
        self.assertIn('held-out comparison', [report['phase'] for report in reports])

    def test_a_callback_stops_the_search(self):
        with self.assertRaises(bitbudget.Interrupted):
            bitbudget.plan(self.model, budget='4.5bpw', progress=lambda report: False)
        plan = bitbudget.plan(self.model, budget='4.5bpw', **FEW,
                              progress=lambda report: report['phase'] != 'sampling held-out probes')
        self.assertFalse(plan.complete)

    def test_an_exception_of_the_callback_is_raised(self):
        with self.assertRaises(ZeroDivisionError):
            bitbudget.plan(self.model, budget='4.5bpw', progress=lambda report: 1 / 0)

    def test_ctrl_c_ends_a_search(self):
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            bitbudget.plan(self.model, budget='4.5bpw', probes=4096)

    def test_an_interrupted_run_resumes(self):
        run = {'budget': '4.5bpw', 'run_dir': self.path('run'), **FEW}
        with self.assertRaises(ZeroDivisionError):
            bitbudget.plan(self.model, progress=lambda report: report['phase'] != 'round 1' or 1 / 0,
                           **run)
        plan = bitbudget.plan(self.model, **run)
        self.assertEqual(plan.to_dict(), self.plan.to_dict())

    def test_models_may_be_used_by_several_threads(self):
        plans = []
        threads = [threading.Thread(target=lambda: plans.append(
            bitbudget.plan(self.model, budget='4.5bpw', threads=1, **FEW))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for plan in plans:
            self.assertEqual(plan.to_dict(), self.plan.to_dict())
        self.assertEqual(len(plans), 3)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
