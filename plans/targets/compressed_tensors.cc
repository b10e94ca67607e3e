#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/int_scheme.h"
#include "plans/targets/module_patterns.h"
#include "plans/targets/modules.h"
#include "plans/targets/name_rule.h"
#include "plans/targets/profiles.h"
#include "runtime/base/status_macros.h"

// compressed-tensors `quantization_config`, read by llm-compressor and compressed-tensors
// (utils/match.py, ac8e2ba8) module by module and by vLLM (compressed_tensors/utils.py, 008014e8)
// against its joined modules.
namespace bitbudget::internal {
namespace {

constexpr auto kMatch = Regex::Where::kAtStart;

// vLLM's class of what it joins or of a single module.
const char* VllmClass(const TargetUnit& unit, const TargetModel& model) {
  const std::string& kind = model.components[unit.parts[0]].kind;
  if (kind == "q") return "QKVParallelLinear";
  if (kind == "gate") return "MergedColumnParallelLinear";
  return kind == "head" ? "ParallelLMHead" : "RowParallelLinear";
}

class CompressedTensors : public ModuleProfile {
 public:
  CompressedTensors()
      : ModuleProfile({.loader_joins = true,
                       .asks_fused_names = true,
                       .cols_multiple = 128,
                       .joined_rows_multiple = 64}) {}

  absl::string_view name() const override { return "compressed-tensors"; }
  absl::string_view summary() const override {
    return "compressed-tensors: quantization_config for vLLM (pack-quantized) and a recipe for "
           "llm-compressor";
  }

 protected:
  std::vector<Format> QuantizedFormats() const override {
    return FormatsNamed({"int4-g*", "int4z-g*", "int8", "int8-g*"});
  }

  absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                     const std::string& path) const override {
    Json groups = Json::object();
    Json ignore = Json::array();
    for (const ModulePattern& rule : PatternsOf(planned)) {
      if (!rule.format.has_value()) {
        ignore.push_back("re:" + rule.pattern);
        continue;
      }
      const std::string group_name = rule.format->Name();
      if (!groups.contains(group_name)) {
        const IntScheme scheme = SchemeOf(*rule.format);
        Json weights = {{"num_bits", scheme.bits},
                        {"type", "int"},
                        {"symmetric", scheme.symmetric},
                        {"strategy", scheme.group < 0 ? "channel" : "group"}};
        if (scheme.group > 0) weights["group_size"] = scheme.group;
        weights["dynamic"] = false;
        groups[group_name] = {{"targets", Json::array()},
                              {"weights", std::move(weights)},
                              {"input_activations", nullptr},
                              {"output_activations", nullptr},
                              {"format", "pack-quantized"}};
      }
      groups[group_name]["targets"].push_back("re:" + rule.pattern);
    }
    // A tied head is a module too.
    ignore.push_back("lm_head");
    const Json config = {{"quant_method", "compressed-tensors"},
                         {"format", "pack-quantized"},
                         {"quantization_status", "compressed"},
                         {"config_groups", groups},
                         {"ignore", ignore},
                         {"kv_cache_scheme", nullptr}};
    // llm-compressor decides about storage itself. JSON is YAML.
    for (auto& group : groups) group.erase("format");
    const Json recipe = {
        {"quantization_stage",
         {{"quantization_modifiers",
           {{"QuantizationModifier", {{"config_groups", groups}, {"ignore", ignore}}}}}}}};
    Export result;
    result.files.push_back({path, JsonText(config)});
    const std::string recipe_path = PathBeside(path, ".recipe.yaml");
    result.files.push_back({recipe_path, JsonText(recipe)});
    result.instructions =
        absl::StrCat(path,
                     " is the quantization_config of a compressed checkpoint's config.json.\n",
                     recipe_path,
                     " makes one with llm-compressor: oneshot(model=MODEL, recipe=\"",
                     recipe_path,
                     "\", output_dir=OUT)");
    return result;
  }

