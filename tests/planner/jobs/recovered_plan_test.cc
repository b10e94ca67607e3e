// A recovered plan runs and is written with the codes of its file, whatever its encoder is.

#include "tests/planner/recovered_plan.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "planner/jobs/apply_job.h"
#include "planner/jobs/evaluate_job.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_record.h"
#include "planner/jobs/planned_model.h"
#include "runtime/model/checkpoint/gguf_files.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class RecoveredPlanTest : public testing::Test {
 protected:
  void Make(PlanOptions options) {
    options.constraints.pins.push_back(*ParsePin("v_proj=bf16"));
    Progress progress;
    absl::StatusOr<plans::Plan> plan = RunPlanJob(*model_, options, &progress);
    ASSERT_TRUE(plan.ok()) << plan.status();
    before_ = *std::move(plan);
    codes_ = OtherCodes(*model_, before_);
    plan_ = WithCodes(*model_, before_, codes_, dir_.File("plan.pb"));
    workspace_.plan_folder = dir_.path();
  }

  static PlanOptions Uniform(const std::string& format) {
    PlanOptions options = SmallJob("uniform", "400%");
    options.constraints.formats = {*ParseFormat(format)};
    return options;
  }

  absl::StatusOr<EvaluateReport> Evaluate(const plans::Plan& plan,
                                          const std::vector<std::string>& pins = {}) {
    EvaluateOptions options;
    options.plan = plan;
    options.workspace = workspace_;
    options.workspace.probes.prefix_tokens = 6;
    options.workspace.probes.completion_tokens = 10;
    options.probe_count = 4;
    for (const std::string& pin : pins) options.pins.push_back(*ParsePin(pin));
    Progress progress;
    return RunEvaluateJob(*model_, options, &progress);
  }

  absl::Status Apply(const std::string& out) {
    ApplyOptions options;
    options.out = out;
    options.float_type = out.ends_with(".gguf") ? std::nullopt : std::optional<Format>(kFormatF32);
    options.workspace = workspace_;
    Progress progress;
    return ApplyPlan(*model_, plan_, options, &progress).status();
  }

  // The written model has the codes' weights, and the stored ones where nothing was recovered.
  void ExpectCodes(const std::string& path) {
    const auto written = Model::Load(path, 1);
    ASSERT_TRUE(written.ok()) << written.status();
    for (size_t c = 0; c < (*model_).components().size(); ++c) {
      const auto id = static_cast<ComponentId>(c);
      const Component& component = (*model_).component(id);
      ASSERT_EQ((*written)->component(id).name, component.name);
      std::vector<float> expected(component.cols), got(component.cols);
      for (int64_t row = 0; row < component.rows; ++row) {
        if (codes_.contains(id)) {
          DecodeReferenceRow(codes_.at(id), row, expected);
        } else {
          (*model_).Weight(id).ReadRow(row, expected);
        }
        (*written)->Weight(id).ReadRow(row, got);
        ASSERT_EQ(got, expected) << component.name << " row " << row;
      }
    }
  }

  LoadedModel model_;
  TempDir dir_;
  WorkspaceOptions workspace_;
  plans::Plan before_, plan_;
  ComponentEncodings codes_;
};

TEST_F(RecoveredPlanTest, IsEvaluatedWithItsCodes) {
  Make(Uniform("int4-g64"));
  const auto recovered = Evaluate(plan_);
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  const auto before = Evaluate(before_);
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_NE(recovered->metrics.kl_mean.value, before->metrics.kl_mean.value);
  // The codes of the test are those of round-to-nearest.
  plans::Plan nearest = before_;
  nearest.mutable_options()->set_encoder("rtn");
  const auto expected = Evaluate(nearest);
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(ToProto(recovered->metrics).SerializeAsString(),
            ToProto(expected->metrics).SerializeAsString());
}

TEST_F(RecoveredPlanTest, OnlyStoredAndRecoveredFormatsCanBeAskedFor) {
  Make(Uniform("int4-g64"));
  EXPECT_TRUE(Evaluate(plan_, {"down_proj=bf16", "up_proj=int4-g64"}).ok());
  ExpectError(Evaluate(plan_, {"0.mlp.down_proj=int8"}).status(),
              kInvalid,
              {"model.layers.0.mlp.down_proj in int8", "recovered", "int4-g64"});
  ExpectError(Evaluate(plan_, {"1.self_attn.v_proj=int8"}).status(),
              kInvalid,
              {"model.layers.1.self_attn.v_proj in int8", "as it is stored"});
}

