#!/usr/bin/env python3
"""One plan from one command: any threads, CPU tier, memory, with and without a run directory.

    command_same_results_test.py BINARY SOURCE_DIR [unittest arguments]

(Ranks and runs that were killed: run_dir_test.py. Rows per product and caches: tests/kernels,
tests/eval.)
"""

import json
import os
import sys

from command_case import FEW_FORMATS, PLAN_PROBES, PROBES, CommandTest, main, read_bytes, run


class TeacherForcingTest(CommandTest):
    """The first divergent token of one teacher-forced pass is that of free-running decoding."""

    def test_fdt_is_where_two_generations_part(self):
        plan = self.make_plan()
        report = self.json('eval', self.model, '--plan', plan, '--prefix', 8, '--completion', 40,
                           '--probes', 6, '--seed', 11)
        parted = 0
        for probe in report['per_probe']:
            prompt = ['--tokens', ','.join(map(str, probe['prompt_tokens'])), '-n', 40,
                      '--threads', 1]
            reference = self.json('generate', self.model, *prompt)['tokens']
            planned = self.json('generate', self.model, '--plan', plan, *prompt)['tokens']
            self.assertEqual(probe['tokens'], len(reference))
            fdt = next((i for i, token in enumerate(reference)
                        if planned[i:i + 1] != [token]), len(reference))
            self.assertEqual(probe['fdt'], fdt)
            parted += fdt < len(reference)
        self.assertGreater(parted, 0)


class DeterminismTest(CommandTest):

    SEARCHES = (('greedy',), ('greedy', '--exhaustive'), ('greedy', '--activations', 'int8'),
                ('additive',), ('layerwise',))

    # Every tier, both numbers of threads, but not all pairs.
    def tiers_and_threads(self):
        tiers = ['portable']
        for tier in ('avx2', 'avx512vnni'):
            if run('show', 'none', tier=tier).returncode == 3:  # 2: not on this machine
                tiers.append(tier)
            else:
                print(f'no {tier} here: its kernels are not tested', file=sys.stderr)
        return [(tier, 1 + i % 2) for i, tier in enumerate(tiers)] + [(tiers[-1], len(tiers) % 2 + 1)]

    def plan(self, name, *args, tier=None):
        """The bytes of the plan."""
        out = self.file(name)
        self.succeed('plan', self.model, '--budget', '6bpw', *FEW_FORMATS, *PLAN_PROBES, '--out',
                     out, *args, tier=tier)
        return read_bytes(out)

    def evaluate(self, plan, *args, tier=None):
        """What `eval` says of the plan but for the memory, which is the machine's."""
        report = self.json('eval', self.model, '--plan', self.file(plan), *PROBES, '--probes', 3,
                           *args, tier=tier)
        del report['memory']
        return json.dumps(report)

    def test_threads_and_tiers(self):
        for search in self.SEARCHES:
            plans, evaluations = set(), set()
            for tier, threads in self.tiers_and_threads():
                out = f'{tier}-{threads}.pb'
                plans.add(self.plan(out, '--no-run-dir', '--search', *search, '--threads', threads,
                                    tier=tier))
                evaluations.add(self.evaluate(out, '--threads', threads, tier=tier))
            self.assertEqual(len(plans), 1, search)
            self.assertEqual(len(evaluations), 1, search)

    def test_inputs_rounded_as_in_llama_cpp_on_every_tier(self):
        seen = set()
        for tier, threads in self.tiers_and_threads():
            pins = ('down=q4_k', 'gate=iq4_nl', 'embed=bf16', 'o_proj=f16')
            report = self.json('eval', self.model, '--uniform', 'q5_1', '--activations', 'llama.cpp',
                               *(word for pin in pins for word in ('--pin', pin)), *PROBES,
                               '--probes', 3, '--threads', threads, tier=tier)
            del report['memory']
            seen.add(json.dumps(report))
        self.assertEqual(len(seen), 1, seen)

    def test_fdt_only_on_every_tier(self):
        plan = self.make_plan()
        seen = set()
        for tier, threads in self.tiers_and_threads():
            args = ('eval', self.model, '--plan', plan, *PROBES, '--probes', 6, '--threads', threads)
            for more in ((), ('--fdt-only',)):
                probes = self.json(*args, *more, tier=tier)['per_probe']
                seen.add(tuple(probe['fdt'] for probe in probes))
        self.assertEqual(len(seen), 1, seen)

    def test_memory_and_spilling(self):
        args = ('--no-run-dir', '--threads', 1)
        plan = ('plan', self.model, '--budget', '6bpw', *FEW_FORMATS, *PLAN_PROBES, *args)
        whole = self.plan('whole.pb', *args, '--memory', '4GiB')
        # Down to the least that is not refused, in KiB.
        low, high = 1, 1 << 18
        while high - low > 64:
            middle = (low + high) // 2
            out = self.file(f'{middle}.pb')
            result = run(*plan, '--memory', f'{middle}KiB', '--out', out)
            if result.returncode == 0:
                self.assertEqual(read_bytes(out), whole, middle)
                high = middle
            else:
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assertIn('allow more memory', result.stderr)
                low = middle
        little = ('--memory', f'{high}KiB')
        for search in (('greedy', '--exhaustive'), ('layerwise', '--scorer', 'zd')):
            self.assertEqual(self.plan('little.pb', *args, *little, '--search', *search),
                             self.plan('whole.pb', *args, '--memory', '4GiB', '--search', *search))
        self.assertEqual(self.evaluate('little.pb', *little, '--threads', 1),
                         self.evaluate('little.pb'))
        # That was done with encodings on disk: without a place for them it cannot be.
        nowhere = os.path.join(self.folder, 'nowhere')
        result = run(*plan, *little, '--out', self.file('none.pb'), '--spill-dir', nowhere)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn(nowhere, result.stderr.splitlines()[-1])
        self.assertFalse(os.path.exists(self.file('none.pb')))


if __name__ == '__main__':
    main()
