#ifndef BITBUDGET_PLANS_TARGETS_PROFILES_H_
#define BITBUDGET_PLANS_TARGETS_PROFILES_H_

#include "plans/targets/target.h"

// The registry of consumers, one row and one file each, in the order in which help lists them.
// docs/add-a-target.md tells how to add one.
#define BITBUDGET_TARGET_PROFILES(PROFILE) \
  PROFILE(LlamaCppProfile)                 \
  PROFILE(IkLlamaProfile)                  \
  PROFILE(AutoRoundProfile)                \
  PROFILE(GptqModelProfile)                \
  PROFILE(CompressedTensorsProfile)        \
  PROFILE(MlxProfile)                      \
  PROFILE(ModelOptProfile)                 \
  PROFILE(TorchAoProfile)                  \
  PROFILE(NativeProfile)

namespace bitbudget::internal {

#define BITBUDGET_DECLARE_PROFILE(Name) const TargetProfile* Name();
BITBUDGET_TARGET_PROFILES(BITBUDGET_DECLARE_PROFILE)
#undef BITBUDGET_DECLARE_PROFILE

// The one object of a profile's class.
template <typename Profile>
const TargetProfile* TheOnly() {
  static const Profile* const profile = new Profile();
  return profile;
}

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_PROFILES_H_
