#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "plans/targets/json_file.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "plans/targets/regex.h"
#include "runtime/base/regex.h"
#include "runtime/base/status_macros.h"

// AutoRound `layer_config`, read in auto_round/compressors/layer_config/resolver.py (2bc02646). Its
// models are loaded by vLLM and SGLang, which join modules.
namespace bitbudget::internal {
namespace {

constexpr const char* kFormats[] = {
    "bf16",      "f16",      "f32",        "int2-g128", "int2-g32",  "int2-g64",   "int3-g128",
    "int3-g32",  "int3-g64", "int2z-g128", "int2z-g32", "int2z-g64", "int3z-g128", "int3z-g32",
    "int3z-g64", "int4-g32", "int4-g64",   "int4-g128", "int4z-g32", "int4z-g64",  "int4z-g128",
    "int8",      "int8-g32", "int8-g64",   "int8-g128"};

// What a value of layer_config says; text: what is wrong with it.
absl::Status ReadValue(const Json& value, Reading* reading) {
  Json config = value;
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
  std::vector<Format> Formats() const override { return FormatsNamed(kFormats); }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    const std::vector<TargetUnit> units = Units(ModelOfPlan(plan));
    BB_ASSIGN_OR_RETURN(const std::vector<Format> formats, UnitFormats(*this, units, plan));
    Json layers = Json::object();
    for (size_t u = 0; u < units.size(); ++u) {
      if (units[u].never_quantized) continue;
      for (const std::string& name : units[u].names) {
        if (formats[u].IsFloat()) {
          layers[name] = {{"bits", 16}};
          continue;
        }
        const IntScheme scheme = SchemeOf(formats[u]);
        layers[name] = {{"bits", scheme.bits},
                        {"group_size", scheme.group},
                        {"sym", scheme.symmetric},
                        {"data_type", "int"}};
      }
    }
    Export result;
    result.files.push_back({path, JsonText(layers)});
    const std::string driver = PathBeside(path, ".py");
    result.files.push_back(
        {driver,
         absl::StrCat(
             "\"\"\"Quantizes a model with AutoRound as a bitbudget plan says.\n\n    python ",
             FileName(driver),
             " MODEL OUT\n\"\"\"\nimport json\nimport os\nimport sys\n\n"
             "from auto_round import AutoRound\n\n"
             "with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), ",
             PythonQuote(FileName(path)),
             ")) as file:\n    layer_config = json.load(file)\n"
             "AutoRound(sys.argv[1], scheme=\"W4A16\", layer_config=layer_config)"
             ".quantize_and_save(sys.argv[2], format=\"auto_round\")\n")});
    result.instructions = absl::StrCat("python ", driver, " MODEL OUT");
    return result;
  }

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    BB_ASSIGN_OR_RETURN(const Json layers, ParseJsonObject(contents, path));
    FileReading file;
    const std::vector<TargetUnit> units = Units(model);
    file.readings = BlankReadings(units, /*fused=*/false);
    std::vector<bool> exact(file.readings.size(), false);
    // Exact names first, then every other key as a pattern that is searched for, '*' meaning '.*'.
    for (const auto& [key, value] : layers.items()) {
      bool used = false, is_name = false;
      for (size_t i = 0; i < file.readings.size(); ++i) {
        Reading& reading = file.readings[i];
        if (reading.name != key) continue;
        is_name = true;
        if (units[reading.unit].never_quantized) continue;
        used = exact[i] = true;
        if (!reading.rule.empty()) NoteSecond(key, &reading);
        BB_RETURN_IF_ERROR(Apply(key, value, path, &reading));
      }
      if (!is_name) {
        const std::string pattern = absl::StrReplaceAll(key, {{"*", ".*"}});
        const absl::StatusOr<Regex> regex = Regex::Compile(pattern, RegexDialect::kPython);
        if (!regex.ok()) {
          return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
        }
        for (Reading& reading : file.readings) {
          if (units[reading.unit].never_quantized) continue;
          BB_ASSIGN_OR_RETURN(const bool matches,
                              regex->Matches(reading.name, Regex::Where::kAnywhere));
          if (!matches) continue;
          used = true;
          if (!reading.rule.empty()) NoteSecond(key, &reading);
          BB_RETURN_IF_ERROR(Apply(key, value, path, &reading));
        }
      }
      if (!used) file.unused.push_back(key);
    }
    for (Reading& reading : file.readings) {
      const TargetUnit& unit = units[reading.unit];
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
    return file;
  }

 private:
  static void NoteSecond(const std::string& key, Reading* reading) {
    reading->problems.push_back(absl::StrCat("matched by '",
                                             reading->rule,
                                             "' and '",
                                             key,
                                             "': which counts depends on "
                                             "the version"));
  }

  static absl::Status Apply(const std::string& key,
                            const Json& value,
                            const std::string& path,
                            Reading* reading) {
    reading->rule = key;
    reading->gets.clear();
    const absl::Status status = ReadValue(value, reading);
    if (status.ok()) return status;
    return absl::InvalidArgumentError(absl::StrCat(path, ": '", key, "' ", status.message()));
  }
};

}  // namespace

const TargetProfile* AutoRoundProfile() {
  static const AutoRound* const profile = new AutoRound();
  return profile;
}

}  // namespace bitbudget::internal
