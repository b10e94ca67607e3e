#include "planner/moments.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/packing.h"
#include "planner/stage_zero.h"
#include "runtime/base/status_macros.h"
#include "runtime/calibration/input_moments.h"
#include "runtime/tensor/encoder.h"

namespace bitbudget {
namespace {

// Prompts that moments are averaged over. A moment of n tokens has a relative error of about
// sqrt(2 / n) for a normal input: 2 % with 64 prompts of 100 tokens.
constexpr int64_t kMomentProbes = 64;

std::string Pack(const InputMoments& moments) {
  Packer packer;
  packer.Number(static_cast<int64_t>(moments.size()));
  for (const auto& [id, values] : moments) {
    packer.Number(static_cast<int64_t>(id));
    packer.Numbers(values);
  }
  return packer.Take();
}

absl::StatusOr<InputMoments> Unpack(const std::string& packed) {
  Unpacker unpacker(packed);
  InputMoments moments;
  const auto count = unpacker.Number<int64_t>();
  // Every entry takes bytes: a damaged count ends with them.
  for (int64_t i = 0; i < std::min(count, static_cast<int64_t>(packed.size())); ++i) {
    const auto id = static_cast<ComponentId>(unpacker.Number<int64_t>());
    moments[id] = unpacker.Numbers<float>();
  }
  if (!unpacker.Done()) {
    return absl::DataLossError("the run store's input moments are damaged; use another --run-dir");
  }
  return moments;
}

}  // namespace

absl::Status CalibrateEncoder(const ProbeMaker& maker,
                              Workbench* bench,
                              Run* run,
                              Progress* progress,
                              InputMoments* moments) {
  if (bench->encoder()->encoder().needs() == StatsNeed::kNothing) return absl::OkStatus();
  BB_ASSIGN_OR_RETURN(
      const std::string packed,
      run->Remember(
          absl::StrCat("input moments/", kMomentProbes), [&]() -> absl::StatusOr<std::string> {
            BB_ASSIGN_OR_RETURN(const auto sequences,
                                CalibrationPrompts(maker, kMomentProbes, bench, progress));
            BB_ASSIGN_OR_RETURN(const InputMoments measured,
                                MeasureInputMoments(bench->transformer(),
                                                    bench->reference(),
                                                    sequences,
                                                    bench->options().threads,
                                                    progress));
            return Pack(measured);
          }));
  BB_ASSIGN_OR_RETURN(InputMoments measured, Unpack(packed));
  if (moments != nullptr) *moments = measured;
  bench->encoder()->SetMoments(std::move(measured));
  return absl::OkStatus();
}

void AddMoments(const InputMoments& moments, const Model& model, plans::Plan* plan) {
  for (const auto& [id, values] : moments) {
    plans::InputMoments* stored = plan->add_input_moments();
    stored->set_component(model.component(id).name);
    stored->set_squares(values.data(), values.size() * sizeof(float));
  }
}

absl::StatusOr<InputMoments> MomentsOfPlan(const plans::Plan& plan, const Model& model) {
  InputMoments moments;
  for (const plans::InputMoments& stored : plan.input_moments()) {
    ComponentId id = -1;
    for (size_t c = 0; c < model.components().size(); ++c) {
      if (model.component(static_cast<ComponentId>(c)).name == stored.component()) {
        id = static_cast<ComponentId>(c);
      }
    }
    if (id < 0 || stored.squares().size() != model.component(id).cols * sizeof(float)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "input_moments: component \"", stored.component(), "\" does not fit the model"));
    }
    std::vector<float>& values = moments[id];
    values.resize(model.component(id).cols);
    std::memcpy(values.data(), stored.squares().data(), stored.squares().size());
  }
  return moments;
}

}  // namespace bitbudget
