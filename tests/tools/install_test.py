#!/usr/bin/env python3
"""What `cmake --install` and `cpack` give works outside the checkout.

    install_test.py BUILD_DIR SOURCE_DIR [unittest arguments]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

from readme_test import run_page

BUILD = ''
SOURCE = ''
EXAMPLES = ''


def run(*args, **more):
    return subprocess.run(args, capture_output=True, text=True, check=True, **more).stdout


class InstallTest(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-install-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def check(self, prefix):
        command = os.path.join(prefix, 'bin', 'bitbudget')
        version = run(command, '--version').strip()
        self.assertRegex(version, r'^\d+\.\d+\.\d+$')
        model = os.path.join(SOURCE, 'tools', 'demo', 'models', 'novel-1m')
        out = os.path.join(self.folder, 'model.gguf')
        self.assertIn('fits as it is', run(command, 'fit', model, '4GB', '-o', out, '--force'))
        with open(os.path.join(prefix, 'share/man/man1/bitbudget.1'), encoding='utf-8') as file:
            page = file.read()
        self.assertIn(f'"bitbudget {version}"', page)
        self.assertIn('.SS bitbudget plan', page)
        run('bash', '-n', os.path.join(prefix, 'share/bash-completion/completions/bitbudget'))
        self.assertTrue(os.path.exists(os.path.join(prefix, 'share/zsh/vendor-completions/_bitbudget')))
        self.assertTrue(os.path.exists(os.path.join(prefix, 'share/bitbudget/plan.proto')))
        self.check_python(prefix, model)

    def check_python(self, prefix, model):
        modules = os.path.join(prefix, 'lib/python3/dist-packages')
        if not os.path.isdir(modules):
            self.skipTest('built without the Python module')
        out = os.path.join(self.folder, 'python.gguf')
        text = run(sys.executable, os.path.join(EXAMPLES, 'fit.py'), model, '4.5bpw', out,
                   env=dict(os.environ, PYTHONPATH=modules))
        self.assertIn(f'{out}: {os.path.getsize(out)} bytes', text)

    def test_install(self):
        run('cmake', '--install', BUILD, '--prefix', self.folder)
        self.check(self.folder)

    def check_example(self, program):
        out = os.path.join(self.folder, 'example.gguf')
        text = run(program, os.path.join(SOURCE, 'tools/demo/models/novel-1m'), '4.5bpw', out)
        self.assertIn(f'{out}: {os.path.getsize(out)} bytes', text)
        os.remove(out)
        failed = subprocess.run([program, '/nowhere', '4.5bpw', out], capture_output=True, text=True,
                                check=False)
        self.assertEqual((failed.returncode, failed.stderr),
                         (1, '/nowhere: no such model folder or .gguf file\n'))

    def test_cmake_finds_the_library(self):
        prefix = os.path.join(self.folder, 'prefix')
        run('cmake', '--install', BUILD, '--prefix', prefix)
        build = os.path.join(self.folder, 'build')
        run('cmake', '-S', EXAMPLES, '-B', build, '-G', 'Ninja', f'-DCMAKE_PREFIX_PATH={prefix}')
        run('cmake', '--build', build)
        self.check_example(os.path.join(build, 'example_fit'))
        text = os.path.join(self.folder, 'text.txt')
        with open(os.path.join(SOURCE, 'README.md'), encoding='utf-8') as file:
            words = file.read()
        with open(text, 'w', encoding='utf-8') as file:
            file.write(words * 4)
        table = run(os.path.join(build, 'example_sizes'),
                    os.path.join(SOURCE, 'tools/demo/models/novel-1m'), text)
        for line in (r'^int8 .* KL 0\.\d+', r'^int4-g64 .* KL 0\.\d+', r'^plan .* KL 0\.\d+'):
            self.assertRegex(table, re.compile(line, re.MULTILINE))

    def test_the_page_of_the_library(self):
        prefix = os.path.join(self.folder, '.local')
        run('cmake', '--install', BUILD, '--prefix', prefix)
        if not os.path.isdir(os.path.join(prefix, 'lib/python3')):
            self.skipTest('built without the Python module')
        with open(os.path.join(SOURCE, 'docs', 'api.md'), encoding='utf-8') as file:
            page = file.read()
        with unittest.mock.patch.dict(os.environ, HOME=self.folder):
            problems = run_page('docs/api.md', page, os.path.join(prefix, 'bin', 'bitbudget'), SOURCE,
                                mpirun=False)
        self.assertEqual(problems, [])

    def test_debian_package(self):
        run('cpack', '--config', os.path.join(BUILD, 'CPackConfig.cmake'), '-B', self.folder)
        packages = [name for name in os.listdir(self.folder) if name.endswith('.deb')]
        self.assertEqual(len(packages), 1, packages)
        package = os.path.join(self.folder, packages[0])
        fields = run('dpkg-deb', '--field', package)
        self.assertIn('Package: bitbudget', fields)
        depends = re.search(r'^Depends: (.*)$', fields, re.MULTILINE)[1]
        for library in ('libc6', 'libgomp1', 'libsqlite3', 'libsentencepiece'):
            self.assertIn(library, depends)
        # dpkg-deb does not look at these; dpkg refuses a version that does not begin with a digit.
        for field in re.findall(r'^(?:Depends|Suggests): (.*)$', fields, re.MULTILINE):
            for relation in field.split(', '):
                self.assertRegex(relation, r'^[a-z0-9.+-]+(?: \((?:>=|=|<<) [0-9][^ )]*\))?$')
        root = os.path.join(self.folder, 'root')
        run('dpkg-deb', '--extract', package, root)
        self.check(os.path.join(root, 'usr'))


def main():
    global BUILD, SOURCE, EXAMPLES
    BUILD, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
    EXAMPLES = os.path.join(SOURCE, 'tools', 'examples')
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])


if __name__ == '__main__':
    main()
