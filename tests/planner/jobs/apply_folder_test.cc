// Folders that apply writes: dequantized weights and compressed tensors.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/planned_model.h"
#include "planner/workspace/checked_encoder.h"
#include "planner/workspace/workspace.h"
#include "plans/validate.h"
#include "runtime/base/mapped_file.h"
#include "runtime/quantize/encoders.h"
#include "tests/planner/jobs/apply_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

using ApplyFolderTest = ApplyTest;

TEST_F(ApplyFolderTest, AFolderOfDecodedWeightsIsTheModelThatWasPlanned) {
  const plans::Plan plan = PlanOf(*tiny_, "int8-g32");
  ApplyOptions options;
  options.float_type = kFormatF32;
  const absl::Status status = Apply(*tiny_, plan, dir_.File("out"), options);
  ASSERT_TRUE(status.ok()) << status;
  const auto written = Load(dir_.File("out"));
  ASSERT_NE(written, nullptr);
  const Assignment planned = *UniformAssignment(*ParseFormat("int8-g32"), *tiny_);
  EXPECT_EQ(Logits(*written, Stored(*written)), Logits(*tiny_, planned));
  ExpectError(Apply(*tiny_, plan, dir_.File("out"), options),
              absl::StatusCode::kInvalidArgument,
              {dir_.File("out"), "exists and is not an empty folder"});
  // Nothing else was left behind.
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    EXPECT_EQ(entry.path().filename().string(), "out");
  }
}

// Pruned by what calibration inputs say, which the plan holds, and decoded to zeros.
TEST_F(ApplyFolderTest, SparseWeightsAreThoseThatWerePlanned) {
  PlanOptions options = SmallJob("uniform", "400%");
  options.constraints.formats = {*ParseFormat("int4-g32+s50")};
  options.workspace.pruning = Pruning::kWanda;
  Progress progress;
  const auto plan = RunPlanJob(*tiny_, options, &progress);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->options().pruning(), "wanda");
  EXPECT_GT(plan->input_moments_size(), 0);
  ApplyOptions apply;
  apply.float_type = kFormatF32;
  ASSERT_TRUE(Apply(*tiny_, *plan, dir_.File("wanda"), apply).ok());
  const auto written = Load(dir_.File("wanda"));
  ASSERT_NE(written, nullptr);
  int64_t zeros = 0;
  const TensorView view = written->Weight(1);
  std::vector<float> row(view.cols);
  for (int64_t r = 0; r < view.rows; ++r) {
    view.ReadRow(r, row);
    zeros += std::count(row.begin(), row.end(), 0.0f);
  }
  EXPECT_GE(zeros, view.size() / 2);
  plans::Plan by_magnitude = *plan;
  by_magnitude.mutable_options()->clear_pruning();
  ASSERT_TRUE(Apply(*tiny_, by_magnitude, dir_.File("magnitude"), apply).ok());
  const auto other = Load(dir_.File("magnitude"));
  ASSERT_NE(other, nullptr);
  EXPECT_NE(Logits(*written, Stored(*written)), Logits(*other, Stored(*other)));
}

