#include "planner/jobs/apply_job.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "nlohmann/json.hpp"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/planned_model.h"
#include "planner/workspace/checked_encoder.h"
#include "planner/workspace/workspace.h"
#include "plans/validate.h"
#include "runtime/base/mapped_file.h"
#include "runtime/model/checkpoint/gguf_files.h"
#include "runtime/model/checkpoint/gguf_writer.h"
#include "runtime/quantize/encoders.h"
#include "tests/planner/jobs/apply_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

struct Case {
  std::string name;
  TinyModelOptions options;
};

std::vector<Case> Cases() {
  using A = Architecture;
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, A architecture, auto change) {
    TinyModelOptions options = SmallModelOptions();
    options.dtype = kFormatF32;
    options.architecture = architecture;
    change(options);
    cases.push_back({name, options});
  };
  using O = TinyModelOptions;
  add("Llama", A::kLlama, [](O&) {});
  add("LlamaTied", A::kLlama, [](O& o) { o.tied = true; });
  add("LlamaBiases", A::kLlama, [](O& o) { o.attention_bias = o.mlp_bias = true; });
  add("LlamaHeadDim", A::kLlama, [](O& o) { o.head_dim = 32; });
  add("Llama3Rope", A::kLlama, [](O& o) {
    o.rope_scaling = R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 0.8,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32})";
  });
  add("LlamaLinearRope", A::kLlama, [](O& o) {
    o.rope_scaling = R"({"rope_type": "linear", "factor": 4.0})";
  });
  add("Mistral", A::kMistral, [](O&) {});
  add("Qwen2", A::kQwen2, [](O&) {});
  add("Qwen3", A::kQwen3, [](O& o) { o.head_dim = 32; });
  add("Gemma2", A::kGemma2, [](O&) {});
  add("Gemma3", A::kGemma3, [](O& o) { o.layers = 7; });
  add("Phi3", A::kPhi3, [](O&) {});
  add("Phi3LongRope", A::kPhi3, [](O& o) {
    o.rope_scaling = R"({"type": "longrope", "short_factor": [1, 1.25, 3, 2.5, 1, 1, 2, 2],
                         "long_factor": [1.5, 2, 9, 30, 2, 2, 2, 2]})";
  });
  return cases;
}

class ApplyGguf : public testing::TestWithParam<Case> {};

TEST_P(ApplyGguf, TheFileIsTheModelThatWasPlanned) {
  const LoadedModel tiny(GetParam().options);
  TempDir dir;
  for (const char* format : {"f32", "q8_0"}) {
    const plans::Plan plan = PlanOf(*tiny, format);
    const std::string path = dir.File(std::string(format) + ".gguf");
    ASSERT_TRUE(Apply(*tiny, plan, path).ok()) << Apply(*tiny, plan, path);
    const auto written = Load(path);
    ASSERT_NE(written, nullptr);
    EXPECT_EQ(written->parameter_count(), (*tiny).parameter_count());
    for (size_t c = 0; c < written->components().size(); ++c) {
      EXPECT_EQ(written->Weight(static_cast<ComponentId>(c)).format.Name(), format);
      EXPECT_EQ(written->component(static_cast<ComponentId>(c)).name,
                (*tiny).component(static_cast<ComponentId>(c)).name);
    }
    const Assignment planned = *UniformAssignment(*ParseFormat(format), *tiny);
    const std::vector<float> expected = Logits(*tiny, planned);
    const std::vector<float> got = Logits(*written, Stored(*written));
    ASSERT_EQ(expected.size(), got.size());
    double worst = 0;
    double largest = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(got[i]) - expected[i]));
      largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    }
    // Rotary divisors, theta and epsilon are f32 in the file; all else is the same bits.
    EXPECT_LE(worst, largest * 1e-5);

    // And again from that file: metadata is carried over.
    const std::string again = dir.File("again.gguf");
    const plans::Plan keep = PlanOf(*written, format);
    ASSERT_TRUE(Apply(*written, keep, again).ok()) << Apply(*written, keep, again);
    const auto copy = Load(again);
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(Logits(*copy, Stored(*copy)), got);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, ApplyGguf, testing::ValuesIn(Cases()), [](const auto& c) {
  return c.param.name;
});

