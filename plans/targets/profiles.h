#ifndef BITBUDGET_PLANS_TARGETS_PROFILES_H_
#define BITBUDGET_PLANS_TARGETS_PROFILES_H_

#include "plans/targets/target.h"

// The consumers, one file each. docs/add-a-target.md tells how to add one.
namespace bitbudget::internal {

const TargetProfile* LlamaCppProfile();
const TargetProfile* IkLlamaProfile();
const TargetProfile* AutoRoundProfile();
const TargetProfile* GptqModelProfile();
const TargetProfile* CompressedTensorsProfile();
const TargetProfile* MlxProfile();
const TargetProfile* ModelOptProfile();
const TargetProfile* TorchAoProfile();
const TargetProfile* NativeProfile();

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_PROFILES_H_