TEST_F(ApplyFolderTest, AnInterruptedFolderLeavesNothing) {
  const plans::Plan plan = PlanOf(*tiny_, "int8-g32");
  ApplyOptions options;
  options.out = dir_.File("out");
  CountingProgress progress(3);
  EXPECT_EQ(ApplyPlan(*tiny_, plan, options, &progress).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

// The tensors of a safetensors file with these bytes. Words are views of f32.
std::map<std::string, ArchiveTensor> TensorsOf(const std::string& bytes) {
  const std::string header = bytes.substr(8, *reinterpret_cast<const uint64_t*>(bytes.data()));
  std::map<std::string, ArchiveTensor> tensors;
  const nlohmann::json parsed = nlohmann::json::parse(header);
  for (const auto& [name, entry] : parsed.items()) {
    if (name == "__metadata__") continue;
    ArchiveTensor& tensor = tensors[name];
    tensor.shape = entry["shape"].get<std::vector<int64_t>>();
    tensor.view = {entry["dtype"] == "F16" ? kFormatF16 : kFormatF32,
                   reinterpret_cast<const std::byte*>(bytes.data()) + 8 + header.size() +
                       entry["data_offsets"][0].get<int64_t>(),
                   tensor.shape[0],
                   tensor.shape.size() > 1 ? tensor.shape[1] : 1};
  }
  return tensors;
}

// compressed-tensors' own reading of pack-quantized: words of 32 bits, the first value in the
// lowest bits, stored plus 2^(bits-1); zero points packed down the rows.
std::vector<float> Unpack(const std::map<std::string, ArchiveTensor>& tensors,
                          const std::string& module,
                          int bits) {
  const auto& packed = tensors.at(module + ".weight_packed");
  const auto& scale = tensors.at(module + ".weight_scale");
  const auto zeros = tensors.find(module + ".weight_zero_point");
  const int64_t rows = scale.shape[0];
  const int64_t groups = scale.shape[1];
  const int64_t per_word = 32 / bits;
  const int64_t cols = packed.shape[1] * per_word;
  const auto word = [](const ArchiveTensor& tensor, int64_t i) {
    uint32_t value;
    std::memcpy(&value, tensor.view.data + 4 * i, sizeof(value));
    return value;
  };
  const auto field = [&](uint32_t value, int64_t i) {
    return static_cast<int>(value >> (bits * (i % per_word)) & ((1u << bits) - 1)) -
           (1 << (bits - 1));
  };
  std::vector<float> scales(groups);
  std::vector<float> out(rows * cols);
  for (int64_t r = 0; r < rows; ++r) {
    scale.view.ReadRow(r, scales);
    for (int64_t c = 0; c < cols; ++c) {
      const int64_t g = c * groups / cols;
      const int zero =
          zeros == tensors.end() ? 0 : field(word(zeros->second, r / per_word * groups + g), r);
      const int code = field(word(packed, r * packed.shape[1] + c / per_word), c);
      out[r * cols + c] = static_cast<float>(code - zero) * scales[g];
    }
  }
  return out;
}

TEST_F(ApplyFolderTest, CompressedTensorsHoldTheCodesThatWerePlanned) {
  TinyModelOptions wide = SmallModelOptions();  // Marlin's kernels want multiples of 128 inputs
  wide.hidden = 128;
  wide.ffn = 256;
  const LoadedModel model(wide);
  for (const char* format : {"int4-g32", "int4z-g32", "int8"}) {
    plans::Plan plan = PlanOf(*model, format);
    // The embedding is no linear layer, and the head stays too.
    for (plans::Component& c : *plan.mutable_components()) {
      if (c.kind() != "embed" && c.kind() != "head") continue;
      c.set_format("bf16");
      c.set_encoder("");
      c.set_size_bytes(c.rows() * c.cols() * 2);
    }
    ApplyOptions options;
    options.weights = FolderOutputOptions::Weights::kCompressedTensors;
    const std::string out = dir_.File(format);
    const absl::Status status = Apply(*model, plan, out, options);
    ASSERT_TRUE(status.ok()) << status;
    const std::string bytes = *ReadFile(out + "/model.safetensors");
    const std::map<std::string, ArchiveTensor> tensors = TensorsOf(bytes);
    const auto encoder = *MakeEncoder("clip");
    for (size_t c = 0; c < (*model).components().size(); ++c) {
      const auto id = static_cast<ComponentId>(c);
      const Component& component = (*model).component(id);
      if (component.layer < 0) continue;
      const Encoding encoding = *encoder->Encode((*model).Weight(id), *ParseFormat(format));
      std::vector<float> expected(component.rows * component.cols);
      DecodeReference(encoding, expected);
      EXPECT_EQ(Unpack(tensors, component.name, encoding.format.bits), expected)
          << component.name << " " << format;
    }
    const auto config = nlohmann::json::parse(*ReadFile(out + "/config.json"));
    EXPECT_EQ(config["quantization_config"]["quant_method"], "compressed-tensors");
  }
}

// MLX's own reading of four bits: eight codes a word, the first in the lowest bits.
std::vector<float> UnpackMlx(const std::map<std::string, ArchiveTensor>& tensors,
                             const std::string& module) {
  const auto& codes = tensors.at(module + ".weight");
  const auto& scale = tensors.at(module + ".scales");
  const auto& bias = tensors.at(module + ".biases");
  const int64_t cols = codes.shape[1] * 8;
  const int64_t groups = scale.shape[1];
  std::vector<float> scales(groups), biases(groups), out;
  for (int64_t r = 0; r < codes.shape[0]; ++r) {
    scale.view.ReadRow(r, scales);
    bias.view.ReadRow(r, biases);
    for (int64_t c = 0; c < cols; ++c) {
      uint32_t word;
      std::memcpy(&word, codes.view.data + 4 * (r * codes.shape[1] + c / 8), sizeof(word));
      const auto code = static_cast<float>(word >> (c % 8 * 4) & 15);
      out.push_back(code * scales[c * groups / cols] + biases[c * groups / cols]);
    }
  }
  return out;
}

// Phi-3's checkpoints hold q, k, v and gate, up as one matrix each, and MLX's modules do too.
TEST_F(ApplyFolderTest, MlxHoldsJoinedMatricesAsOneModule) {
  TinyModelOptions joined = SmallModelOptions();
  joined.architecture = Architecture::kPhi3;
  joined.hidden = 64;
  joined.ffn = 128;
  const LoadedModel model(joined);
  plans::Plan plan = PlanOf(*model, "affine4-g32");
  ApplyOptions options;
  options.weights = FolderOutputOptions::Weights::kMlx;
  const absl::Status status = Apply(*model, plan, dir_.File("out"), options);
  ASSERT_TRUE(status.ok()) << status;
  const std::string bytes = *ReadFile(dir_.File("out") + "/model.safetensors");
  const std::map<std::string, ArchiveTensor> tensors = TensorsOf(bytes);
  const auto encoder = *MakeEncoder("clip");
  std::map<std::string, std::vector<float>> expected;
  for (size_t c = 0; c < (*model).components().size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    const Encoding encoding = *encoder->Encode((*model).Weight(id), *ParseFormat("affine4-g32"));
    std::vector<float> decoded(encoding.rows * encoding.cols);
    DecodeReference(encoding, decoded);
    const std::string& name = (*model).component(id).stored_name;
    std::vector<float>& module = expected[name.substr(0, name.rfind(".weight"))];
    module.insert(module.end(), decoded.begin(), decoded.end());
  }
  ASSERT_TRUE(expected.contains("model.layers.0.self_attn.qkv_proj"));
  const auto config = nlohmann::json::parse(*ReadFile(dir_.File("out") + "/config.json"));
  for (const auto& [module, weights] : expected) {
    EXPECT_EQ(UnpackMlx(tensors, module), weights) << module;
    EXPECT_EQ(config["quantization"][module]["bits"], 4) << module;
  }
  plans::Component& v = *plan.mutable_components(3);
  ASSERT_EQ(v.kind(), "v");
  v.set_format("affine8-g32");
  v.set_size_bytes(SizeBytes(*ParseFormat("affine8-g32"), v.rows(), v.cols()));
  ExpectError(Apply(*model, plan, dir_.File("other"), options),
              absl::StatusCode::kInvalidArgument,
              {"mlx needs one format for model.layers.0.self_attn.q_proj", "self_attn.v_proj"});
  EXPECT_FALSE(std::filesystem::exists(dir_.File("other")));
}

}  // namespace
}  // namespace bitbudget
