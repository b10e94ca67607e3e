#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/json_file.h"
#include "plans/targets/modules.h"
#include "plans/targets/profiles.h"
#include "plans/targets/regex.h"
#include "runtime/base/status_macros.h"

// NVIDIA ModelOpt `quant_cfg`, the list form: every entry is a glob on quantizers
// (<module>.weight_quantizer), the last match wins. Read in modelopt/torch/quantization
// (model_quant.py, a2fbac7b).
namespace bitbudget::internal {
namespace {

// Its integer quantizers are symmetric.
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

class ModelOpt : public ModuleProfile {
 public:
  ModelOpt() : ModuleProfile({.loader_joins = true}) {}

  absl::string_view name() const override { return "modelopt"; }
  absl::string_view summary() const override {
    return "NVIDIA ModelOpt: quant_cfg and a driver; modules that vLLM joins share a scheme";
  }
  std::vector<Format> Formats() const override { return FormatsNamed(kFormats); }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    const std::vector<TargetUnit> units = Units(ModelOfPlan(plan));
    BB_ASSIGN_OR_RETURN(const std::vector<Format> formats, UnitFormats(*this, units, plan));
    Json entries = Json::array();
    entries.push_back({{"quantizer_name", "*"}, {"enable", false}});
    for (size_t u = 0; u < units.size(); ++u) {
      if (formats[u].IsFloat()) continue;
      const IntScheme scheme = SchemeOf(formats[u]);
      Json cfg = {{"num_bits", scheme.bits}};
      if (scheme.group < 0) {
        cfg["axis"] = 0;
      } else {
        cfg["block_sizes"] = {{"-1", scheme.group}};
      }
      for (const std::string& name : units[u].names) {
        entries.push_back(
            {{"quantizer_name", name + ".weight_quantizer"}, {"cfg", cfg}, {"enable", true}});
      }
    }
    const Json config = {{"quant_cfg", std::move(entries)}, {"algorithm", "max"}};
    Export result;
    result.files.push_back({path, JsonText(config)});
    const std::string driver = PathBeside(path, ".py");
    result.files.push_back(
        {driver,
         absl::StrCat(
             "\"\"\"Quantizes a model with NVIDIA ModelOpt as a bitbudget plan says.\n\n    "
             "python ",
             FileName(driver),
             " MODEL OUT\n\"\"\"\nimport json\nimport os\nimport sys\n\n"
             "import modelopt.torch.quantization as mtq\n"
             "from modelopt.torch.export import export_hf_checkpoint\n"
             "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
             "with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), ",
             PythonQuote(FileName(path)),
             ")) as file:\n    config = json.load(file)\n"
             "for entry in config[\"quant_cfg\"]:  # JSON has no numbers as keys\n"
             "    blocks = entry.get(\"cfg\", {}).get(\"block_sizes\")\n"
             "    if blocks:\n"
             "        entry[\"cfg\"][\"block_sizes\"] = {int(k): v for k, v in blocks.items()}\n"
             "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=\"auto\")\n"
             "mtq.quantize(model, config, forward_loop=None)\n"
             "export_hf_checkpoint(model, export_dir=sys.argv[2])\n"
             "AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])\n")});
    result.instructions = absl::StrCat("python ", driver, " MODEL OUT");
    return result;
  }

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    BB_ASSIGN_OR_RETURN(const Json config, ParseJsonObject(contents, path));
    const auto entries = config.find("quant_cfg");
    if (entries == config.end() || !entries->is_array()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": no list 'quant_cfg'"));
    }
    FileReading file;
    const std::vector<TargetUnit> units = Units(model);
    file.readings = BlankReadings(units, /*fused=*/false);
    std::vector<bool> used(entries->size(), false);
    for (Reading& reading : file.readings) {
      BB_ASSIGN_OR_RETURN(const Json* weights,
                          LastMatch(*entries, reading.name + ".weight_quantizer", path, &used));
      BB_ASSIGN_OR_RETURN(const Json* inputs,
                          LastMatch(*entries, reading.name + ".input_quantizer", path, &used));
      if (weights == nullptr) {
        reading.gets = "ModelOpt's default, 8 bits";
        reading.problems.push_back("no entry matches");
        continue;
      }
      reading.rule = *TextField(*weights, "quantizer_name");
      if (BoolField(*weights, "enable").value_or(true)) {
        Gets(*weights, &reading);
      } else {
        GetsKept(&reading);
      }
      if (inputs == nullptr || BoolField(*inputs, "enable").value_or(true)) {
        reading.problems.push_back("its activations are quantized too");
      }
      if (units[reading.unit].never_quantized && !reading.kept) {
        reading.problems.push_back("loaders keep embedding and head as they are stored");
      }
    }
    for (size_t i = 0; i < entries->size(); ++i) {
      if (!used[i]) file.unused.push_back(*TextField((*entries)[i], "quantizer_name"));
    }
    return file;
  }

 private:
  static absl::StatusOr<const Json*> LastMatch(const Json& entries,
                                               const std::string& quantizer,
                                               const std::string& path,
                                               std::vector<bool>* used) {
    const Json* last = nullptr;
    for (size_t i = 0; i < entries.size(); ++i) {
      const auto pattern =
          entries[i].is_object() ? TextField(entries[i], "quantizer_name") : std::nullopt;
      if (!pattern.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": quant_cfg[", i, "] has no quantizer_name"));
      }
      if (!FnMatch(*pattern, quantizer)) continue;
      last = &entries[i];
      (*used)[i] = true;
    }
    return last;
  }

  static void Gets(const Json& entry, Reading* reading) {
    const Json* cfg = ObjectField(entry, "cfg");
    const auto bits = cfg != nullptr ? IntField(*cfg, "num_bits") : std::nullopt;
    if (!bits.has_value()) {
      reading->gets = cfg != nullptr ? cfg->dump() : "ModelOpt's default, 8 bits";
      return;
    }
    IntScheme scheme{*bits, -1, true};
    if (const Json* blocks = ObjectField(*cfg, "block_sizes"); blocks != nullptr) {
      scheme.group = IntField(*blocks, "-1").value_or(0);
    } else if (IntField(*cfg, "axis") != 0) {
      reading->gets = absl::StrCat(*bits, " bits, one scale for the whole matrix");
      return;
    }
    GetsScheme(scheme, reading);
  }
};

}  // namespace

const TargetProfile* ModelOptProfile() {
  static const ModelOpt* const profile = new ModelOpt();
  return profile;
}

}  // namespace bitbudget::internal
