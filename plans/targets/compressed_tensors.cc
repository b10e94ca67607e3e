#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/targets/json_file.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "plans/targets/regex.h"
#include "runtime/base/regex.h"
#include "runtime/base/status_macros.h"

// compressed-tensors `quantization_config`, read by llm-compressor and compressed-tensors
// (utils/match.py, ac8e2ba8) module by module and by vLLM (compressed_tensors/utils.py, 008014e8)
// against its joined modules.
namespace bitbudget::internal {
namespace {

constexpr const char* kFormats[] = {"bf16",
                                    "f16",
                                    "f32",
                                    "int4-g32",
                                    "int4-g64",
                                    "int4-g128",
                                    "int4z-g32",
                                    "int4z-g64",
                                    "int4z-g128",
                                    "int8",
                                    "int8-g32",
                                    "int8-g64",
                                    "int8-g128"};

constexpr const char* kIgnore = "ignore";

struct Target {
  std::string text;
  std::optional<Regex> regex;  // of "re:..."
  int group = 0;
  bool used = false;
};

absl::StatusOr<Target> MakeTarget(const Json& value, int group, const std::string& path) {
  if (!value.is_string()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": a target that is no text"));
  }
  Target target;
  target.text = value.get<std::string>();
  target.group = group;
  if (absl::StartsWith(target.text, "re:")) {
    absl::StatusOr<Regex> regex = Regex::Compile(target.text.substr(3), RegexDialect::kPython);
    if (!regex.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
    }
    target.regex = *std::move(regex);
  }
  return target;
}

