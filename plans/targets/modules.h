#ifndef BITBUDGET_PLANS_TARGETS_MODULES_H_
#define BITBUDGET_PLANS_TARGETS_MODULES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plans/targets/layer_rules.h"
#include "plans/targets/target.h"

// What the targets have in common that name Hugging Face modules and quantize to integers with one
// scale per group of inputs.
namespace bitbudget::internal {

struct ModuleRules {
  // vLLM and SGLang join q, k, v and gate, up when they load, and want one scheme for what they
  // join.
  bool loader_joins = false;
  bool quantizes_embedding = false;
  bool quantizes_head = false;
  // What divides the inputs of a quantized module, its outputs, and the outputs of all that is
  // joined with it.
  int64_t cols_multiple = 1;
  int64_t rows_multiple = 1;
  int64_t joined_rows_multiple = 1;
};

// Profiles of this kind derive from this.
class ModuleProfile : public TargetProfile {
 public:
  explicit ModuleProfile(const ModuleRules& rules) : rules_(rules) {}

  std::vector<Format> DefaultFormats() const override;  // the integer ones
  std::vector<TargetUnit> Units(const TargetModel& model) const override;
  absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const override;

 protected:
  const ModuleRules rules_;
};

// An integer scheme in the consumers' words.
struct IntScheme {
  int64_t bits = 0;
  int64_t group = -1;  // inputs per scale; -1: the whole row
  bool symmetric = true;

  friend bool operator==(const IntScheme&, const IntScheme&) = default;
};
IntScheme SchemeOf(const Format& format);  // REQUIRES: an integer format
// nullopt: none of bitbudget's formats is like it.
std::optional<Format> FormatOf(const IntScheme& scheme);
std::string Describe(const IntScheme& scheme);  // "4 bits, groups of 64, symmetric"

// Sets what a reading gets.
void GetsScheme(const IntScheme& scheme, Reading* reading);
void GetsKept(Reading* reading);

// One reading per unit and name, with nothing decided; the fused name, where there is one and
// `fused` is set, comes last in its unit.
std::vector<Reading> BlankReadings(const std::vector<TargetUnit>& units, bool fused);

// Python-compatible, anchored patterns for units with the same value, each name in exactly one:
// "^model\.layers\.([0-3])\.self_attn\.(q_proj|k_proj|v_proj|qkv_proj)$". Fused names are among
// them. `values` has one entry per unit; units with an empty value are left out.
struct PatternRule {
  std::string pattern;
  std::string value;
};
std::vector<PatternRule> PatternRules(const std::vector<TargetUnit>& units,
                                      const TargetModel& model,
                                      const std::vector<std::string>& values);

// Formats by name. REQUIRES: names of SupportedFormats().
std::vector<Format> FormatsNamed(std::span<const char* const> names);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_MODULES_H_
