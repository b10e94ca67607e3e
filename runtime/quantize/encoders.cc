#include "runtime/quantize/encoders.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/gptq_encoder.h"
#include "runtime/quantize/lwc_encoder.h"
#include "runtime/quantize/rtn_encoder.h"

namespace bitbudget {
namespace {

constexpr EncoderInfo kEncoders[] = {
    {.name = "rtn",
     .description = "round to nearest",
     .needs = StatsNeed::kNothing,
     .make = MakeRtnEncoder},
    {.name = "clip",
     .description = "smallest weight error",
     .needs = StatsNeed::kNothing,
     .make = MakeClipEncoder},
    {.name = "imatrix",
     .description = "the same, errors weighted by calibration inputs",
     .needs = StatsNeed::kMoments,
     .make = MakeImatrixEncoder},
    {.name = "gptq",
     .description = "error feedback over calibration inputs",
     .needs = StatsNeed::kGram,
     .learns_from_text = true,
     .make = MakeGptqEncoder},
    {.name = "gptq-guided",
     .description = "gptq, calibration tokens weighted by gradients",
     .needs = StatsNeed::kGram,
     .learns_from_text = true,
     .weighs_tokens = true,
     .make = MakeGuidedGptqEncoder},
    {.name = "lwc",
     .description = "learned clipping",
     .needs = StatsNeed::kGram,
     .learns_from_text = true,
     .make = MakeLwcEncoder},
    {.name = "auto",
     .description = "gptq that tries the grids of lwc, too",
     .needs = StatsNeed::kGram,
     .learns_from_text = true,
     .make = MakeAutoEncoder},
    {.name = "gptq+block",
     .description = "gptq, then the scales of each decoder layer tuned together",
     .needs = StatsNeed::kGram,
     .learns_from_text = true,
     .tunes_layers = true,
     .make = MakeGptqEncoder},
    {.name = "lwc+block",
     .description = "lwc, tuned likewise",
     .needs = StatsNeed::kGram,
     .learns_from_text = true,
     .tunes_layers = true,
     .make = MakeLwcEncoder},
    {.name = "auto+block",
     .description = "auto, tuned likewise",
     .needs = StatsNeed::kGram,
     .learns_from_text = true,
     .tunes_layers = true,
     .make = MakeAutoEncoder},
};

}  // namespace

std::span<const EncoderInfo> Encoders() { return kEncoders; }

absl::StatusOr<const EncoderInfo*> FindEncoder(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const EncoderInfo& info : kEncoders) {
    if (info.name == name) return &info;
    names.push_back(info.name);
  }
  return UnknownName("encoder", name, names);
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(absl::string_view name) {
  BB_ASSIGN_OR_RETURN(const EncoderInfo* const info, FindEncoder(name));
  return info->make();
}

std::string DescribeEncoders() {
  return absl::StrJoin(kEncoders, ", ", [](std::string* out, const EncoderInfo& info) {
    absl::StrAppend(out, info.name, " (", info.description, ")");
  });
}

}  // namespace bitbudget