absl::StatusOr<bool> NameMatches(const Target& target, const std::string& name) {
  if (!target.regex.has_value()) return target.text == name;
  return target.regex->Matches(name, Regex::Where::kAtStart);
}

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
      : ModuleProfile({.loader_joins = true, .cols_multiple = 128, .joined_rows_multiple = 64}) {}

  absl::string_view name() const override { return "compressed-tensors"; }
  absl::string_view summary() const override {
    return "compressed-tensors: quantization_config for vLLM (pack-quantized) and a recipe for "
           "llm-compressor";
  }
  std::vector<Format> Formats() const override { return FormatsNamed(kFormats); }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    const TargetModel model = ModelOfPlan(plan);
    const std::vector<TargetUnit> units = Units(model);
    BB_ASSIGN_OR_RETURN(const std::vector<Format> formats, UnitFormats(*this, units, plan));
    std::vector<std::string> values(units.size());
    for (size_t u = 0; u < units.size(); ++u) {
      if (units[u].never_quantized) continue;
      values[u] = formats[u].IsFloat() ? kIgnore : formats[u].Name();
    }
    Json groups = Json::object();
    Json ignore = Json::array();
    for (const PatternRule& rule : PatternRules(units, model, values)) {
      if (rule.value == kIgnore) {
        ignore.push_back("re:" + rule.pattern);
        continue;
      }
      if (!groups.contains(rule.value)) {
        const IntScheme scheme = SchemeOf(*ParseFormat(rule.value));
        Json weights = {{"num_bits", scheme.bits},
                        {"type", "int"},
                        {"symmetric", scheme.symmetric},
                        {"strategy", scheme.group < 0 ? "channel" : "group"}};
        if (scheme.group > 0) weights["group_size"] = scheme.group;
        weights["dynamic"] = false;
        groups[rule.value] = {{"targets", Json::array()},
                              {"weights", std::move(weights)},
                              {"input_activations", nullptr},
                              {"output_activations", nullptr},
                              {"format", "pack-quantized"}};
      }
      groups[rule.value]["targets"].push_back("re:" + rule.pattern);
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

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    BB_ASSIGN_OR_RETURN(Json config, ParseJsonObject(contents, path));
    if (const Json* inner = ObjectField(config, "quantization_config"); inner != nullptr) {
      config = Json(*inner);  // a whole config.json
    }
    const Json* groups = ObjectField(config, "config_groups");
    if (groups == nullptr) return absl::InvalidArgumentError(path + ": no object 'config_groups'");
    std::vector<Json> schemes;
    std::vector<Target> targets, ignored;
    FileReading file;
    for (const auto& [key, group] : groups->items()) {
      BB_RETURN_IF_ERROR(CheckGroup(key, group, path));
      for (const Json& target : group["targets"]) {
        BB_ASSIGN_OR_RETURN(targets.emplace_back(),
                            MakeTarget(target, static_cast<int>(schemes.size()), path));
      }
      schemes.push_back(group);
    }
    if (const auto ignore = config.find("ignore"); ignore != config.end() && ignore->is_array()) {
      for (const Json& target : *ignore) {
        BB_ASSIGN_OR_RETURN(ignored.emplace_back(), MakeTarget(target, 0, path));
      }
    }
    const std::vector<TargetUnit> units = Units(model);
    file.readings = BlankReadings(units, /*fused=*/true);
    for (Reading& reading : file.readings) {
      const TargetUnit& unit = units[reading.unit];
      const bool fused = reading.name == unit.fused_name;
      if (model.components[unit.parts[0]].kind == "embed") {
        GetsKept(&reading);
        continue;
      }
      BB_ASSIGN_OR_RETURN(
          const bool is_ignored,
          fused ? VllmIgnores(unit, ignored, &reading) : Ignored(reading.name, ignored, &reading));
      Target* decides = nullptr;
      if (fused || unit.fused_name.empty()) {
        BB_ASSIGN_OR_RETURN(decides, VllmTarget(unit, model, targets, &reading));
      }
      if (!fused) {
        BB_ASSIGN_OR_RETURN(Target * by_module, ModuleTarget(reading.name, targets, &reading));
        if (decides != nullptr && by_module != nullptr && decides->group != by_module->group) {
          reading.problems.push_back(absl::StrCat(
              "llm-compressor takes ", by_module->text, ", vLLM takes ", decides->text));
        }
        if (by_module != nullptr) decides = by_module;
      }
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
        Gets(schemes[decides->group], &reading);
        if (unit.never_quantized) {
          reading.problems.push_back("vLLM does not read a quantized head from this format");
        }
      }
    }
    for (const auto* list : {&targets, &ignored}) {
      for (const Target& target : *list) {
        // A tied head is no component here, but a module.
        if (!target.used && target.text != "lm_head") file.unused.push_back(target.text);
      }
    }
    return file;
  }

 private:
  static absl::Status CheckGroup(const std::string& key,
                                 const Json& group,
                                 const std::string& path) {
    const auto bad = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": config_groups['", key, "'] ", what));
    };
    if (!group.is_object()) return bad("is no object");
    for (const auto& [field, unused] : group.items()) {
      static const std::set<std::string> kKnown = {
          "targets", "weights", "input_activations", "output_activations", "format"};
      if (!kKnown.contains(field)) return bad(absl::StrCat("has the unknown field '", field, "'"));
    }
    const auto targets = group.find("targets");
    if (targets == group.end() || !targets->is_array()) return bad("has no list of targets");
    return absl::OkStatus();
  }

  static absl::StatusOr<bool> Ignored(const std::string& name,
                                      std::vector<Target>& ignored,
                                      Reading* reading) {
    for (Target& target : ignored) {
      BB_ASSIGN_OR_RETURN(const bool matches, NameMatches(target, name));
      if (!matches) continue;
      target.used = true;
      reading->rule = absl::StrCat("ignore ", target.text);
      return true;
    }
    return false;
  }

  // vLLM asks for every part of what it joins, unless the joined name itself is on the list.
  static absl::StatusOr<bool> VllmIgnores(const TargetUnit& unit,
                                          std::vector<Target>& ignored,
                                          Reading* reading) {
    for (Target& target : ignored) {
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
  static absl::StatusOr<Target*> ModuleTarget(const std::string& name,
                                              std::vector<Target>& targets,
                                              Reading* reading) {
    Target* best = nullptr;
    int best_rank = 3;
    for (Target& target : targets) {
      BB_ASSIGN_OR_RETURN(bool matches, NameMatches(target, name));
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
  static absl::StatusOr<Target*> VllmTarget(const TargetUnit& unit,
                                            const TargetModel& model,
                                            std::vector<Target>& targets,
                                            Reading* reading) {
    const std::string& name = unit.fused_name.empty() ? unit.names[0] : unit.fused_name;
    for (Target& target : targets) {
      BB_ASSIGN_OR_RETURN(const bool matches, NameMatches(target, name));
      if (!matches) continue;
      target.used = true;
      return &target;
    }
    Target* by_class = nullptr;
    const std::string vllm_class = absl::AsciiStrToLower(VllmClass(unit, model));
    for (Target& target : targets) {
      BB_ASSIGN_OR_RETURN(bool matches, NameMatches(target, VllmClass(unit, model)));
      if (!target.regex.has_value()) {
        matches = absl::StrContains(vllm_class, absl::AsciiStrToLower(target.text));
      }
      if (matches && by_class == nullptr) by_class = &target;
    }
    Target* by_parts = nullptr;
    if (!unit.fused_name.empty()) {
      size_t matched = 0;
      for (const std::string& part : unit.names) {
        for (Target& target : targets) {
          BB_ASSIGN_OR_RETURN(const bool matches, NameMatches(target, part));
          if (!matches) continue;
          if (matched == 0) by_parts = &target;
          ++matched;
          break;
        }
      }
      if (matched < unit.names.size()) by_parts = nullptr;
    }
    if (by_class != nullptr && by_parts != nullptr && by_class->group != by_parts->group) {
      reading->problems.push_back(
          absl::StrCat("depends on the vLLM version: before 2026-07 the "
                       "class name takes ",
                       by_class->text,
                       ", later its parts take ",
                       by_parts->text));
    }
    Target* const decides = by_parts != nullptr ? by_parts : by_class;
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

const TargetProfile* CompressedTensorsProfile() {
  static const CompressedTensors* const profile = new CompressedTensors();
  return profile;
}

}  // namespace bitbudget::internal
