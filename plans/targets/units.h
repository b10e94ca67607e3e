#ifndef BITBUDGET_PLANS_TARGETS_UNITS_H_
#define BITBUDGET_PLANS_TARGETS_UNITS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "plans/targets/target.h"

// Units of a model: what ties components to each other, the formats that a plan gives them, and
// what a file says about their names.
namespace bitbudget::internal {

// Matrices of a layer that read the same inputs: some checkpoints store them as one, some loaders
// join them.
enum class Joined : uint8_t { kNone, kQkv, kGateUp };

// The joined matrix that a component can be a part of.
Joined JoinedOf(const TargetComponent& c);

// Whether the model's checkpoints store joined matrices (Phi-3).
bool StoresJoined(const TargetModel& model);

// Units without names (the consumer gives them): one per component, or with kJoined one for all
// parts of a joined matrix.
enum class Tie : uint8_t { kNothing, kJoined };
std::vector<TargetUnit> MakeUnits(const TargetModel& model, Tie tie);

// What a plan says in a target's units.
struct PlannedUnits {
  TargetModel model;
  std::vector<TargetUnit> units;
  std::vector<Format> formats;  // one per unit
};

// kInvalidArgument, naming the component, where parts of a unit differ or the consumer cannot hold
// a unit's format as it is (without a substitute).
absl::StatusOr<PlannedUnits> UnitsOfPlan(const TargetProfile& target, const plans::Plan& plan);

// One reading per unit and name, with nothing decided. With kOwnAndFused the fused name, where
// there is one, comes last in its unit.
enum class Names : uint8_t { kOwn, kOwnAndFused };
std::vector<Reading> BlankReadings(const std::vector<TargetUnit>& units, Names names);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_UNITS_H_
