#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/int_scheme.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "plans/targets/python_driver.h"
#include "runtime/tensor/block_format.h"

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

std::vector<Format> AffineFormats() {
  std::vector<Format> formats;
  for (const Format& format : SupportedFormats()) {
    if (format.kind == FormatKind::kAffine) formats.push_back(format);
  }
  return formats;
}

std::optional<Format> AffineOf(int64_t bits, int64_t group) {
  for (const Format& format : AffineFormats()) {
    if (format.bits == bits && format.group == group) return format;
  }
  return std::nullopt;
}

class Mlx : public ModuleProfile {
 public:
  Mlx() : ModuleProfile({.quantizes_embedding = true, .quantizes_head = true}) {}

  absl::string_view name() const override { return "mlx"; }
  absl::string_view summary() const override {
    return "MLX-LM: the quantization dictionary of config.json and a driver for mlx_lm.convert";
  }

  std::vector<Format> DefaultFormats() const override {
    // A bit more is worth more than groups of 32, which are for rows that nothing else divides.
    std::vector<Format> formats = AffineFormats();
    std::erase_if(formats, [](const Format& f) { return f.group == 32 && f.bits != 4; });
    return formats;
  }

  // Every integer format has a neighbour here, of another size.
  absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const override {
    const std::optional<Format> affine = AffineOf(format.bits, format.group);
    if (!format.IsInteger() || !affine.has_value()) return ModuleProfile::Resolve(unit, format);
    return absl::InvalidArgumentError(absl::StrCat(unit.names[0],
                                                   " in ",
                                                   format.Name(),
                                                   ": mlx stores an offset beside every scale, "
                                                   "which is ",
                                                   affine->Name(),
                                                   "; make the plan again, for target mlx"));
  }

 private:
  std::vector<Format> QuantizedFormats() const override {
    std::vector<Format> formats = AffineFormats();
    formats.push_back(BlockFormat(FormatKind::kMXFP4));
    return formats;
  }

  absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                     const std::string& path) const override {
    // MLX-LM leaves a module alone when the default group size does not divide its inputs, whatever
    // is said of the module; the smallest one divides wherever the module's own does.
    int64_t group = 128;
    Json modules = Json::object();
    for (size_t u = 0; u < planned.units.size(); ++u) {
      const Format& format = planned.formats[u];
      Json& module = modules[planned.units[u].names[0]];
      if (format.IsFloat()) {
        module = false;
        continue;
      }
      const int64_t own = format.GroupSize(planned.units[u].cols);
      group = std::min(group, own);
      module = {{"group_size", own},
                {"bits", format.bits},
                {"mode", format.kind == FormatKind::kAffine ? "affine" : format.Name()}};
    }
    Json quantization = {{"group_size", group}, {"bits", 4}, {"mode", "affine"}};
    quantization.update(modules);
    return ExportWithDriver(
        path, {{"quantization", quantization}, {"quantization_config", quantization}}, kDriver);
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
      Gets(TextField(fields, "mode").value_or("affine"),
           IntField(fields, "bits").value_or(0),
           group,
           &reading);
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

  static void Gets(const std::string& mode, int64_t bits, int64_t group, Reading* reading) {
    reading->gets = absl::StrCat(bits, " bits, groups of ", group, ", ", mode);
    if (mode == "affine") {
      reading->format = AffineOf(bits, group);
    } else if (mode == "mxfp4" && bits == 4 && group == 32) {
      reading->format = BlockFormat(FormatKind::kMXFP4);
    } else if (mode == "mxfp8" || mode == "nvfp4") {
      return;  // MLX has them, bitbudget has not
    }
    if (reading->format.has_value()) return;
    reading->problems.push_back(absl::StrCat("MLX has no ", reading->gets, ": it stops"));
    reading->gets = "nothing";
  }
};

}  // namespace

const TargetProfile* MlxProfile() { return TheOnly<Mlx>(); }

}  // namespace bitbudget::internal