TEST_F(ApplyTest, CodesWeighedByInputsAreThoseThatWereMeasured) {
  PlanOptions job = SmallJob("uniform", "400%");
  job.constraints.formats = {*ParseFormat("q4_0")};
  job.workspace.encoder = "imatrix";
  Progress progress;
  const auto plan = RunPlanJob(*tiny_, job, &progress);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_GT(plan->input_moments_size(), 0);
  ASSERT_TRUE(Apply(*tiny_, *plan, dir_.File("x.gguf")).ok());
  const auto written = Load(dir_.File("x.gguf"));

  WorkspaceOptions options;
  options.encoder = "imatrix";
  const auto workspace = *Workspace::Create(*tiny_, options, kTokens);
  ASSERT_TRUE(CalibrateFromPlan(*plan, "", workspace.get(), &progress).ok());
  bool differs = false;  // from codes that know no inputs
  const auto clip = *MakeEncoder("clip");
  for (size_t c = 0; c < written->components().size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    const Format format = *ParseFormat("q4_0");
    std::vector<float> measured(written->Weight(id).size());
    DecodeReference(*workspace->bank()->Encoded({id, format}), measured);
    std::vector<float> plain(measured.size());
    DecodeReference(*clip->Encode((*tiny_).Weight(id), format), plain);
    std::vector<float> row(written->Weight(id).cols);
    for (int64_t r = 0; r < written->Weight(id).rows; ++r) {
      written->Weight(id).ReadRow(r, row);
      EXPECT_TRUE(
          std::equal(row.begin(), row.end(), measured.begin() + r * written->Weight(id).cols))
          << written->component(id).name << " row " << r;
    }
    differs = differs || plain != measured;
  }
  EXPECT_TRUE(differs);

  plans::Plan bare = *plan;
  bare.clear_input_moments();
  EXPECT_FALSE(Apply(*tiny_, bare, dir_.File("y.gguf")).ok());
  EXPECT_FALSE(std::filesystem::exists(dir_.File("y.gguf")));
}

TEST_F(ApplyTest, CodesThatLearnedFromTextAreMadeAgainOrRefused) {
  for (const char* encoder : {"gptq", "gptq-guided", "auto"}) {
    PlanOptions job = SmallJob("uniform", "400%");
    job.constraints.formats = {*ParseFormat("q4_0")};
    job.workspace.encoder = encoder;
    job.workspace.probes.seed = 7;  // which Apply() knows from the plan alone
    Progress progress;
    const auto plan = RunPlanJob(*tiny_, job, &progress);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_TRUE(ValidatePlan(*plan).ok()) << ValidatePlan(*plan);
    EXPECT_EQ(plan->calibration().source(), "model");
    EXPECT_GT(plan->calibration().tokens(), 0);
    const std::string out = dir_.File(std::string(encoder) + ".gguf");
    const absl::Status applied = Apply(*tiny_, *plan, out);
    ASSERT_TRUE(applied.ok()) << applied;

    // The file holds the bytes that were measured.
    const auto files = OpenGgufFiles(out);
    ASSERT_TRUE(files.ok()) << files.status();
    const auto written = Load(out);
    for (size_t c = 0; c < written->components().size(); ++c) {
      const TensorView view = written->Weight(static_cast<ComponentId>(c));
      Encoding encoding{view.format, view.rows, view.cols, {}};
      for (int64_t row = 0; row < view.rows; ++row) {
        const auto* bytes = reinterpret_cast<const uint8_t*>(view.RowData(row));
        encoding.bytes.insert(encoding.bytes.end(), bytes, bytes + view.row_bytes());
      }
      EXPECT_EQ(EncodingSha256(encoding), plan->components(c).encoding_sha256())
          << plan->components(c).name();
    }

    plans::Plan other = *plan;
    other.mutable_components(1)->set_encoding_sha256(std::string(64, 'a'));
    const absl::Status refused = Apply(*tiny_, other, dir_.File("y.gguf"));
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_NE(refused.message().find(other.components(1).name()), std::string::npos) << refused;
    EXPECT_FALSE(std::filesystem::exists(dir_.File("y.gguf")));

    // Calibrated on a text: apply asks for it, and takes no other.
    other = *plan;
    other.mutable_calibration()->set_source("prompts");
    other.mutable_calibration()->set_fingerprint(std::string(64, 'b'));
    const absl::Status missing = Apply(*tiny_, other, dir_.File("y.gguf"));
    EXPECT_NE(missing.message().find("which is needed again"), std::string::npos) << missing;
  }
}