  absl::Status ReadConfig(const Json& file_json, ModuleFile* file) const override {
    const Json* inner = ObjectField(file_json, "quantization_config");  // of a whole config.json
    const Json& config = inner != nullptr ? *inner : file_json;
    std::vector<NameRule> targets, ignored;
    BB_RETURN_IF_ERROR(ReadRules(config, file->path, &targets, &ignored));
    for (Reading& reading : file->reading.readings) {
      const TargetUnit& unit = file->units[reading.unit];
      if (file->model.components[unit.parts[0]].kind == "embed") {
        GetsKept(&reading);
        continue;
      }
      const bool fused = reading.name == unit.fused_name;
      BB_ASSIGN_OR_RETURN(
          const bool is_ignored,
          fused ? VllmIgnores(unit, ignored, &reading) : Ignored(reading.name, ignored, &reading));
      BB_ASSIGN_OR_RETURN(const NameRule* decides, Decides(*file, targets, &reading));
      if (is_ignored) {
        if (decides != nullptr && !absl::EqualsIgnoreCase(decides->text, "linear")) {
          reading.problems.push_back(absl::StrCat("ignored, but also targeted by ", decides->text));
        }
        GetsKept(&reading);
      } else if (decides == nullptr) {
        GetsKept(&reading);
        if (!unit.never_quantized) reading.problems.push_back("no target and no ignore matches");
      } else {
        reading.rule = decides->text;
        Gets(*decides->value, &reading);
        if (unit.never_quantized) {
          reading.problems.push_back("vLLM does not read a quantized head from this format");
        }
      }
    }
    AddUnused(targets, &file->reading);
    AddUnused(ignored, &file->reading);
    // A tied head is no component here, but a module.
    std::erase(file->reading.unused, "lm_head");
    return absl::OkStatus();
  }

