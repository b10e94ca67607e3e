#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/targets/json_file.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "plans/targets/regex.h"
#include "runtime/base/regex.h"
#include "runtime/base/status_macros.h"

// GPTQModel `QuantizeConfig.dynamic`, read in gptqmodel/quantization/config.py (f4c327a1); vLLM
// reads the same rules against its joined modules (quantization/utils/gptq_utils.py, 02239f5e).
namespace bitbudget::internal {
namespace {

// Symmetric only: vLLM's Marlin kernels, which it chooses by the base scheme, stop at a rule that
// is not.
constexpr const char* kFormats[] = {"bf16",
                                    "f16",
                                    "f32",
                                    "int4-g32",
                                    "int4-g64",
                                    "int4-g128",
                                    "int8",
                                    "int8-g32",
                                    "int8-g64",
                                    "int8-g128"};

constexpr const char* kSkip = "-:";

class GptqModel : public ModuleProfile {
 public:
  // What Marlin takes: inputs in 128s, outputs (joined) in 64s.
  GptqModel()
      : ModuleProfile({.loader_joins = true, .cols_multiple = 128, .joined_rows_multiple = 64}) {}

  absl::string_view name() const override { return "gptqmodel"; }
  absl::string_view summary() const override {
    return "GPTQModel: a quantize config with dynamic rules, loadable by vLLM (Marlin), and a "
           "driver";
  }
  std::vector<Format> Formats() const override { return FormatsNamed(kFormats); }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    const TargetModel model = ModelOfPlan(plan);
    const std::vector<TargetUnit> units = Units(model);
    BB_ASSIGN_OR_RETURN(const std::vector<Format> formats, UnitFormats(*this, units, plan));
    std::vector<std::string> values(units.size());
    std::map<Format, int64_t> weights;
    for (size_t u = 0; u < units.size(); ++u) {
      if (units[u].never_quantized) continue;
      values[u] = formats[u].IsFloat() ? kSkip : formats[u].Name();
      if (!formats[u].IsFloat()) weights[formats[u]] += units[u].rows * units[u].cols;
    }
    if (weights.empty()) {
      return absl::InvalidArgumentError("gptqmodel: the plan quantizes nothing that it could do");
    }
    const Format base =
        std::max_element(weights.begin(), weights.end(), [](const auto& a, const auto& b) {
          return a.second < b.second;
        })->first;
    Json dynamic = Json::object();
    for (const bool skip : {true, false}) {  // GPTQModel moves what it skips to the front
      for (const PatternRule& rule : PatternRules(units, model, values)) {
        if (skip != (rule.value == kSkip)) continue;
        if (skip) {
          dynamic[kSkip + rule.pattern] = Json::object();
        } else {
          dynamic["+:" + rule.pattern] = Fields(*ParseFormat(rule.value));
        }
      }
    }
    Json config = Fields(base);
    config["lm_head"] = false;
    config["dynamic"] = std::move(dynamic);
    Export result;
    result.files.push_back({path, JsonText(config)});
    const std::string driver = PathBeside(path, ".py");
    result.files.push_back(
        {driver,
         absl::StrCat(
             "\"\"\"Quantizes a model with GPTQModel as a bitbudget plan says.\n\n    python ",
             FileName(driver),
             " MODEL CALIBRATION.txt OUT\n\nCALIBRATION.txt: one text per line.\n\"\"\"\n"
             "import json\nimport os\nimport sys\n\nfrom gptqmodel import GPTQModel, "
             "QuantizeConfig\n\nwith "
             "open(os.path.join(os.path.dirname(os.path.abspath(__file__)), ",
             PythonQuote(FileName(path)),
             ")) as file:\n    config = QuantizeConfig(**json.load(file))\n"
             "with open(sys.argv[2]) as file:\n    texts = [line for line in file if "
             "line.strip()]\n"
             "model = GPTQModel.load(sys.argv[1], config)\nmodel.quantize(texts)\n"
             "model.save(sys.argv[3])\n")});
    result.instructions = absl::StrCat("python ", driver, " MODEL CALIBRATION.txt OUT");
    return result;
  }

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    BB_ASSIGN_OR_RETURN(const Json config, ParseJsonObject(contents, path));
    struct Rule {
      std::string text;
      bool skips;
      Regex regex;
      Json fields;
      bool used = false;
    };
    std::vector<Rule> rules;
    const Json* dynamic = ObjectField(config, "dynamic");
    if (dynamic == nullptr) return absl::InvalidArgumentError(path + ": no object 'dynamic'");
    for (const auto& [key, value] : dynamic->items()) {
      if (!value.is_object()) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": dynamic['", key, "']: no object"));
      }
      const bool skips = absl::StartsWith(key, "-:");
      const std::string pattern = skips || absl::StartsWith(key, "+:") ? key.substr(2) : key;
      absl::StatusOr<Regex> regex = Regex::Compile(pattern, RegexDialect::kPython);
      if (!regex.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
      }
      rules.push_back({key, skips, *std::move(regex), value});
    }
    FileReading file;
    const std::vector<TargetUnit> units = Units(model);
    file.readings = BlankReadings(units, /*fused=*/true);
    for (Reading& reading : file.readings) {
      if (units[reading.unit].never_quantized) {
        GetsKept(&reading);
        continue;
      }
      // GPTQModel puts what is skipped first when it quantizes, vLLM takes the rules as they stand.
      std::vector<Rule*> matching;
      for (Rule& rule : rules) {
        BB_ASSIGN_OR_RETURN(const bool matches,
                            rule.regex.Matches(reading.name, Regex::Where::kAtStart));
        if (!matches) continue;
        matching.push_back(&rule);
        rule.used = true;
      }
      if (matching.empty()) {
        reading.rule = "";
        Gets(config, config, &reading);
        reading.problems.push_back("no rule matches: the base scheme counts");
        continue;
      }
      const auto skip = std::find_if(
          matching.begin(), matching.end(), [](const Rule* rule) { return rule->skips; });
      const Rule* decides = skip != matching.end() ? *skip : matching.front();
      reading.rule = decides->text;
      if (decides->skips) {
        GetsKept(&reading);
      } else {
        Gets(decides->fields, config, &reading);
      }
      if (decides != matching.front()) {
        reading.problems.push_back(absl::StrCat(
            "GPTQModel skips it, and vLLM takes the first rule, ", matching.front()->text));
      } else if (matching.size() > 1) {
        reading.problems.push_back(absl::StrCat("also matched by ", matching[1]->text));
      }
    }
    for (const Rule& rule : rules) {
      if (!rule.used) file.unused.push_back(rule.text);
    }
    return file;
  }

 private:
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

const TargetProfile* GptqModelProfile() {
  static const GptqModel* const profile = new GptqModel();
  return profile;
}

}  // namespace bitbudget::internal
