#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/int_scheme.h"
#include "plans/targets/modules.h"
#include "plans/targets/name_rule.h"
#include "plans/targets/profiles.h"
#include "plans/targets/python_driver.h"
#include "runtime/base/status_macros.h"

// AutoRound `layer_config`, read in auto_round/compressors/layer_config/resolver.py (2bc02646). Its
// models are loaded by vLLM and SGLang, which join modules.
namespace bitbudget::internal {
namespace {

constexpr PythonDriver kDriver = {"MODEL OUT",
                                  R"py("""Quantizes a model with AutoRound as a bitbudget plan says.

    python $DRIVER $ARGUMENTS
"""
import json
import os
import sys

from auto_round import AutoRound

with open($CONFIG) as file:
    layer_config = json.load(file)
AutoRound(sys.argv[1], scheme="W4A16", layer_config=layer_config).quantize_and_save(sys.argv[2], format="auto_round")
)py"};

// Sets what a value of layer_config says. Errors say what is wrong with the value.
absl::Status ReadValue(const Json& value, Reading* reading) {
  if (value.is_string()) {
    const std::string preset = absl::AsciiStrToUpper(value.get<std::string>());
    if (preset == "BF16") {
      GetsKept(reading);
      return absl::OkStatus();
    }
    for (const int bits : {2, 3, 4, 8}) {
      for (const int group : {32, 64, 128}) {
        const std::string name = absl::StrFormat(
            "W%dA16%s", bits, group == 128 ? std::string() : absl::StrFormat("G%d", group));
        if (preset == name) GetsScheme({bits, group, true}, reading);
      }
    }
    if (reading->gets.empty()) reading->gets = absl::StrCat("the preset ", preset);
    return absl::OkStatus();
  }
  if (!value.is_object()) {
    return absl::InvalidArgumentError("is neither a dictionary nor the name of a preset");
  }
  static constexpr const char* kKeys[] = {"bits",
                                          "group_size",
                                          "sym",
                                          "data_type",
                                          "act_bits",
                                          "act_group_size",
                                          "act_sym",
                                          "act_data_type",
                                          "act_dynamic",
                                          "super_bits",
                                          "super_group_size",
                                          "rotation_config",
                                          "scale_dtype",
                                          "fixed_by_user",
                                          "in_blocks"};
  for (const auto& [key, unused] : value.items()) {
    if (std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys)) {
      return absl::InvalidArgumentError(absl::StrCat("has the unknown key '", key, "'"));
    }
  }
  const auto bits = IntField(value, "bits");
  if (bits.has_value() && *bits >= 16) {
    GetsKept(reading);
    return absl::OkStatus();
  }
  const auto group = IntField(value, "group_size");
  const auto symmetric = BoolField(value, "sym");
  if (!bits.has_value() || !group.has_value() || !symmetric.has_value()) {
    reading->gets = "in part what the run's scheme says";
    reading->problems.push_back("bits, group_size or sym are not said");
    return absl::OkStatus();
  }
  const std::string type = TextField(value, "data_type").value_or("int");
  if (type != "int") {
    reading->gets = absl::StrCat(*bits, " bits of ", type);
    return absl::OkStatus();
  }
  GetsScheme({*bits, *group, *symmetric}, reading);
  if (IntField(value, "act_bits").value_or(16) < 16) {
    reading->problems.push_back("quantizes activations too");
  }
  return absl::OkStatus();
}

int64_t RowsOf(const std::string& name, const TargetUnit& unit) {
  const auto at = std::find(unit.names.begin(), unit.names.end(), name);
  return unit.name_rows[at - unit.names.begin()];
}

class AutoRound : public ModuleProfile {
 public:
  // Modules whose inputs or outputs 32 does not divide stay as they are, whatever a rule says.
  AutoRound() : ModuleProfile({.loader_joins = true, .cols_multiple = 32, .rows_multiple = 32}) {}

  absl::string_view name() const override { return "autoround"; }
  absl::string_view summary() const override {
    return "AutoRound: layer_config and a driver; modules that vLLM joins share a scheme";
  }

 protected:
  std::vector<Format> QuantizedFormats() const override {
    return FormatsNamed(
        {"int2-g*", "int2z-g*", "int3-g*", "int3z-g*", "int4-g*", "int4z-g*", "int8", "int8-g*"});
  }

  absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                     const std::string& path) const override {
    Json layers = Json::object();
    for (size_t u = 0; u < planned.units.size(); ++u) {
      if (planned.units[u].never_quantized) continue;
      for (const std::string& name : planned.units[u].names) {
        if (planned.formats[u].IsFloat()) {
          layers[name] = {{"bits", 16}};
          continue;
        }
        const IntScheme scheme = SchemeOf(planned.formats[u]);
        layers[name] = {{"bits", scheme.bits},
                        {"group_size", scheme.group},
                        {"sym", scheme.symmetric},
                        {"data_type", "int"}};
      }
    }
    return ExportWithDriver(path, layers, kDriver);
  }

  absl::Status ReadConfig(const Json& layers, ModuleFile* file) const override {
    // Exact names first, then every other key as a pattern that is searched for, '*' meaning '.*'.
    for (const auto& [key, value] : layers.items()) {
      BB_RETURN_IF_ERROR(ReadKey(key, value, file));
    }
    for (Reading& reading : file->reading.readings) {
      const TargetUnit& unit = file->units[reading.unit];
      if (unit.never_quantized) {
        GetsKept(&reading);
        continue;
      }
      if (reading.rule.empty()) {
        reading.gets = "the run's scheme";
        reading.problems.push_back("no key names it");
        continue;
      }
      const int64_t rows = RowsOf(reading.name, unit);
      if (!reading.kept && (rows % 32 != 0 || unit.cols % 32 != 0)) {
        GetsKept(&reading);
        reading.problems.push_back(absl::StrCat(
            "AutoRound leaves modules alone whose inputs or outputs 32 does not divide: ",
            rows,
            " x ",
            unit.cols));
      }
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status ReadKey(const std::string& key, const Json& value, ModuleFile* file) {
    std::vector<Reading>& readings = file->reading.readings;
    const bool is_name = std::any_of(
        readings.begin(), readings.end(), [&](const Reading& r) { return r.name == key; });
    NameRule rule{key, std::nullopt, &value};
    if (!is_name) {
      const std::string pattern = absl::StrReplaceAll(key, {{"*", ".*"}});
      BB_ASSIGN_OR_RETURN(rule, PatternRule(key, pattern, &value, file->path));
    }
    for (Reading& reading : readings) {
      if (file->units[reading.unit].never_quantized) continue;
      BB_ASSIGN_OR_RETURN(const bool matches, rule.Matches(reading.name, Regex::Where::kAnywhere));
      if (!matches) continue;
      rule.used = true;
      if (!reading.rule.empty()) {
        reading.problems.push_back(absl::StrCat("matched by '",
                                                reading.rule,
                                                "' and '",
                                                key,
                                                "': which counts depends on the version"));
      }
      reading.rule = key;
      reading.gets.clear();
      const absl::Status status = ReadValue(value, &reading);
      if (!status.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat(file->path, ": '", key, "' ", status.message()));
      }
    }
    if (!rule.used) file->reading.unused.push_back(key);
    return absl::OkStatus();
  }
};

}  // namespace

const TargetProfile* AutoRoundProfile() { return TheOnly<AutoRound>(); }

}  // namespace bitbudget::internal