 private:
  // The targets, whose values are their groups, and what is ignored.
  static absl::Status ReadRules(const Json& config,
                                const std::string& path,
                                std::vector<NameRule>* targets,
                                std::vector<NameRule>* ignored) {
    const auto add = [&](const Json& target, const Json* group, std::vector<NameRule>* rules) {
      if (!target.is_string()) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": a target is not a string"));
      }
      BB_ASSIGN_OR_RETURN(NameRule rule, NameOrPatternRule(target.get<std::string>(), group, path));
      rules->push_back(std::move(rule));
      return absl::OkStatus();
    };
    const Json* groups = ObjectField(config, "config_groups");
    if (groups == nullptr) return absl::InvalidArgumentError(path + ": no object 'config_groups'");
    for (const auto& [key, group] : groups->items()) {
      BB_RETURN_IF_ERROR(CheckGroup(key, group, path));
      for (const Json& target : group["targets"]) BB_RETURN_IF_ERROR(add(target, &group, targets));
    }
    if (const auto ignore = config.find("ignore"); ignore != config.end() && ignore->is_array()) {
      for (const Json& target : *ignore) BB_RETURN_IF_ERROR(add(target, nullptr, ignored));
    }
    return absl::OkStatus();
  }

  static absl::Status CheckGroup(const std::string& key,
                                 const Json& group,
                                 const std::string& path) {
    const auto bad = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": config_groups['", key, "'] ", what));
    };
    if (!group.is_object()) return bad("is not an object");
    for (const auto& [field, unused] : group.items()) {
      static const std::set<std::string> kKnown = {
          "targets", "weights", "input_activations", "output_activations", "format"};
      if (!kKnown.contains(field)) return bad(absl::StrCat("has the unknown field '", field, "'"));
    }
    const auto targets = group.find("targets");
    if (targets == group.end() || !targets->is_array()) return bad("has no list of targets");
    return absl::OkStatus();
  }

  // The target that decides about a name, for llm-compressor where both programs ask. Null: none.
  static absl::StatusOr<const NameRule*> Decides(const ModuleFile& file,
                                                 std::vector<NameRule>& targets,
                                                 Reading* reading) {
    const TargetUnit& unit = file.units[reading->unit];
    const bool fused = reading->name == unit.fused_name;
    const NameRule* by_vllm = nullptr;
    if (fused || unit.fused_name.empty()) {
      BB_ASSIGN_OR_RETURN(by_vllm, VllmTarget(unit, file.model, targets, reading));
    }
    if (fused) return by_vllm;
    BB_ASSIGN_OR_RETURN(const NameRule* by_module, ModuleTarget(reading->name, targets, reading));
    if (by_module == nullptr) return by_vllm;
    if (by_vllm != nullptr && by_vllm->value != by_module->value) {
      reading->problems.push_back(
          absl::StrCat("llm-compressor takes ", by_module->text, ", vLLM takes ", by_vllm->text));
    }
    return by_module;
  }

  static absl::StatusOr<bool> Ignored(const std::string& name,
                                      std::vector<NameRule>& ignored,
                                      Reading* reading) {
    for (NameRule& target : ignored) {
      BB_ASSIGN_OR_RETURN(const bool matches, target.Matches(name, kMatch));
      if (!matches) continue;
      target.used = true;
      reading->rule = absl::StrCat("ignore ", target.text);
      return true;
    }
    return false;
  }

  // vLLM asks for every part of what it joins, unless the joined name itself is on the list.
  static absl::StatusOr<bool> VllmIgnores(const TargetUnit& unit,
                                          std::vector<NameRule>& ignored,
                                          Reading* reading) {
    for (NameRule& target : ignored) {
      if (target.text == unit.fused_name) return Ignored(unit.fused_name, ignored, reading);
    }
    int count = 0;
    for (const std::string& name : unit.names) {
      BB_ASSIGN_OR_RETURN(const bool is_ignored, Ignored(name, ignored, reading));
      count += is_ignored;
    }
    if (count > 0 && count < static_cast<int>(unit.names.size())) {
      reading->problems.push_back("only some of its parts are ignored: vLLM refuses the model");
    }
    return count == static_cast<int>(unit.names.size());
  }

  // The most specific target: the name, then patterns, then the class.
  static absl::StatusOr<const NameRule*> ModuleTarget(const std::string& name,
                                                      std::vector<NameRule>& targets,
                                                      Reading* reading) {
    const NameRule* best = nullptr;
    int best_rank = 3;
    for (NameRule& target : targets) {
      BB_ASSIGN_OR_RETURN(bool matches, target.Matches(name, kMatch));
      int rank = target.regex.has_value() ? 1 : 0;
      if (target.text == "Linear") {
        matches = true;
        rank = 2;
      }
      if (!matches) continue;
      target.used = true;
      if (rank < best_rank) {
        best = &target;
        best_rank = rank;
      } else if (rank == best_rank) {
        reading->problems.push_back(absl::StrCat("also matched by ", target.text));
      }
    }
    return best;
  }

  // vLLM: the first target that matches the name, else (in either order, by version) one that is
  // contained in the class or those of all parts.
  static absl::StatusOr<const NameRule*> VllmTarget(const TargetUnit& unit,
                                                    const TargetModel& model,
                                                    std::vector<NameRule>& targets,
                                                    Reading* reading) {
    const std::string& name = unit.fused_name.empty() ? unit.names[0] : unit.fused_name;
    for (NameRule& target : targets) {
      BB_ASSIGN_OR_RETURN(const bool matches, target.Matches(name, kMatch));
      if (!matches) continue;
      target.used = true;
      return &target;
    }
    NameRule* by_class = nullptr;
    const std::string vllm_class = absl::AsciiStrToLower(VllmClass(unit, model));
    for (NameRule& target : targets) {
      BB_ASSIGN_OR_RETURN(bool matches, target.Matches(VllmClass(unit, model), kMatch));
      if (!target.regex.has_value()) {
        matches = absl::StrContains(vllm_class, absl::AsciiStrToLower(target.text));
      }
      if (matches && by_class == nullptr) by_class = &target;
    }
    NameRule* by_parts = nullptr;
    if (!unit.fused_name.empty()) {
      size_t matched = 0;
      for (const std::string& part : unit.names) {
        for (NameRule& target : targets) {
          BB_ASSIGN_OR_RETURN(const bool matches, target.Matches(part, kMatch));
          if (!matches) continue;
          if (matched == 0) by_parts = &target;
          ++matched;
          break;
        }
      }
      if (matched < unit.names.size()) by_parts = nullptr;
    }
    if (by_class != nullptr && by_parts != nullptr && by_class->value != by_parts->value) {
      reading->problems.push_back(
          absl::StrCat("depends on the vLLM version: before 2026-07 the "
                       "class name takes ",
                       by_class->text,
                       ", later its parts take ",
                       by_parts->text));
    }
    NameRule* const decides = by_parts != nullptr ? by_parts : by_class;
    if (decides != nullptr) decides->used = true;
    return decides;
  }

  static void Gets(const Json& group, Reading* reading) {
    const Json* weights = ObjectField(group, "weights");
    if (weights == nullptr) {
      GetsKept(reading);
      return;
    }
    const auto bits = IntField(*weights, "num_bits");
    const std::string type = TextField(*weights, "type").value_or("int");
    const std::string strategy = TextField(*weights, "strategy").value_or("");
    const int64_t size = IntField(*weights, "group_size").value_or(-1);
    const bool known = strategy == "channel" || (strategy == "group" && size > 0) ||
                       (strategy.empty() && size != 0);
    if (!bits.has_value() || type != "int" || !known) {
      reading->gets = weights->dump();
    } else {
      GetsScheme({*bits,
                  strategy == "channel" ? -1 : size,
                  BoolField(*weights, "symmetric").value_or(true)},
                 reading);
    }
    if (const auto input = group.find("input_activations");
        input != group.end() && !input->is_null()) {
      reading->problems.push_back("quantizes activations too");
    }
    if (const auto format = TextField(group, "format");
        format.has_value() && *format != "pack-quantized") {
      reading->problems.push_back(
          absl::StrCat("format '", *format, "' is not the one for integer weights alone"));
    }
  }
};

}  // namespace

const TargetProfile* CompressedTensorsProfile() { return TheOnly<CompressedTensors>(); }

}  // namespace bitbudget::internal
