#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/int_scheme.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "plans/targets/python_driver.h"

// MLX-LM `config.json: quantization` and `quant_predicate`, read in mlx_lm/utils.py (003da2e9).
namespace bitbudget::internal {
namespace {

constexpr PythonDriver kDriver = {"MODEL OUT",
                                  R"py("""Converts a model with MLX-LM as a bitbudget plan says.

    python $DRIVER $ARGUMENTS
"""
import json
import os
import sys

from mlx_lm import convert

with open($CONFIG) as file:
    quantization = json.load(file)["quantization"]


def predicate(path, module):
    return quantization.get(path, False)


convert(sys.argv[1], mlx_path=sys.argv[2], quantize=True,
        q_group_size=quantization["group_size"], q_bits=quantization["bits"],
        quant_predicate=predicate)
)py"};

class Mlx : public ModuleProfile {
 public:
  Mlx() : ModuleProfile({.quantizes_embedding = true, .quantizes_head = true}) {}

  absl::string_view name() const override { return "mlx"; }
  absl::string_view summary() const override {
    return "MLX-LM: the quantization dictionary of config.json and a driver for mlx_lm.convert";
  }

 protected:
  // "affine" stores a scale and an offset per group: what zero points say.
  std::vector<Format> IntegerFormats() const override {
    return FormatsNamed({"int2z-g*", "int3z-g*", "int4z-g*", "int8z-g*"});
  }

  absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                     const std::string& path) const override {
    // MLX-LM leaves a module alone when the default group size does not divide its inputs, whatever
    // is said of the module; the smallest one divides wherever the module's own does.
    int64_t group = 128;
    int64_t stored_bits = 0, weights = 0;
    Json modules = Json::object();
    for (size_t u = 0; u < planned.units.size(); ++u) {
      const std::string& module = planned.units[u].names[0];
      if (planned.formats[u].IsFloat()) {
        modules[module] = false;
        continue;
      }
      const IntScheme scheme = SchemeOf(planned.formats[u]);
      group = std::min(group, scheme.group);
      modules[module] = {{"group_size", scheme.group}, {"bits", scheme.bits}, {"mode", "affine"}};
      const int64_t count = planned.units[u].rows * planned.units[u].cols;
      weights += count;
      stored_bits += count * scheme.bits + count / scheme.group * 32;
    }
    Json quantization = {{"group_size", group}, {"bits", 4}, {"mode", "affine"}};
    quantization.update(modules);
    const Json config = {{"quantization", quantization}, {"quantization_config", quantization}};
    Export result = ExportWithDriver(path, config, kDriver);
    if (weights > 0) {
      absl::StrAppend(&result.instructions,
                      "\nMLX stores an f16 offset beside every f16 scale: the quantized modules "
                      "take ",
                      (stored_bits + 7) / 8,
                      " bytes there.");
    }
    return result;
  }

  absl::Status ReadConfig(const Json& config, ModuleFile* file) const override {
    const Json* quantization = ObjectField(config, "quantization");
    if (quantization == nullptr) quantization = &config;
    const auto default_group = IntField(*quantization, "group_size");
    if (!default_group.has_value() || *default_group <= 0 ||
        !IntField(*quantization, "bits").has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file->path, ": quantization has no numbers group_size and bits"));
    }
    std::set<std::string> known = {"group_size", "bits", "mode", "quant_method", "linear_class"};
    for (Reading& reading : file->reading.readings) {
      const int64_t cols = file->units[reading.unit].cols;
      known.insert(reading.name);
      const auto value = quantization->find(reading.name);
      if (value == quantization->end()) {
        reading.gets = "the default where the weights have scales, else as stored";
        reading.problems.push_back("no key names it");
        continue;
      }
      reading.rule = reading.name;
      if (value->is_boolean() && !value->get<bool>()) {
        GetsKept(&reading);
        continue;
      }
      const Json& fields = value->is_object() ? *value : *quantization;
      const int64_t group = IntField(fields, "group_size").value_or(*default_group);
      const int64_t bits = IntField(fields, "bits").value_or(0);
      const std::string mode = TextField(fields, "mode").value_or("affine");
      if (group <= 0 || (mode == "affine" && group != 32 && group != 64 && group != 128) ||
          (mode == "affine" && (bits < 2 || bits == 7 || bits > 8))) {
        reading.gets = "nothing";
        reading.problems.push_back(
            absl::StrCat("MLX has no ", bits, " bits in groups of ", group, ": it stops"));
      } else if (mode != "affine") {
        reading.gets = mode;
      } else {
        GetsScheme({bits, group, false}, &reading);
      }
      if (cols % *default_group != 0) {
        GetsKept(&reading);
        reading.problems.push_back(absl::StrCat("left alone: the default group size ",
                                                *default_group,
                                                " does not divide its ",
                                                cols,
                                                " inputs"));
      } else if (group > 0 && cols % group != 0) {
        reading.problems.push_back(
            absl::StrCat("groups of ", group, " do not divide its ", cols, " inputs: MLX stops"));
      }
    }
    for (const auto& [key, unused] : quantization->items()) {
      if (!known.contains(key)) file->reading.unused.push_back(key);
    }
    return absl::OkStatus();
  }
};

}  // namespace

const TargetProfile* MlxProfile() { return TheOnly<Mlx>(); }

}  // namespace bitbudget::internal
