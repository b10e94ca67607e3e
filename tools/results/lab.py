"""What the tables share: the options of the run, commands whose output is kept, and Markdown."""
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/reproduce"))
from common import Lab  # noqa: E402


class Missing(Exception):
    """A table cannot be measured here; the message says what is missing."""


class Bench:
    """Runs what a table needs; everything that was run is found again in the work folder."""

    def __init__(self, args):
        self.args = args
        self.quick = args.quick
        self.bitbudget = str(args.bitbudget)
        self.work = args.work
        self.work.mkdir(parents=True, exist_ok=True)

    def model(self, name):
        return str(ROOT / "tools/demo/models" / name)

    def texts(self):
        """(text to learn and search on, text to measure on), or (None, None): the model's own samples."""
        if self.args.texts is None:
            return None, None
        return str(self.args.texts / "calibration.txt"), str(self.args.texts / "development.txt")

    def choose(self, full, quick):
        return quick if self.quick else full

    def lab(self, model, probes, text=True):
        """Runs and keeps single measurements; with `text` on the texts, else on the model's samples."""
        calibration, development = self.texts() if text else (None, None)
        return Lab(argparse.Namespace(
            model=self.model(model), text=calibration, eval_text=development, probes=probes,
            search_probes=self.choose(48, 16), seed=0, threads=self.args.threads, work=self.work,
            bitbudget=self.bitbudget))

    def run(self, *command, environment=None, codes=(0,)):
        """Standard output of a command, run now or found in the work folder."""
        words = [str(word) for word in command]
        identity = json.dumps([words, environment])
        kept = self.work / (hashlib.sha256(identity.encode()).hexdigest()[:24] + ".out")
        if not kept.exists():
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
                                  env={**os.environ, **(environment or {})}, check=False)
            if done.returncode not in codes:
                raise Missing(f"{' '.join(words)}: {done.stderr.strip().splitlines()[-1:]}")
            partial = kept.with_suffix(".partial")
            partial.write_text(done.stdout)
            partial.rename(kept)
        return kept.read_text()

    def script(self, path, *options, threads=True, **kwargs):
        """A Python script of tools/; `threads`: it takes --threads."""
        if threads and self.args.threads:
            options = (*options, "--threads", self.args.threads)
        return self.run(sys.executable, "-B", ROOT / path, *options, **kwargs)

    def program(self, name):
        """A program that was built beside bitbudget."""
        path = pathlib.Path(self.bitbudget).parent / name
        if not path.exists():
            raise Missing(f"{path} is not built")
        return path

    def llama_cpp(self):
        """The environment in which scripts find llama.cpp."""
        folder = os.environ.get("BITBUDGET_LLAMA_CPP") or subprocess.run(
            [ROOT / "tests/peer/setup.sh"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        if not folder:
            raise Missing("llama.cpp is not installed (tests/peer/setup.sh)")
        return {"BITBUDGET_LLAMA_CPP": folder}


def table(headers, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def tables_in(output):
    """The Markdown tables of a script's output with the bold lines above them, the rest left out."""
    kept = [line for line in output.splitlines() if line.startswith(("|", "**"))]
    text = []
    for line in kept:
        if line.startswith("**"):
            text += ["", line, ""]
        elif text and not text[-1].startswith("|") and text[-1]:
            text += ["", line]
        else:
            text.append(line)
    return "\n".join(text).strip()


def interval(mean, bounds, digits):
    low, high = bounds
    return f"{mean:{digits}} [{low:{digits}}, {high:{digits}}]"


def best_bold(cells, values):
    """Cells with the smallest value in bold; a value of None takes no part."""
    known = [value for value in values if value is not None]
    return [f"**{cell}**" if known and value == min(known) else cell for cell, value in zip(cells, values)]