TEST_F(RecoveredPlanTest, NeedsNoCalibrationTextAnyMore) {
  PlanOptions options = Uniform("int4-g64");
  options.workspace.encoder = "gptq";
  Make(options);
  plans::Plan from_text = plan_;
  from_text.mutable_calibration()->set_source("text");
  from_text.mutable_calibration()->set_fingerprint(std::string(64, 'a'));
  EXPECT_EQ(CalibrationContext(from_text), 0);
  Progress progress;
  const auto planned = OpenPlannedModel(*model_, &from_text, workspace_, 8, "", &progress);
  ASSERT_TRUE(planned.ok()) << planned.status();
  for (const auto& [id, encoding] : codes_) {
    const auto encoded = planned->workspace->weight_encoder().Encode(id, encoding.format, 1);
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    EXPECT_EQ(encoded->bytes, encoding.bytes);
  }
  from_text.clear_recovery();
  ExpectError(OpenPlannedModel(*model_, &from_text, workspace_, 8, "", &progress).status(),
              kInvalid,
              {"gptq", "text"});
}

TEST_F(RecoveredPlanTest, AppliedFilesHoldItsCodes) {
  Make(Uniform("q4_0"));
  const std::string gguf = dir_.File("model.gguf"), folder = dir_.File("folder");
  ASSERT_TRUE(Apply(gguf).ok()) << Apply(gguf);
  ExpectCodes(gguf);
  const auto files = OpenGgufFiles(gguf);
  ASSERT_TRUE(files.ok()) << files.status();
  const GgufFile& file = files->parsed.front();
  EXPECT_EQ(*file.Find("quantize.plan.recovery")->Text(), "blockwise, scales");
  EXPECT_TRUE(absl::StartsWith(*file.Find("quantize.plan.held_out")->Text(), "KL 0.0078125 "));
  ASSERT_TRUE(Apply(folder).ok()) << Apply(folder);
  ExpectCodes(folder);
}

TEST_F(RecoveredPlanTest, NormsOfItsFileRunAndAreInAppliedFiles) {
  Make(Uniform("q4_0"));
  VectorsByLayer vectors;
  vectors[1] = (*model_).layer(1);
  for (float& value : vectors[1].attention_norm) value *= 1.5f;
  vectors[1].mlp_norm[0] = 0.375f;
  const auto codes = Evaluate(plan_);
  plan_ = WithCodes(*model_, before_, codes_, dir_.File("plan.pb"), vectors);
  const auto norms = Evaluate(plan_);
  ASSERT_TRUE(codes.ok() && norms.ok()) << norms.status();
  EXPECT_NE(norms->metrics.kl_mean.value, codes->metrics.kl_mean.value);
  // The reference keeps the model's.
  EXPECT_EQ(norms->noise_floor.kl_mean.value, codes->noise_floor.kl_mean.value);
  ExpectError(
      Evaluate(plan_, {"down_proj=bf16"}).status(), kInvalid, {"norms belong to its codes"});
  for (const char* out : {"model.gguf", "folder"}) {
    const std::string path = dir_.File(out);
    ASSERT_TRUE(Apply(path).ok()) << Apply(path);
    ExpectCodes(path);
    const auto written = Model::Load(path, 1);
    ASSERT_TRUE(written.ok()) << written.status();
    EXPECT_EQ((*written)->layer(1), vectors[1]) << out;
    EXPECT_EQ((*written)->layer(0), (*model_).layer(0)) << out;
  }
}

TEST_F(RecoveredPlanTest, WithoutItsFileNothingIsWritten) {
  Make(Uniform("q4_0"));
  std::filesystem::remove(dir_.File("plan.pb.weights.safetensors"));
  for (const char* out : {"model.gguf", "folder"}) {
    ExpectError(Apply(dir_.File(out)),
                absl::StatusCode::kNotFound,
                {dir_.File("plan.pb.weights.safetensors")});
    EXPECT_FALSE(std::filesystem::exists(dir_.File(out)));
  }
  ExpectError(Evaluate(plan_).status(), absl::StatusCode::kNotFound, {"weights.safetensors"});
}

}  // namespace
}  // namespace bitbudget
