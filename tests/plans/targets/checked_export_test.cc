#include "plans/targets/checked_export.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/plans/small_plan.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

// The native target with a defect: its file is that of another plan.
class Confused : public TargetProfile {
 public:
  explicit Confused(plans::Plan written) : written_(std::move(written)) {}

  absl::string_view name() const override { return native_.name(); }
  absl::string_view summary() const override { return native_.summary(); }
  std::vector<Format> Formats() const override { return native_.Formats(); }
  std::vector<TargetUnit> Units(const TargetModel& model) const override {
    return native_.Units(model);
  }
  absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const override {
    return native_.Resolve(unit, format);
  }
  absl::StatusOr<Export> ExportPlan(const plans::Plan&, const std::string& path) const override {
    return native_.ExportPlan(written_, path);
  }
  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    return native_.Read(contents, path, model);
  }

 private:
  const TargetProfile& native_ = **FindTarget("native");
  const plans::Plan written_;
};

TEST(CheckedExport, RefusesAFileThatDoesNotSayWhatThePlanSays) {
  const plans::Plan plan = SmallPlan(2);
  const plans::Plan other = OtherSmallPlan(2);  // v_proj is int4-g64, not bf16
  EXPECT_TRUE(Confused(other).ExportPlan(plan, "plan.json").ok()) << "the defect would go through";
  ExpectError(
      CheckedExport(Confused(other), plan, "plan.json").status(),
      absl::StatusCode::kFailedPrecondition,
      {"native would not do what the plan says", "model.layers.0.self_attn.v_proj", "and 1 more"});
}

TEST(CheckedExport, IsTheTargetsOwnExportWhereItDoes) {
  const plans::Plan plan = SmallPlan(2);
  const TargetProfile& native = **FindTarget("native");
  const auto checked = CheckedExport(native, plan, "plan.json");
  ASSERT_TRUE(checked.ok()) << checked.status();
  const auto own = native.ExportPlan(plan, "plan.json");
  ASSERT_EQ(checked->files.size(), own->files.size());
  EXPECT_EQ(checked->files[0].contents, own->files[0].contents);
  EXPECT_EQ(checked->instructions, own->instructions);
}

TEST(CheckedExport, GivesTheTargetsErrors) {
  const auto refused = CheckedExport(**FindTarget("llama.cpp"), SmallPlan(2), "types.txt");
  ExpectError(refused.status(), absl::StatusCode::kInvalidArgument, {"token_embd.weight"});
}

}  // namespace
}  // namespace bitbudget
