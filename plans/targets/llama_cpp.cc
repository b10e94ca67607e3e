#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "plans/targets/gguf.h"
#include "plans/targets/profiles.h"
#include "runtime/base/status_macros.h"

// llama.cpp: `llama-quantize --tensor-type-file`, read in tools/quantize/quantize.cpp (03161a4e)
// and src/llama-quant.cpp (007dbbf3). What its versions do differently decides how rules are
// written: docs/targets.md, "llama.cpp".
namespace bitbudget::internal {
namespace {

class LlamaCpp : public GgufProfile {
 public:
  LlamaCpp() : GgufProfile(GgufProgram::kLlamaCpp) {}

  absl::string_view name() const override { return "llama.cpp"; }
  absl::string_view summary() const override {
    return "GGUF: rules for llama-quantize --tensor-type-file (--tensor-type before 2026-01)";
  }

 protected:
  std::string FileHeader(const plans::Plan&) const override { return ""; }  // it has no comments

  std::string TypeName(const GgmlType& type) const override { return type.FormatName(); }

  std::string Instructions(const std::string& path, const std::string& base) const override {
    return absl::StrCat("llama-quantize --tensor-type-file ",
                        ShellQuote(path),
                        " model-f16.gguf model-planned.gguf ",
                        base,
                        "\nEvery tensor has a rule; ",
                        base,
                        " is there because rules only work with a quantized file type, and because "
                        "the plan has it nowhere.\nDo not add --pure, --token-embedding-type or "
                        "--output-tensor-type. --dry-run shows types and size without writing.\n"
                        "Builds before 2026-01 have no --tensor-type-file: "
                        "llama-quantize $(sed 's/^/--tensor-type /' ",
                        ShellQuote(path),
                        ") model-f16.gguf model-planned.gguf ",
                        base);
  }

  absl::StatusOr<std::vector<TypeRule>> ReadRules(
      absl::string_view contents,
      const std::string& path,
      std::vector<std::string>* problems) const override {
    std::vector<TypeRule> rules;
    for (const absl::string_view word :
         absl::StrSplit(contents, absl::ByAnyChar(" \t\r\n\v\f"), absl::SkipEmpty())) {
      BB_ASSIGN_OR_RETURN(const auto rule, SplitTypeRule(word, path));
      const auto& [pattern, type_name] = rule;
      const std::string lower = absl::AsciiStrToLower(pattern);
      if (lower != pattern) {
        problems->push_back(absl::StrCat(
            "llama-quantize reads '", pattern, "' as '", lower, "': capitals change meaning"));
      }
      const GgmlType* type = FindType(type_name, LetterCase::kIgnored);
      if (type == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(
            path, ": ", word, ": llama-quantize has no tensor type '", type_name, "'"));
      }
      BB_ASSIGN_OR_RETURN(TypeRule made, MakeTypeRule(word, lower, type, path));
      rules.push_back(std::move(made));
    }
    return rules;
  }

  void NoteSeveral(const std::vector<const TypeRule*>& matching, Reading* reading) const override {
    const TypeRule& last = *matching.back();
    reading->problems.push_back(
        last.type != matching.front()->type
            ? absl::StrCat("depends on the version: builds of 2025 take the last rule, ", last.text)
            : absl::StrCat("matched twice, also by ", last.text));
  }
};

}  // namespace

const TargetProfile* LlamaCppProfile() { return TheOnly<LlamaCpp>(); }

}  // namespace bitbudget::internal
