#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "plans/targets/gguf.h"
#include "plans/targets/profiles.h"
#include "plans/targets/regex.h"
#include "runtime/base/regex.h"
#include "runtime/base/status_macros.h"

// llama.cpp: `llama-quantize --tensor-type-file`, read in tools/quantize/quantize.cpp (03161a4e)
// and src/llama-quant.cpp (007dbbf3). What its versions do differently decides how rules are
// written: docs/targets.md, "llama.cpp".
namespace bitbudget::internal {
namespace {

class LlamaCpp : public GgufProfile {
 public:
  LlamaCpp() : GgufProfile(/*ik=*/false) {}

  absl::string_view name() const override { return "llama.cpp"; }
  absl::string_view summary() const override {
    return "GGUF: rules for llama-quantize --tensor-type-file (--tensor-type before 2026-01)";
  }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    BB_ASSIGN_OR_RETURN(const auto rules, Rules(plan));
    BB_ASSIGN_OR_RETURN(const std::string base, BaseType(plan));
    std::string text;
    for (const auto& [pattern, type] : rules) absl::StrAppend(&text, pattern, "=", type, "\n");
    Export result;
    result.files.push_back({path, std::move(text)});
    result.instructions =
        absl::StrCat("llama-quantize --tensor-type-file ",
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
    return result;
  }

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    struct Rule {
      std::string text;
      Regex regex;
      const GgmlType* type;
      bool used = false;
    };
    FileReading file;
    std::vector<Rule> rules;
    for (const absl::string_view word :
         absl::StrSplit(contents, absl::ByAnyChar(" \t\r\n\v\f"), absl::SkipEmpty())) {
      BB_ASSIGN_OR_RETURN(const auto rule, SplitTypeRule(word, path));
      const std::string lower = absl::AsciiStrToLower(rule.first);
      if (lower != rule.first) {
        file.problems.push_back(absl::StrCat(
            "llama-quantize reads '", rule.first, "' as '", lower, "': capitals change meaning"));
      }
      absl::StatusOr<Regex> regex = Regex::Compile(lower, RegexDialect::kEcmaScript);
      if (!regex.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
      }
      const GgmlType* type = FindGgmlType(rule.second, /*any_case=*/true);
      if (type == nullptr || !Has(*type)) {
        return absl::InvalidArgumentError(absl::StrCat(
            path, ": ", word, ": llama-quantize has no tensor type '", rule.second, "'"));
      }
      rules.push_back({std::string(word), *std::move(regex), type});
    }
    const std::vector<TargetUnit> units = Units(model);
    for (size_t u = 0; u < units.size(); ++u) {
      Reading reading;
      reading.unit = static_cast<int>(u);
      reading.name = units[u].names[0];
      std::vector<Rule*> matching;
      for (Rule& rule : rules) {
        BB_ASSIGN_OR_RETURN(const bool matches,
                            rule.regex.Matches(reading.name, Regex::Where::kAnywhere));
        if (matches) matching.push_back(&rule);
      }
      for (Rule* rule : matching) rule->used = true;
      if (matching.empty()) {
        reading.gets = "what the file type's own mix decides";
        reading.problems.push_back("no rule matches");
      } else {
        reading.rule = matching.front()->text;
        GetsType(*matching.front()->type, units[u], &reading);
        if (matching.back()->type != matching.front()->type) {
          reading.problems.push_back(
              absl::StrCat("depends on the version: builds of 2025 take the last rule, ",
                           matching.back()->text));
        } else if (matching.size() > 1) {
          reading.problems.push_back(
              absl::StrCat("matched twice, also by ", matching.back()->text));
        }
      }
      file.readings.push_back(std::move(reading));
    }
    for (const Rule& rule : rules) {
      if (!rule.used) file.unused.push_back(rule.text);
    }
    return file;
  }
};

}  // namespace

const TargetProfile* LlamaCppProfile() {
  static const LlamaCpp* const profile = new LlamaCpp();
  return profile;
}

}  // namespace bitbudget::internal
