#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/int_scheme.h"
#include "plans/targets/modules.h"
#include "plans/targets/name_rule.h"
#include "plans/targets/profiles.h"
#include "plans/targets/python_driver.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"

// torchao `FqnToConfig`, read in torchao/quantization/quant_api.py. The file is JSON that the
// driver turns into it: module -> arguments of IntxWeightOnlyConfig, or null to leave it alone.
namespace bitbudget::internal {
namespace {

constexpr PythonDriver kDriver = {"MODEL OUT",
                                  R"py("""Quantizes a model with torchao as a bitbudget plan says.

    python $DRIVER $ARGUMENTS
"""
import json
import os
import sys
from collections import OrderedDict

import torch
from torchao.quantization import FqnToConfig, IntxWeightOnlyConfig, quantize_
from torchao.quantization.granularity import PerAxis, PerGroup
from torchao.quantization.quant_primitives import MappingType
from transformers import AutoModelForCausalLM, AutoTokenizer


def weights(entry):
    if entry is None:
        return None
    group = entry["group_size"]
    return IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, entry["weight_dtype"]),
        granularity=PerAxis(0) if group is None else PerGroup(group),
        mapping_type=MappingType[entry["mapping_type"]])


with open($CONFIG) as file:
    plan = json.load(file)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype="auto")
quantize_(model, FqnToConfig(OrderedDict(
    (name, weights(entry)) for name, entry in plan.items())), filter_fn=None)
model.save_pretrained(sys.argv[2], safe_serialization=False)
AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
)py"};

class TorchAo : public ModuleProfile {
 public:
  TorchAo() : ModuleProfile({.quantizes_head = true}) {}

  absl::string_view name() const override { return "torchao"; }
  absl::string_view summary() const override {
    return "torchao: FqnToConfig of IntxWeightOnlyConfig, as JSON and a driver";
  }

 protected:
  std::vector<Format> QuantizedFormats() const override {
    return FormatsNamed({"int4-g*", "int4z-g*", "int8", "int8-g*", "int8z", "int8z-g*"});
  }

  absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                     const std::string& path) const override {
    Json config = Json::object();
    for (size_t u = 0; u < planned.units.size(); ++u) {
      const std::string& module = planned.units[u].names[0];
      if (planned.formats[u].IsFloat()) {
        config[module] = nullptr;
        continue;
      }
      const IntScheme scheme = SchemeOf(planned.formats[u]);
      config[module] = {{"weight_dtype", absl::StrCat("int", scheme.bits)},
                        {"group_size", scheme.group < 0 ? Json(nullptr) : Json(scheme.group)},
                        {"mapping_type", scheme.symmetric ? "SYMMETRIC" : "ASYMMETRIC"}};
    }
    return ExportWithDriver(path, config, kDriver);
  }

  absl::Status ReadConfig(const Json& config, ModuleFile* file) const override {
    std::vector<NameRule> rules;
    for (const auto& [key, value] : config.items()) {
      BB_ASSIGN_OR_RETURN(NameRule rule, NameOrPatternRule(key, &value, file->path));
      rules.push_back(std::move(rule));
    }
    for (Reading& reading : file->reading.readings) {
      BB_ASSIGN_OR_RETURN(const NameRule* decides, Decides(&rules, &reading));
      if (decides == nullptr || decides->value->is_null()) {
        GetsKept(&reading);
      } else {
        BB_RETURN_IF_ERROR(Gets(*decides->value, file->path, &reading));
      }
      if (decides != nullptr) reading.rule = decides->text;
      if (file->units[reading.unit].never_quantized && !reading.kept) {
        reading.problems.push_back("an embedding, possibly shared with the head: leave it alone");
      }
    }
    AddUnused(rules, &file->reading);
    return absl::OkStatus();
  }

 private:
  // The first match in torchao's order: the parameter's name, the module's name, patterns for the
  // one, patterns for the other, the default. Null: there is none.
  static absl::StatusOr<const NameRule*> Decides(std::vector<NameRule>* rules, Reading* reading) {
    const NameRule* decides = nullptr;
    for (const bool pattern : {false, true}) {
      for (const std::string& name : {reading->name + ".weight", reading->name}) {
        for (NameRule& rule : *rules) {
          if (rule.regex.has_value() != pattern) continue;
          BB_ASSIGN_OR_RETURN(const bool matches, rule.Matches(name, Regex::Where::kWhole));
          if (!matches) continue;
          rule.used = true;
          if (decides == nullptr) {
            decides = &rule;
          } else if (*decides->value != *rule.value) {
            reading->problems.push_back(absl::StrCat("also matched by ", rule.text));
          }
        }
      }
    }
    if (decides != nullptr) return decides;
    for (NameRule& rule : *rules) {
      if (rule.text != "_default") continue;
      rule.used = true;
      reading->problems.push_back("only the deprecated _default names it");
      return &rule;
    }
    reading->problems.push_back("no key names it");
    return nullptr;
  }

  static absl::Status Gets(const Json& value, const std::string& path, Reading* reading) {
    const auto type = value.is_object() ? TextField(value, "weight_dtype") : std::nullopt;
    const auto mapping = value.is_object() ? TextField(value, "mapping_type") : std::nullopt;
    IntScheme scheme;
    for (int bits = 1; bits <= 8; ++bits) {
      if (type == absl::StrCat("int", bits)) scheme.bits = bits;
    }
    if (scheme.bits == 0 || (mapping != "SYMMETRIC" && mapping != "ASYMMETRIC")) {
      return absl::InvalidArgumentError(
          absl::StrCat(path,
                       ": '",
                       reading->name,
                       "': ",
                       DumpJson(value).substr(0, 200),
                       " is not null and has no weight_dtype (int1 to int8) and mapping_type"));
    }
    scheme.symmetric = mapping == "SYMMETRIC";
    scheme.group = IntField(value, "group_size").value_or(-1);
    GetsScheme(scheme, reading);
    return absl::OkStatus();
  }
};

}  // namespace

const TargetProfile* TorchAoProfile() { return TheOnly<TorchAo>(); }

}  // namespace bitbudget::internal
