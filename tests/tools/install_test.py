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

BUILD = ''
SOURCE = ''


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

    def test_install(self):
        run('cmake', '--install', BUILD, '--prefix', self.folder)
        self.check(self.folder)

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
        root = os.path.join(self.folder, 'root')
        run('dpkg-deb', '--extract', package, root)
        self.check(os.path.join(root, 'usr'))


def main():
    global BUILD, SOURCE
    BUILD, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])


if __name__ == '__main__':
    main()
