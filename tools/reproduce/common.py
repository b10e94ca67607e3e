"""What the scripts of this folder share: calls of the bitbudget command, whose results --work keeps, and tables."""
import argparse
import hashlib
import json
import math
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def parser(description):
    result = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawTextHelpFormatter)
    result.add_argument("--model", default=str(ROOT / "tools/demo/models/novel-8m"))
    result.add_argument("--text", help="text to calibrate and search on (default: the model's own samples)")
    result.add_argument("--eval-text", help="text to measure on, used for nothing else "
                        "(default: the held-out part of --text, else the model's own samples)")
    result.add_argument("--probes", type=int, default=64, help="held-out probes of a measurement")
    result.add_argument("--search-probes", type=int, default=48)
    result.add_argument("--seed", type=int, default=0)
    result.add_argument("--threads", type=int)
    result.add_argument("--work", type=pathlib.Path, required=True,
                        help="folder that keeps what was measured; an interrupted script resumes from it")
    result.add_argument("--bitbudget", default=str(ROOT / "build/release/bitbudget"))
    return result


class Lab:
    """Calls commands on one model and keeps their results."""

    def __init__(self, args):
        self.args = args
        self.name = pathlib.Path(args.model).name
        args.work.mkdir(parents=True, exist_ok=True)

    def _run(self, command, model):
        command = [self.args.bitbudget, command[0], str(model)] + command[1:]
        if command[1] != "apply" and "zd" not in command and "--seed" not in command:
            command += ["--seed", str(self.args.seed)]
        if self.args.threads:
            command += ["--threads", str(self.args.threads)]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)}\nexit code {result.returncode}: {result.stderr.strip()}")
        return result.stdout

    def json(self, *command, model=None):
        """The JSON that a command prints, called now or found in --work."""
        model = pathlib.Path(model or self.args.model)
        words = [str(word) for word in command]
        identity = json.dumps([words, str(model.resolve()), self.args.seed])
        kept = self.args.work / (hashlib.sha256(identity.encode()).hexdigest()[:24] + ".json")
        if not kept.exists():
            out = self._run(words + ["--json"], model)
            partial = kept.with_suffix(".partial")
            partial.write_text(out)
            partial.rename(kept)
        return json.loads(kept.read_text())

    def call(self, *command):
        """Runs a command on the model."""
        return self._run([str(word) for word in command], self.args.model)

    def _text(self, path):
        return ["--text", path] if path else []

    def evaluate(self, pins=(), uniform=None, encoder="clip", activations="int16", pruning="magnitude", model=None):
        """`bitbudget eval` of an assignment: pins on top of a uniform format or the stored weights.

        Encoders that learn from inputs do so on --text; what is shown is measured on --eval-text."""
        command = ["eval", "--encoder", encoder, "--activations", activations,
                   "--probes", self.args.probes]
        if pruning != "magnitude":
            command += ["--pruning", pruning]
        if uniform:
            command += ["--uniform", uniform]
        for pin in pins:
            command += ["--pin", pin]
        command += self._text(self.args.eval_text or self.args.text)
        if self.args.text:
            command += ["--calibration", self.args.text]
        return self.json(*command, model=model)

    def score(self, *options, model=None):
        return self.json("score", *options, *self._text(self.args.text), model=model)

    def plan(self, name, *options, model=None):
        """(plan as JSON, its path); `bitbudget plan` with these options, found in --work or made."""
        path = self.args.work / f"{self.name}-{name}.plan.json"
        if not path.exists():
            self._run(["plan", "--out", str(path), "--probes", str(self.args.search_probes),
                       "--run-dir", str(path) + ".run"]
                      + [str(option) for option in options] + self._text(self.args.text),
                      model or self.args.model)
        return json.loads(path.read_text()), path

    def apply(self, plan, out, *options):
        calibration = ["--calibration", self.args.text] if self.args.text else []
        self._run(["apply", "--plan", str(plan), "--out", str(out)] + list(options) + calibration,
                  self.args.model)

    def size_bits(self, name, rows, cols):
        out = subprocess.run([self.args.bitbudget, "formats", "--formats", name, "--rows", str(rows),
                              "--cols", str(cols), "--json"], stdout=subprocess.PIPE, check=True).stdout
        return json.loads(out)["formats"][name]["size_bits"]

    def evaluate_plan(self, path, activations="int16"):
        calibration = ["--calibration", self.args.text] if self.args.text else []
        return self.json("eval", "--plan", path, "--probes", self.args.probes,
                         "--activations", activations, *calibration,
                         *self._text(self.args.eval_text or self.args.text))

    def weights_by_type(self):
        """Number of weights of all q, k, v, o, gate, up and down matrices."""
        c = self.config()
        width, heads = c["hidden_size"], c["num_attention_heads"]
        head = c.get("head_dim") or width // heads
        kv = c.get("num_key_value_heads", heads) * head
        inner = c["intermediate_size"]
        one = {"q": width * heads * head, "k": width * kv, "v": width * kv, "o": width * heads * head,
               "gate": width * inner, "up": width * inner, "down": width * inner}
        return {name: count * self.layers() for name, count in one.items()}

    def config(self):
        return json.loads((pathlib.Path(self.args.model) / "config.json").read_text())

    def layers(self):
        return self.config()["num_hidden_layers"]

    def stored_format(self):
        return {"bfloat16": "bf16", "float16": "f16"}.get(self.config().get("torch_dtype"), "f32")


def quality(evaluation):
    """Perplexity or, without text, divergent perplexity."""
    if evaluation.get("ppl_candidate"):
        return evaluation["ppl_candidate"]
    return evaluation["dppl"]


def kl_text(evaluation):
    low, high = evaluation["kl_ci"]
    return f"{evaluation['kl_mean']:.3g} [{low:.3g}, {high:.3g}]"


def text_kl_text(evaluation):
    """Empty where windows are too short."""
    if evaluation.get("text_kl") is None:
        return ""
    low, high = evaluation["text_kl_ci"]
    return f"{evaluation['text_kl']:.3g} [{low:.3g}, {high:.3g}]"


def fdt_text(evaluation):
    low, high = evaluation["fdt_ci"]
    return f"{evaluation['fdt_mean']:.1f} [{low:.1f}, {high:.1f}]"


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def claim(text):
    print(f"\n### Claim: {text}\n")


def table(headers, rows):
    print("| " + " | ".join(headers) + " |")
    print("|" + "---|" * len(headers))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()
    sys.stdout.flush()


def verdict(lab, holds, why):
    """`holds`: True, False, or None where this model cannot tell."""
    word = {True: "holds", False: "does not hold", None: "not decided"}[holds]
    print(f"**On {lab.name}: {word}.** {why}\n")
    sys.stdout.flush()
