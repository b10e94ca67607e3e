#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/json_file.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "runtime/base/status_macros.h"

// MLX-LM `config.json: quantization` and `quant_predicate`, read in mlx_lm/utils.py (003da2e9).
namespace bitbudget::internal {
namespace {

// "affine" stores a scale and an offset per group: what zero points say.
constexpr const char* kFormats[] = {"bf16",
                                    "f16",
                                    "f32",
                                    "int2z-g128",
                                    "int2z-g32",
                                    "int2z-g64",
                                    "int3z-g128",
                                    "int3z-g32",
                                    "int3z-g64",
                                    "int4z-g32",
                                    "int4z-g64",
                                    "int4z-g128",
                                    "int8z-g32",
                                    "int8z-g64",
                                    "int8z-g128"};

class Mlx : public ModuleProfile {
 public:
  Mlx() : ModuleProfile({.quantizes_embedding = true, .quantizes_head = true}) {}

  absl::string_view name() const override { return "mlx"; }
  absl::string_view summary() const override {
    return "MLX-LM: the quantization dictionary of config.json and a driver for mlx_lm.convert";
  }
  std::vector<Format> Formats() const override { return FormatsNamed(kFormats); }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    const std::vector<TargetUnit> units = Units(ModelOfPlan(plan));
    BB_ASSIGN_OR_RETURN(const std::vector<Format> formats, UnitFormats(*this, units, plan));
    // MLX-LM leaves a module alone when the default group size does not divide its inputs, whatever
    // is said of the module; the smallest one divides wherever the module's own does.
    int64_t group = 128;
    int64_t stored_bits = 0, weights = 0;
    Json modules = Json::object();
    for (size_t u = 0; u < units.size(); ++u) {
      const std::string& module = units[u].names[0];
      if (formats[u].IsFloat()) {
        modules[module] = false;
        continue;
      }
      const IntScheme scheme = SchemeOf(formats[u]);
      group = std::min(group, scheme.group);
      modules[module] = {{"group_size", scheme.group}, {"bits", scheme.bits}, {"mode", "affine"}};
      const int64_t count = units[u].rows * units[u].cols;
      weights += count;
      stored_bits += count * scheme.bits + count / scheme.group * 32;
    }
    Json quantization = {{"group_size", group}, {"bits", 4}, {"mode", "affine"}};
    quantization.update(modules);
    const Json config = {{"quantization", quantization}, {"quantization_config", quantization}};
    Export result;
    result.files.push_back({path, JsonText(config)});
    const std::string driver = PathBeside(path, ".py");
    result.files.push_back(
        {driver,
         absl::StrCat("\"\"\"Converts a model with MLX-LM as a bitbudget plan says.\n\n    python ",
                      FileName(driver),
                      " MODEL OUT\n\"\"\"\nimport json\nimport os\nimport sys\n\n"
                      "from mlx_lm import convert\n\n"
                      "with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), ",
                      PythonQuote(FileName(path)),
                      ")) as file:\n    quantization = json.load(file)[\"quantization\"]\n\n\n"
                      "def predicate(path, module):\n    return quantization.get(path, False)\n\n\n"
                      "convert(sys.argv[1], mlx_path=sys.argv[2], quantize=True,\n"
                      "        q_group_size=quantization[\"group_size\"], "
                      "q_bits=quantization[\"bits\"],\n        quant_predicate=predicate)\n")});
    result.instructions = absl::StrCat("python ", driver, " MODEL OUT");
    if (weights > 0) {
      absl::StrAppend(&result.instructions,
                      "\nMLX stores an f16 offset beside every f16 scale: the quantized modules "
                      "take ",
                      (stored_bits + 7) / 8,
                      " bytes there.");
    }
    return result;
  }

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    BB_ASSIGN_OR_RETURN(const Json config, ParseJsonObject(contents, path));
    const Json* quantization = ObjectField(config, "quantization");
    if (quantization == nullptr) quantization = &config;
    const auto default_group = IntField(*quantization, "group_size");
    if (!default_group.has_value() || *default_group <= 0 ||
        !IntField(*quantization, "bits").has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": quantization has no numbers group_size and bits"));
    }
    FileReading file;
    const std::vector<TargetUnit> units = Units(model);
    file.readings = BlankReadings(units, /*fused=*/false);
    std::set<std::string> known = {"group_size", "bits", "mode", "quant_method", "linear_class"};
    for (Reading& reading : file.readings) {
      const int64_t cols = units[reading.unit].cols;
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
      if (!known.contains(key)) file.unused.push_back(key);
    }
    return file;
  }
};

}  // namespace

const TargetProfile* MlxProfile() {
  static const Mlx* const profile = new Mlx();
  return profile;
}

}  // namespace bitbudget::internal
