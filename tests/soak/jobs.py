"""Small jobs of the bitbudget command and the folders that they run in, for the soak commands."""

import os
import shutil
import subprocess

PROBES = ['--prefix', '18', '--completion', '8', '--seed', '3', '--threads', '2']
TIMEOUT_S = 60


class Job:
    """A command with its inputs: files of the folder that it runs in, and outputs of that folder."""

    def __init__(self, name, outputs, *args, inputs=(), older=True):
        self.name, self.outputs, self.args, self.inputs, self.older = name, outputs, args, inputs, older


JOBS = (
    Job('plan', ['a.pb'], 'plan', 'model', '--budget', '6bpw', '--probes', '2', '--held-out-probes', '2',
        '--formats', 'int4-g64,int8', *PROBES, '--force', '--out', 'a.pb'),
    Job('apply', ['a.gguf'], 'apply', 'model', '--plan', 'gguf.pb', '--force', '--out', 'a.gguf',
        '--threads', '2', inputs=['gguf.pb']),
    Job('apply-folder', ['folder'], 'apply', 'model', '--plan', 'plan.pb', '--out', 'folder', '--threads',
        '2', inputs=['plan.pb'], older=False),
    Job('export', ['tensor-types.txt'], 'export', 'gguf.pb', '--to', 'llama.cpp', '--force', '--out',
        'tensor-types.txt', inputs=['gguf.pb']),
    Job('equalize', ['folder'], 'equalize', 'model', '--format', 'int4-g64', '--probes', '4', *PROBES[4:],
        '--out', 'folder', older=False),
    Job('recover', ['r.pb', 'r.pb.weights.safetensors'], 'recover', 'model', '--plan', 'plan.pb', '--force',
        '--out', 'r.pb', '--steps', '1', '--sequences', '16', '--held-out-probes', '2', *PROBES,
        inputs=['plan.pb']),
)


def read(path):
    """The bytes of a file, or of all files of a folder; None where there is none."""
    if os.path.isdir(path):
        return {name: read(os.path.join(path, name)) for name in sorted(os.listdir(path))}
    if not os.path.lexists(path):
        return None
    with open(path, 'rb') as file:
        return file.read()


def files(folder):
    return sorted(os.path.relpath(os.path.join(parent, name), folder)
                  for parent, folders, names in os.walk(folder) for name in names + folders)


class Workplace:
    """Runs jobs on a demo model, each in a folder of its own inside `folder`."""

    def __init__(self, binary, source_dir, folder):
        self.folder = folder
        # The program may be built anew while this runs.
        self.binary = shutil.copy(binary, os.path.join(folder, 'bitbudget'))
        self.env = {k: v for k, v in os.environ.items() if k != 'BITBUDGET_CPU'}
        self.env['OMP_WAIT_POLICY'] = 'passive'
        self.inputs = os.path.join(folder, 'inputs')
        os.mkdir(self.inputs)
        os.symlink(os.path.abspath(os.path.join(source_dir, 'tools', 'demo', 'models', 'novel-1m')),
                   os.path.join(self.inputs, 'model'))
        for name, formats in (('plan.pb', ['int4-g64,int8']),
                              ('gguf.pb', ['q4_0,q8_0', '--target', 'llama.cpp'])):
            code, err = self.run(self.inputs, 'plan', 'model', '--budget', '7bpw', '--search', 'uniform',
                                 '--probes', '2', '--held-out-probes', '2', '--formats', *formats,
                                 *PROBES, '--no-run-dir', '--out', name)
            assert code == 0, err

    def start(self, folder, *args, **variables):
        return subprocess.Popen([self.binary, *args], cwd=folder, env={**self.env, **variables},
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def run(self, folder, *args, **variables):
        """(exit code, standard error)"""
        with self.start(folder, *args, **variables) as process:
            try:
                err = process.communicate(timeout=TIMEOUT_S)[1]
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            return process.returncode, err.decode('utf-8', 'replace')

    def prepare(self, job, older=False):
        """A new folder with the job's inputs, and files that stand where its outputs go."""
        folder = os.path.join(self.folder, job.name)
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        for name in ('model', *job.inputs):
            os.symlink(os.path.join(self.inputs, name), os.path.join(folder, name))
        if older and job.older:
            for name in job.outputs:
                with open(os.path.join(folder, name), 'wb') as file:
                    file.write(b'older')
        return folder

    def outputs(self, job, folder):
        return {name: read(os.path.join(folder, name)) for name in job.outputs}
