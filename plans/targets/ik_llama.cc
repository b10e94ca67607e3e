#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "plans/targets/gguf.h"
#include "plans/targets/profiles.h"
#include "plans/targets/regex.h"
#include "runtime/base/regex.h"
#include "runtime/base/status_macros.h"

// ik_llama.cpp: `llama-quantize --custom-q`, read in examples/quantize/quantize.cpp and
// src/llama-quantize.cpp (0296c609). The file is a recipe as the GGUF-Tool-Suite shares them: one
// rule per line, '#' begins a comment, lines are joined with commas for the command line.
namespace bitbudget::internal {
namespace {

class IkLlama : public GgufProfile {
 public:
  IkLlama() : GgufProfile(/*ik=*/true) {}

  absl::string_view name() const override { return "ik_llama"; }
  absl::string_view summary() const override {
    return "GGUF: a recipe for ik_llama.cpp's llama-quantize --custom-q";
  }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    BB_ASSIGN_OR_RETURN(const auto rules, Rules(plan));
    BB_ASSIGN_OR_RETURN(const std::string base, BaseType(plan));
    std::string text =
        absl::StrCat("# bitbudget ", plan.tool_version(), " model ", plan.model().fingerprint());
    absl::StrAppend(&text, "\n");
    for (const auto& [pattern, type] : rules) {
      const GgmlType* ggml = FindGgmlType(type, /*any_case=*/true);
      absl::StrAppend(&text, pattern, "=", ggml->name, "\n");
    }
    Export result;
    result.files.push_back({path, std::move(text)});
    result.instructions =
        absl::StrCat("llama-quantize --custom-q \"$(grep -v '^#' ",
                     ShellQuote(path),
                     " | paste -sd, -)\" model-f16.gguf model-planned.gguf ",
                     base,
                     "\nEvery tensor has a rule; ",
                     base,
                     " occurs nowhere. --dry-run shows types and size without writing.");
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
    for (const absl::string_view line : absl::StrSplit(contents, '\n')) {
      const absl::string_view stripped = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
      for (const absl::string_view item : absl::StrSplit(stripped, ',', absl::SkipEmpty())) {
        BB_ASSIGN_OR_RETURN(const auto rule, SplitTypeRule(item, path));
        absl::StatusOr<Regex> regex = Regex::Compile(rule.first, RegexDialect::kEcmaScript);
        if (!regex.ok()) {
          return absl::InvalidArgumentError(absl::StrCat(path, ": ", regex.status().message()));
        }
        const GgmlType* type = FindGgmlType(rule.second, /*any_case=*/false);
        if (type == nullptr || !Has(*type)) {
          const GgmlType* meant = FindGgmlType(rule.second, /*any_case=*/true);
          return absl::InvalidArgumentError(
              absl::StrCat(path,
                           ": ",
                           item,
                           ": ik_llama.cpp has no type '",
                           rule.second,
                           "'",
                           meant != nullptr && Has(*meant)
                               ? absl::StrCat("; it tells capitals apart and writes ", meant->name)
                               : ""));
        }
        rules.push_back({std::string(item), *std::move(regex), type});
      }
    }
    const std::vector<TargetUnit> units = Units(model);
    for (size_t u = 0; u < units.size(); ++u) {
      Reading reading;
      reading.unit = static_cast<int>(u);
      reading.name = units[u].names[0];
      for (Rule& rule : rules) {
        BB_ASSIGN_OR_RETURN(const bool matches,
                            rule.regex.Matches(reading.name, Regex::Where::kAnywhere));
        if (!matches) continue;
        rule.used = true;
        if (reading.rule.empty()) {
          reading.rule = rule.text;
          GetsType(*rule.type, units[u], &reading);
        } else {
          reading.problems.push_back(absl::StrCat("also matched by ", rule.text));
        }
      }
      if (reading.rule.empty()) {
        reading.gets = "what the file type's own mix decides";
        reading.problems.push_back("no rule matches");
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

const TargetProfile* IkLlamaProfile() {
  static const IkLlama* const profile = new IkLlama();
  return profile;
}

}  // namespace bitbudget::internal
