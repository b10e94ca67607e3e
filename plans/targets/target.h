#ifndef BITBUDGET_PLANS_TARGETS_TARGET_H_
#define BITBUDGET_PLANS_TARGETS_TARGET_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plans/plan.pb.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// A model as targets see it: its matrices, as a plan lists them.
struct TargetComponent {
  std::string name;  // Hugging Face module name
  std::string kind;  // embed, q, k, v, o, gate, up, down, head
  int layer = -1;
  int64_t rows = 0;
  int64_t cols = 0;
};
struct TargetModel {
  std::string architecture;  // as config.json spells it
  std::vector<TargetComponent> components;
};
TargetModel ModelOfPlan(const plans::Plan& plan);

// Components that a consumer gives one format: those of a tensor that it stores as one (phi-3's
// joined matrices), or modules that its loader joins and therefore wants in one scheme.
struct TargetUnit {
  std::vector<int> parts;  // indices into the model's components, in row order; at least one
  std::vector<std::string> names;  // the consumer's: one per part, or one for all parts
  std::vector<int64_t> name_rows;  // of every name
  std::string fused_name;          // the loader's for all parts; empty: it has none
  int64_t rows = 0;                // of all parts
  int64_t cols = 0;
  bool never_quantized = false;  // the consumer leaves these weights as stored
};

struct ExportedFile {
  std::string path;
  std::string contents;
};
struct Export {
  std::vector<ExportedFile> files;  // the first is the one that lint reads
  std::string instructions;         // how to run the consumer with them, for people
};

// What a consumer gives one name, read from a file by the consumer's own rules.
struct Reading {
  int unit = 0;                       // index into Units()
  std::string name;                   // of a tensor or a module, or a fused name
  std::string rule;                   // that decides; empty: none does
  std::string gets;                   // what the name gets, in words
  std::optional<Format> format;       // that; nullopt: `kept`, or a format that bitbudget has not
  bool kept = false;                  // the weights stay as stored
  std::vector<std::string> problems;  // one line each
};
struct FileReading {
  std::vector<Reading> readings;      // of every name of every unit, in order
  std::vector<std::string> problems;  // of the file as a whole
  std::vector<std::string> unused;    // rules that match no name
};

// A consumer of plans: what it can hold and how it is configured. Stateless; one object each.
class TargetProfile {
 public:
  virtual ~TargetProfile() = default;

  virtual absl::string_view name() const = 0;     // as users spell it
  virtual absl::string_view summary() const = 0;  // one line: which program, which versions

  // The formats that it can hold, and those among them that a plan for it chooses from by default,
  // beside the stored one.
  virtual std::vector<Format> Formats() const = 0;
  virtual std::vector<Format> DefaultFormats() const { return Formats(); }

  // Whether it also holds the sparse forms of these.
  virtual bool HoldsSparse() const { return false; }

  // Whether it writes one GGUF file.
  virtual bool WritesGguf() const { return false; }

  // Whether it converts to float formats other than the stored one.
  virtual bool ConvertsFloats() const { return false; }

  // Every component is a part of exactly one unit, in the order of first parts.
  virtual std::vector<TargetUnit> Units(const TargetModel& model) const = 0;

  // What a unit becomes if `format` is asked for: that, or the consumer's substitute for rows of
  // this length. kInvalidArgument, naming the unit, where it can hold neither.
  virtual absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const = 0;

  // The files that configure the consumer: `path` and what goes beside it. kInvalidArgument, naming
  // the component, where the consumer cannot do what the plan says. REQUIRES: a valid plan.
  virtual absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                            const std::string& path) const = 0;

  // Reads a file as the consumer does, whoever wrote it. kInvalidArgument, naming `path`, where the
  // consumer would refuse the file.
  virtual absl::StatusOr<FileReading> Read(absl::string_view contents,
                                           const std::string& path,
                                           const TargetModel& model) const = 0;
};

// All profiles, in the order in which help lists them.
std::span<const TargetProfile* const> Targets();
// kInvalidArgument names the unknown target and lists the known ones.
absl::StatusOr<const TargetProfile*> FindTarget(absl::string_view name);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_TARGETS_TARGET_H_