TEST_F(ApplyTest, SaysWhereTheFileComesFrom) {
  const plans::Plan plan = PlanOf(*tiny_, "q4_0");
  ASSERT_TRUE(Apply(*tiny_, plan, dir_.File("x.gguf")).ok());
  const auto files = OpenGgufFiles(dir_.File("x.gguf"));
  ASSERT_TRUE(files.ok()) << files.status();
  const GgufFile& file = files->parsed.front();
  EXPECT_EQ(*file.Find("quantize.plan.model")->Text(), (*tiny_).Fingerprint());
  EXPECT_EQ(file.Find("quantize.plan.sha256")->Text()->size(), 64u);
  EXPECT_EQ(*file.Find("quantize.plan.budget")->Text(), "400%");
  EXPECT_EQ(file.Find("general.file_type")->Integer(), 2);
  EXPECT_EQ(file.Find("general.quantization_version")->Integer(), 2);
}

// The tensors [first, end) of a file as file `number` of two, of which `said` tensors are said to
// be in all.
void WritePart(const GgufFile& file,
               size_t first,
               size_t end,
               uint32_t number,
               uint32_t said,
               const std::string& path) {
  GgufWriter writer;
  if (number == 0) {
    for (const GgufEntry& entry : file.entries) writer.AddValue(entry.key, entry.value);
  }
  writer.AddU32("split.no", number);
  writer.AddU32("split.count", 2);
  writer.AddU32("split.tensors.count", said);
  for (size_t i = first; i < end; ++i) {
    writer.AddTensor(file.tensors[i].name, file.tensors[i].shape, file.tensors[i].format);
  }
  const absl::Status status = writer.Write(path, [&](int i, std::vector<uint8_t>* bytes) {
    const auto data = file.tensors[first + static_cast<size_t>(i)].data;
    const auto* from = reinterpret_cast<const uint8_t*>(data.data());
    bytes->assign(from, from + data.size());
    return absl::OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status;
}

TEST_F(ApplyTest, ASplitIsTheModelOfItsFiles) {
  ASSERT_TRUE(Apply(*tiny_, PlanOf(*tiny_, "q4_0"), dir_.File("whole.gguf")).ok());
  const auto whole = Load(dir_.File("whole.gguf"));
  const auto files = OpenGgufFiles(dir_.File("whole.gguf"));
  ASSERT_TRUE(files.ok()) << files.status();
  const GgufFile& file = files->parsed.front();
  const size_t count = file.tensors.size();
  const std::string first = dir_.File("m-00001-of-00002.gguf");
  const std::string second = dir_.File("m-00002-of-00002.gguf");
  const auto said = static_cast<uint32_t>(count);
  WritePart(file, 0, 5, 0, said, first);
  ExpectError(Model::Load(first, 1).status(), absl::StatusCode::kNotFound, {second});
  WritePart(file, 5, count, 1, said, second);
  const auto split = Load(first);
  ASSERT_NE(split, nullptr);
  EXPECT_EQ(Logits(*split, Stored(*split)), Logits(*whole, Stored(*whole)));

  const auto refused = [&](const std::string& path, const std::vector<std::string>& parts) {
    ExpectError(Model::Load(path, 1).status(), absl::StatusCode::kInvalidArgument, parts);
  };
  refused(second, {second, "file 2 of 2; give the first one"});
  WritePart(file, 5, count, 0, said, second);
  refused(first, {second, "split.no and split.count: say file 1 of 2"});
  WritePart(file, 4, count, 1, said, second);
  refused(first, {"split.tensors.count"});
  WritePart(file, 4, count, 1, said + 1, second);
  WritePart(file, 0, 5, 0, said + 1, first);
  refused(first, {second, "duplicate name, also in another file of the split"});
}

TEST_F(ApplyTest, RefusesFormatsThatGgufDoesNotHave) {
  ExpectError(
      Apply(*tiny_, PlanOf(*tiny_, "int8"), dir_.File("x.gguf")),
      absl::StatusCode::kInvalidArgument,
      {"model.embed_tokens: GGUF has no format int8", "make the plan for target llama.cpp"});
  EXPECT_FALSE(std::filesystem::exists(dir_.File("x.gguf")));
}

TEST_F(ApplyTest, RefusesAPlanOfAnotherModel) {
  const LoadedModel other(SmallModelOptions(2));
  ExpectError(Apply(*other, PlanOf(*tiny_, "q8_0"), dir_.File("x.gguf")),
              absl::StatusCode::kInvalidArgument,
              {"the plan is for another model"});
}

TEST_F(ApplyTest, RefusesLayersThatNormaliseTheirOutputs) {
  ExpectError(Apply(*tiny_, PlanOf(*tiny_, "onebit-ln"), dir_.File("out")),
              absl::StatusCode::kInvalidArgument,
              {"model.embed_tokens in onebit-ln", "no file of weights can say"});
  EXPECT_FALSE(std::filesystem::exists(dir_.File("out")));
}

}  // namespace
}  // namespace bitbudget
