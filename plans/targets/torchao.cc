#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/targets/json_file.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "plans/targets/regex.h"
#include "runtime/base/regex.h"
#include "runtime/base/status_macros.h"

// torchao `FqnToConfig`, read in torchao/quantization/quant_api.py. The file is JSON that the
// driver turns into it: module -> arguments of IntxWeightOnlyConfig, or null to leave it alone.
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
                                    "int8-g128",
                                    "int8z",
                                    "int8z-g32",
                                    "int8z-g64",
                                    "int8z-g128"};

class TorchAo : public ModuleProfile {
 public:
  TorchAo() : ModuleProfile({.quantizes_head = true}) {}

  absl::string_view name() const override { return "torchao"; }
  absl::string_view summary() const override {
    return "torchao: FqnToConfig of IntxWeightOnlyConfig, as JSON and a driver";
  }
  std::vector<Format> Formats() const override { return FormatsNamed(kFormats); }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    const std::vector<TargetUnit> units = Units(ModelOfPlan(plan));
    BB_ASSIGN_OR_RETURN(const std::vector<Format> formats, UnitFormats(*this, units, plan));
    Json config = Json::object();
    for (size_t u = 0; u < units.size(); ++u) {
      const std::string& module = units[u].names[0];
      if (formats[u].IsFloat()) {
        config[module] = nullptr;
        continue;
      }
      const IntScheme scheme = SchemeOf(formats[u]);
      config[module] = {{"weight_dtype", absl::StrCat("int", scheme.bits)},
                        {"group_size", scheme.group < 0 ? Json(nullptr) : Json(scheme.group)},
                        {"mapping_type", scheme.symmetric ? "SYMMETRIC" : "ASYMMETRIC"}};
    }
    Export result;
    result.files.push_back({path, JsonText(config)});
    const std::string driver = PathBeside(path, ".py");
    result.files.push_back(
        {driver,
         absl::StrCat(
             "\"\"\"Quantizes a model with torchao as a bitbudget plan says.\n\n    python ",
             FileName(driver),
             " MODEL OUT\n\"\"\"\nimport json\nimport os\nimport sys\n"
             "from collections import OrderedDict\n\nimport torch\n"
             "from torchao.quantization import FqnToConfig, IntxWeightOnlyConfig, quantize_\n"
             "from torchao.quantization.granularity import PerAxis, PerGroup\n"
             "from torchao.quantization.quant_primitives import MappingType\n"
             "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\n"
             "def weights(entry):\n    if entry is None:\n        return None\n"
             "    group = entry[\"group_size\"]\n    return IntxWeightOnlyConfig(\n"
             "        weight_dtype=getattr(torch, entry[\"weight_dtype\"]),\n"
             "        granularity=PerAxis(0) if group is None else PerGroup(group),\n"
             "        mapping_type=MappingType[entry[\"mapping_type\"]])\n\n\n"
             "with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), ",
             PythonQuote(FileName(path)),
             ")) as file:\n    plan = json.load(file)\n"
             "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=\"auto\")\n"
             "quantize_(model, FqnToConfig(OrderedDict(\n"
             "    (name, weights(entry)) for name, entry in plan.items())), filter_fn=None)\n"
             "model.save_pretrained(sys.argv[2], safe_serialization=False)\n"
             "AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])\n")});
    result.instructions = absl::StrCat("python ", driver, " MODEL OUT");
    return result;
  }

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    BB_ASSIGN_OR_RETURN(const Json config, ParseJsonObject(contents, path));
    struct Rule {
      std::string text;
      std::optional<Regex> regex;
      const Json* value;
      bool used = false;
    };
    std::vector<Rule> rules;
    for (const auto& [key, value] : config.items()) {
      Rule rule{key, std::nullopt, &value};
      if (absl::StartsWith(key, "re:")) {
        absl::StatusOr<Regex> regex = Regex::Compile(key.substr(3), RegexDialect::kPython);
        if (!regex.ok()) {
          return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
        }
        rule.regex = *std::move(regex);
      }
      rules.push_back(std::move(rule));
    }
    FileReading file;
    const std::vector<TargetUnit> units = Units(model);
    file.readings = BlankReadings(units, /*fused=*/false);
    for (Reading& reading : file.readings) {
      // The parameter's name, the module's name, patterns for the one, patterns for the other.
      const std::string parameter = reading.name + ".weight";
      Rule* decides = nullptr;
      for (const bool pattern : {false, true}) {
        for (const std::string& name : {parameter, reading.name}) {
          for (Rule& rule : rules) {
            if (rule.regex.has_value() != pattern) continue;
            bool matches = rule.text == name;
            if (pattern) {
              BB_ASSIGN_OR_RETURN(matches, rule.regex->Matches(name, Regex::Where::kWhole));
            }
            if (!matches) continue;
            rule.used = true;
            if (decides == nullptr) {
              decides = &rule;
            } else if (*decides->value != *rule.value) {
              reading.problems.push_back(absl::StrCat("also matched by ", rule.text));
            }
          }
        }
      }
      if (decides == nullptr) {
        for (Rule& rule : rules) {
          if (rule.text == "_default") decides = &rule;
        }
        if (decides != nullptr) decides->used = true;
        reading.problems.push_back(decides != nullptr ? "only the deprecated _default names it"
                                                      : "no key names it");
      }
      if (decides == nullptr || decides->value->is_null()) {
        GetsKept(&reading);
      } else {
        BB_RETURN_IF_ERROR(Gets(*decides->value, path, &reading));
      }
      if (decides != nullptr) reading.rule = decides->text;
      if (units[reading.unit].never_quantized && !reading.kept) {
        reading.problems.push_back("an embedding, possibly shared with the head: leave it alone");
      }
    }
    for (const Rule& rule : rules) {
      if (!rule.used) file.unused.push_back(rule.text);
    }
    return file;
  }

 private:
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
                       value.dump().substr(0, 200),
                       " is not null and has no weight_dtype (int1 to int8) and mapping_type"));
    }
    scheme.symmetric = mapping == "SYMMETRIC";
    scheme.group = IntField(value, "group_size").value_or(-1);
    GetsScheme(scheme, reading);
    return absl::OkStatus();
  }
};

}  // namespace

const TargetProfile* TorchAoProfile() {
  static const TorchAo* const profile = new TorchAo();
  return profile;
}

}  // namespace bitbudget::internal
