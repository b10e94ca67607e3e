#ifndef BITBUDGET_PLANS_TARGETS_MODULES_H_
#define BITBUDGET_PLANS_TARGETS_MODULES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plans/targets/json_file.h"
#include "plans/targets/target.h"
#include "plans/targets/units.h"

// What the targets have in common that name Hugging Face modules in a JSON file and quantize to
// integers with one scale per group of inputs.
namespace bitbudget::internal {

struct ModuleRules {
  // vLLM and SGLang join q, k, v and gate, up when they load, and want one scheme for what they
  // join.
  bool loader_joins = false;
  // The file is also asked by the names of what is joined.
  bool asks_fused_names = false;
  bool quantizes_embedding = false;
  bool quantizes_head = false;
  // What divides the inputs of a quantized module, its outputs, and the outputs of all that is
  // joined with it.
  int64_t cols_multiple = 1;
  int64_t rows_multiple = 1;
  int64_t joined_rows_multiple = 1;
};

// A file being read: what every name gets is set in `reading`.
struct ModuleFile {
  const std::string& path;
  const TargetModel& model;
  std::vector<TargetUnit> units;
  FileReading reading;
};

// Profiles of this kind derive from this.
class ModuleProfile : public TargetProfile {
 public:
  std::vector<Format> Formats() const override;         // the stored floats and QuantizedFormats()
  std::vector<Format> DefaultFormats() const override;  // the latter
  std::vector<TargetUnit> Units(const TargetModel& model) const override;
  absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const override;
  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override;
  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override;

 protected:
  explicit ModuleProfile(const ModuleRules& rules) : rules_(rules) {}

  virtual std::vector<Format> QuantizedFormats() const = 0;
  // ExportPlan, with the plan in units that the target can hold.
  virtual absl::StatusOr<Export> ExportUnits(const PlannedUnits& planned,
                                             const std::string& path) const = 0;
  // Read, with a blank reading for every name.
  virtual absl::Status ReadConfig(const Json& config, ModuleFile* file) const = 0;

  const ModuleRules rules_;
};

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_MODULES_H_
