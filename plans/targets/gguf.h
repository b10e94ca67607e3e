#ifndef BITBUDGET_PLANS_TARGETS_GGUF_H_
#define BITBUDGET_PLANS_TARGETS_GGUF_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plans/targets/ggml_types.h"
#include "plans/targets/target.h"
#include "runtime/base/regex.h"

// What llama.cpp and ik_llama.cpp have in common: tensor names, types, and files of rules of the
// form PATTERN=TYPE.
namespace bitbudget::internal {

// A rule of a file.
struct TypeRule {
  std::string text;
  Regex regex;
  const GgmlType* type = nullptr;
  bool used = false;  // it matches some tensor
};

// A program that quantizes to GGUF: derive, and say how it writes and reads its rules.
class GgufProfile : public TargetProfile {
 public:
  std::vector<Format> Formats() const override;
  std::vector<Format> DefaultFormats() const override;
  bool WritesGguf() const override { return true; }
  bool ConvertsFloats() const override { return true; }
  std::vector<TargetUnit> Units(const TargetModel& model) const override;
  absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const override;
  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override;
  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override;

 protected:
  explicit GgufProfile(GgufProgram program) : program_(program) {}

  const GgmlType* FindType(absl::string_view name, LetterCase letters) const {
    return FindGgmlType(name, letters, program_);
  }

  // What stands before the rules of an exported file.
  virtual std::string FileHeader(const plans::Plan& plan) const = 0;
  // A type as the program's rules spell it.
  virtual std::string TypeName(const GgmlType& type) const = 0;
  // How the program is run with the exported file. `base` is a file type that it is to be given.
  virtual std::string Instructions(const std::string& path, const std::string& base) const = 0;

  // The rules of a file in their order. Oddities of the whole file go to `problems`.
  virtual absl::StatusOr<std::vector<TypeRule>> ReadRules(
      absl::string_view contents,
      const std::string& path,
      std::vector<std::string>* problems) const = 0;
  // Adds what is wrong with several rules matching one tensor, the first of which counts.
  virtual void NoteSeveral(const std::vector<const TypeRule*>& matching,
                           Reading* reading) const = 0;

 private:
  const GgufProgram program_;
};

// Splits "PATTERN=TYPE" at the first '='. kInvalidArgument names `path` and the text.
absl::StatusOr<std::pair<std::string, std::string>> SplitTypeRule(absl::string_view text,
                                                                  const std::string& path);

// A rule whose pattern is `pattern`. kInvalidArgument names `path` and the pattern.
absl::StatusOr<TypeRule> MakeTypeRule(absl::string_view text,
                                      const std::string& pattern,
                                      const GgmlType* type,
                                      const std::string& path);

// For a POSIX shell; as it stands where it needs no quotes.
std::string ShellQuote(const std::string& text);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_GGUF_H_
