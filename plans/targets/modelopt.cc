#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/int_scheme.h"
#include "plans/targets/modules.h"
#include "plans/targets/patterns.h"
#include "plans/targets/profiles.h"
#include "plans/targets/python_driver.h"
#include "runtime/base/status_macros.h"

// NVIDIA ModelOpt `quant_cfg`, the list form: every entry is a glob on quantizers
// (<module>.weight_quantizer), the last match wins. Read in modelopt/torch/quantization
// (model_quant.py, a2fbac7b).
namespace bitbudget::internal {
namespace {

constexpr PythonDriver kDriver = {
    "MODEL OUT",
    R"py("""Quantizes a model with NVIDIA ModelOpt as a bitbudget plan says.

    python $DRIVER $ARGUMENTS
"""
import json
import os
import sys

import modelopt.torch.quantization as mtq
from modelopt.torch.export import export_hf_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

with open($CONFIG) as file:
    config = json.load(file)
for entry in config["quant_cfg"]:  # JSON has no numbers as keys
    blocks = entry.get("cfg", {}).get("block_sizes")
    if blocks:
        entry["cfg"]["block_sizes"] = {int(k): v for k, v in blocks.items()}
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype="auto")
mtq.quantize(model, config, forward_loop=None)
export_hf_checkpoint(model, export_dir=sys.argv[2])
AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
)py"};

class ModelOpt : public ModuleProfile {
 public:
  ModelOpt() : ModuleProfile({.loader_joins = true}) {}

  absl::string_view name() const override { return "modelopt"; }
  absl::string_view summary() const override {
    return "NVIDIA ModelOpt: quant_cfg and a driver; modules that vLLM joins share a scheme";
  }

 protected:
  std::vector<Format> QuantizedFormats() const override {
    return FormatsNamed({"int4-g*", "int8", "int8-g*"});  // its integer quantizers are symmetric
  }

  absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                     const std::string& path) const override {
    Json entries = Json::array();
    entries.push_back({{"quantizer_name", "*"}, {"enable", false}});
    for (size_t u = 0; u < planned.units.size(); ++u) {
      if (planned.formats[u].IsFloat()) continue;
      const IntScheme scheme = SchemeOf(planned.formats[u]);
      Json cfg = {{"num_bits", scheme.bits}};
      if (scheme.group < 0) {
        cfg["axis"] = 0;
      } else {
        cfg["block_sizes"] = {{"-1", scheme.group}};
      }
      for (const std::string& name : planned.units[u].names) {
        entries.push_back(
            {{"quantizer_name", name + ".weight_quantizer"}, {"cfg", cfg}, {"enable", true}});
      }
    }
    const Json config = {{"quant_cfg", std::move(entries)}, {"algorithm", "max"}};
    return ExportWithDriver(path, config, kDriver);
  }

  absl::Status ReadConfig(const Json& config, ModuleFile* file) const override {
    const auto entries = config.find("quant_cfg");
    if (entries == config.end() || !entries->is_array()) {
      return absl::InvalidArgumentError(absl::StrCat(file->path, ": no list 'quant_cfg'"));
    }
    std::vector<bool> used(entries->size(), false);
    for (Reading& reading : file->reading.readings) {
      BB_ASSIGN_OR_RETURN(
          const Json* weights,
          LastMatch(*entries, reading.name + ".weight_quantizer", file->path, &used));
      BB_ASSIGN_OR_RETURN(
          const Json* inputs,
          LastMatch(*entries, reading.name + ".input_quantizer", file->path, &used));
      if (weights == nullptr) {
        reading.gets = "ModelOpt's default, 8 bits";
        reading.problems.push_back("no entry matches");
        continue;
      }
      reading.rule = *TextField(*weights, "quantizer_name");
      if (BoolField(*weights, "enable").value_or(true)) {
        Gets(*weights, &reading);
      } else {
        GetsKept(&reading);
      }
      if (inputs == nullptr || BoolField(*inputs, "enable").value_or(true)) {
        reading.problems.push_back("its activations are quantized too");
      }
      if (file->units[reading.unit].never_quantized && !reading.kept) {
        reading.problems.push_back("loaders keep embedding and head as they are stored");
      }
    }
    for (size_t i = 0; i < entries->size(); ++i) {
      if (!used[i]) file->reading.unused.push_back(*TextField((*entries)[i], "quantizer_name"));
    }
    return absl::OkStatus();
  }

 private:
  static absl::StatusOr<const Json*> LastMatch(const Json& entries,
                                               const std::string& quantizer,
                                               const std::string& path,
                                               std::vector<bool>* used) {
    const Json* last = nullptr;
    for (size_t i = 0; i < entries.size(); ++i) {
      const auto pattern =
          entries[i].is_object() ? TextField(entries[i], "quantizer_name") : std::nullopt;
      if (!pattern.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": quant_cfg[", i, "] has no quantizer_name"));
      }
      if (!FnMatch(*pattern, quantizer)) continue;
      last = &entries[i];
      (*used)[i] = true;
    }
    return last;
  }

  static void Gets(const Json& entry, Reading* reading) {
    const Json* cfg = ObjectField(entry, "cfg");
    const auto bits = cfg != nullptr ? IntField(*cfg, "num_bits") : std::nullopt;
    if (!bits.has_value()) {
      reading->gets = cfg != nullptr ? cfg->dump() : "ModelOpt's default, 8 bits";
      return;
    }
    IntScheme scheme{*bits, -1, true};
    if (const Json* blocks = ObjectField(*cfg, "block_sizes"); blocks != nullptr) {
      scheme.group = IntField(*blocks, "-1").value_or(0);
    } else if (IntField(*cfg, "axis") != 0) {
      reading->gets = absl::StrCat(*bits, " bits, one scale for the whole matrix");
      return;
    }
    GetsScheme(scheme, reading);
  }
};

}  // namespace

const TargetProfile* ModelOptProfile() { return TheOnly<ModelOpt>(); }

}  // namespace bitbudget::internal
