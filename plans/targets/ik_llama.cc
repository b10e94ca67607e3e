#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "plans/targets/gguf.h"
#include "plans/targets/profiles.h"
#include "runtime/base/status_macros.h"

// ik_llama.cpp: `llama-quantize --custom-q`, read in examples/quantize/quantize.cpp and
// src/llama-quantize.cpp (0296c609). The file is a recipe as the GGUF-Tool-Suite shares them: one
// rule per line, '#' begins a comment, lines are joined with commas for the command line.
namespace bitbudget::internal {
namespace {

class IkLlama : public GgufProfile {
 public:
  IkLlama() : GgufProfile(GgufProgram::kIkLlama) {}

  absl::string_view name() const override { return "ik_llama"; }
  absl::string_view summary() const override {
    return "GGUF: a recipe for ik_llama.cpp's llama-quantize --custom-q";
  }

 protected:
  std::string FileHeader(const plans::Plan& plan) const override {
    return absl::StrCat(
        "# bitbudget ", plan.tool_version(), " model ", plan.model().fingerprint(), "\n");
  }

  std::string TypeName(const GgmlType& type) const override { return type.name; }

  std::string Instructions(const std::string& path, const std::string& base) const override {
    return absl::StrCat("llama-quantize --custom-q \"$(grep -v '^#' ",
                        ShellQuote(path),
                        " | paste -sd, -)\" model-f16.gguf model-planned.gguf ",
                        base,
                        "\nEvery tensor has a rule; ",
                        base,
                        " occurs nowhere. --dry-run shows types and size without writing.");
  }

  absl::StatusOr<std::vector<TypeRule>> ReadRules(absl::string_view contents,
                                                  const std::string& path,
                                                  std::vector<std::string>*) const override {
    std::vector<TypeRule> rules;
    for (const absl::string_view line : absl::StrSplit(contents, '\n')) {
      const absl::string_view stripped = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
      for (const absl::string_view item : absl::StrSplit(stripped, ',', absl::SkipEmpty())) {
        BB_ASSIGN_OR_RETURN(const auto rule, SplitTypeRule(item, path));
        const auto& [pattern, type_name] = rule;
        const GgmlType* type = FindType(type_name, LetterCase::kMatters);
        if (type == nullptr) {
          const GgmlType* meant = FindType(type_name, LetterCase::kIgnored);
          return absl::InvalidArgumentError(absl::StrCat(
              path,
              ": ",
              item,
              ": ik_llama.cpp has no type '",
              type_name,
              "'",
              meant != nullptr ? absl::StrCat("; it tells capitals apart and writes ", meant->name)
                               : ""));
        }
        BB_ASSIGN_OR_RETURN(TypeRule made, MakeTypeRule(item, pattern, type, path));
        rules.push_back(std::move(made));
      }
    }
    return rules;
  }

  void NoteSeveral(const std::vector<const TypeRule*>& matching, Reading* reading) const override {
    for (size_t i = 1; i < matching.size(); ++i) {
      reading->problems.push_back(absl::StrCat("also matched by ", matching[i]->text));
    }
  }
};

}  // namespace

const TargetProfile* IkLlamaProfile() { return TheOnly<IkLlama>(); }

}  // namespace bitbudget::internal
