#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/int_scheme.h"
#include "plans/targets/module_patterns.h"
#include "plans/targets/modules.h"
#include "plans/targets/name_rule.h"
#include "plans/targets/profiles.h"
#include "plans/targets/python_driver.h"
#include "runtime/base/status_macros.h"

// GPTQModel `QuantizeConfig.dynamic`, read in gptqmodel/quantization/config.py (f4c327a1); vLLM
// reads the same rules against its joined modules (quantization/utils/gptq_utils.py, 02239f5e).
namespace bitbudget::internal {
namespace {

constexpr PythonDriver kDriver = {"MODEL CALIBRATION.txt OUT",
                                  R"py("""Quantizes a model with GPTQModel as a bitbudget plan says.

    python $DRIVER $ARGUMENTS

CALIBRATION.txt: one text per line.
"""
import json
import os
import sys

from gptqmodel import GPTQModel, QuantizeConfig

with open($CONFIG) as file:
    config = QuantizeConfig(**json.load(file))
with open(sys.argv[2]) as file:
    texts = [line for line in file if line.strip()]
model = GPTQModel.load(sys.argv[1], config)
model.quantize(texts)
model.save(sys.argv[3])
)py"};

constexpr const char* kSkip = "-:";

bool Skips(const NameRule& rule) { return absl::StartsWith(rule.text, kSkip); }

class GptqModel : public ModuleProfile {
 public:
  // What Marlin takes: inputs in 128s, outputs (joined) in 64s.
  GptqModel()
      : ModuleProfile({.loader_joins = true,
                       .asks_fused_names = true,
                       .cols_multiple = 128,
                       .joined_rows_multiple = 64}) {}

  absl::string_view name() const override { return "gptqmodel"; }
  absl::string_view summary() const override {
    return "GPTQModel: a quantize config with dynamic rules, loadable by vLLM (Marlin), and a "
           "driver";
  }

 protected:
  // Symmetric only: vLLM's Marlin kernels, which it chooses by the base scheme, stop at a rule that
  // is not.
  std::vector<Format> QuantizedFormats() const override {
    return FormatsNamed({"int4-g*", "int8", "int8-g*"});
  }

  absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                     const std::string& path) const override {
    std::map<Format, int64_t> weights;
    for (size_t u = 0; u < planned.units.size(); ++u) {
      const TargetUnit& unit = planned.units[u];
      if (unit.never_quantized || planned.formats[u].IsFloat()) continue;
      weights[planned.formats[u]] += unit.rows * unit.cols;
    }
    if (weights.empty()) {
      return absl::InvalidArgumentError("gptqmodel: the plan quantizes nothing that it could do");
    }
    const Format base =
        std::max_element(weights.begin(), weights.end(), [](const auto& a, const auto& b) {
          return a.second < b.second;
        })->first;
    const std::vector<ModulePattern> patterns = PatternsOf(planned);
    Json dynamic = Json::object();  // GPTQModel moves what it skips to the front
    for (const ModulePattern& rule : patterns) {
      if (!rule.format.has_value()) dynamic[kSkip + rule.pattern] = Json::object();
    }
    for (const ModulePattern& rule : patterns) {
      if (rule.format.has_value()) dynamic["+:" + rule.pattern] = Fields(*rule.format);
    }
    Json config = Fields(base);
    config["lm_head"] = false;
    config["dynamic"] = std::move(dynamic);
    return ExportWithDriver(path, config, kDriver);
  }

  absl::Status ReadConfig(const Json& config, ModuleFile* file) const override {
    const Json* dynamic = ObjectField(config, "dynamic");
    if (dynamic == nullptr) {
      return absl::InvalidArgumentError(file->path + ": no object 'dynamic'");
    }
    std::vector<NameRule> rules;
    for (const auto& [key, value] : dynamic->items()) {
      if (!value.is_object()) {
        return absl::InvalidArgumentError(
            absl::StrCat(file->path, ": dynamic['", key, "'] is not an object"));
      }
      const bool marked = absl::StartsWith(key, kSkip) || absl::StartsWith(key, "+:");
      BB_ASSIGN_OR_RETURN(NameRule rule,
                          PatternRule(key, marked ? key.substr(2) : key, &value, file->path));
      rules.push_back(std::move(rule));
    }
    for (Reading& reading : file->reading.readings) {
      if (file->units[reading.unit].never_quantized) {
        GetsKept(&reading);
        continue;
      }
      BB_RETURN_IF_ERROR(Decide(config, &rules, &reading));
    }
    AddUnused(rules, &file->reading);
    return absl::OkStatus();
  }

 private:
  static absl::Status Decide(const Json& config, std::vector<NameRule>* rules, Reading* reading) {
    std::vector<const NameRule*> matching;
    for (NameRule& rule : *rules) {
      BB_ASSIGN_OR_RETURN(const bool matches, rule.Matches(reading->name, Regex::Where::kAtStart));
      if (!matches) continue;
      rule.used = true;
      matching.push_back(&rule);
    }
    if (matching.empty()) {
      Gets(config, config, reading);
      reading->problems.push_back("no rule matches: the base scheme counts");
      return absl::OkStatus();
    }
    // GPTQModel puts what is skipped first when it quantizes, vLLM takes the rules as they stand.
    const auto skip = std::find_if(
        matching.begin(), matching.end(), [](const NameRule* rule) { return Skips(*rule); });
    const NameRule& decides = skip != matching.end() ? **skip : *matching.front();
    reading->rule = decides.text;
    if (Skips(decides)) {
      GetsKept(reading);
    } else {
      Gets(*decides.value, config, reading);
    }
    if (&decides != matching.front()) {
      reading->problems.push_back(absl::StrCat(
          "GPTQModel skips it, and vLLM takes the first rule, ", matching.front()->text));
    } else if (matching.size() > 1) {
      reading->problems.push_back(absl::StrCat("also matched by ", matching[1]->text));
    }
    return absl::OkStatus();
  }

  static Json Fields(const Format& format) {
    const IntScheme scheme = SchemeOf(format);
    return {{"bits", scheme.bits},
            {"group_size", scheme.group},
            {"sym", scheme.symmetric},
            {"desc_act", false}};
  }

  // What `fields` say, with the base scheme where they say nothing.
  static void Gets(const Json& fields, const Json& base, Reading* reading) {
    const auto bits = IntField(fields, "bits");
    const auto group = IntField(fields, "group_size");
    const auto symmetric = BoolField(fields, "sym");
    IntScheme scheme;
    scheme.bits = bits.value_or(IntField(base, "bits").value_or(4));
    scheme.group = group.value_or(IntField(base, "group_size").value_or(128));
    scheme.symmetric = symmetric.value_or(BoolField(base, "sym").value_or(true));
    GetsScheme(scheme, reading);
    if (scheme.bits != 4 && scheme.bits != 8) {
      reading->problems.push_back(
          absl::StrCat("vLLM's Marlin kernels have 4 and 8 bits, not ", scheme.bits));
    }
    if (!scheme.symmetric) {
      reading->problems.push_back("vLLM's Marlin kernels are symmetric, this rule is not");
    }
  }
};

}  // namespace

const TargetProfile* GptqModelProfile() { return TheOnly<GptqModel>(); }

}  // namespace bitbudget::internal
