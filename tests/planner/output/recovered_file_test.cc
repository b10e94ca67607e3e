#include "planner/output/recovered_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "runtime/base/mapped_file.h"
#include "runtime/base/sha256.h"
#include "tests/planner/planner_test_util.h"
#include "tests/planner/recovered_plan.h"
#include "tests/support/expect_error.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// A plan in several formats, its other codes, and the file that holds them.
class RecoveredFileTest : public testing::Test {
 protected:
  void SetUp() override {
    PlanOptions options = SmallJob("uniform", "400%");
    options.constraints.formats = {*ParseFormat("int4-g64")};
    options.constraints.pins = {*ParsePin("v_proj=bf16"),
                                *ParsePin("q_proj=int8z-g32"),
                                *ParsePin("k_proj=int4-g64+2:4"),
                                *ParsePin("down_proj=q8_0"),
                                *ParsePin("up_proj=f16"),
                                *ParsePin("1.mlp.gate_proj=onebit")};
    Progress progress;
    absl::StatusOr<plans::Plan> plan = RunPlanJob(*model_, options, &progress);
    ASSERT_TRUE(plan.ok()) << plan.status();
    codes_ = OtherCodes(*model_, *plan);
    plan_ = WithCodes(*model_, *plan, codes_, dir_.File("plan.pb"));
    path_ = dir_.File("plan.pb.weights.safetensors");
  }

  absl::Status Read() const { return ReadRecoveredFile(plan_, *model_, dir_.path(), 2).status(); }

  // The file's tensors and formats, for a test to change.
  struct Contents {
    std::vector<TestTensor> tensors;
    nlohmann::ordered_json metadata;
  };
  Contents Take() const {
    Contents contents;
    for (const auto& [id, encoding] : codes_) {
      contents.tensors.push_back({(*model_).component(id).name,
                                  "U8",
                                  {static_cast<int64_t>(encoding.bytes.size())},
                                  std::string(encoding.bytes.begin(), encoding.bytes.end())});
      contents.metadata[contents.tensors.back().name] = encoding.format.Name();
    }
    return contents;
  }

  // Writes them, and the file's hash into the plan.
  void Put(const Contents& contents) {
    auto header = nlohmann::ordered_json::parse(SafetensorsHeader(contents.tensors));
    header["__metadata__"] = contents.metadata;
    std::string data;
    for (const TestTensor& tensor : contents.tensors) data += tensor.bytes;
    const std::string file = SafetensorsFile(header.dump(), data);
    WriteTestFile(path_, file);
    plan_.mutable_recovery()->set_weights_sha256(Sha256Hex(std::as_bytes(std::span(file))));
  }

  // The plan's component and the file's tensor of the n-th entry.
  plans::Component* Planned(const Contents& contents, size_t n) {
    for (plans::Component& c : *plan_.mutable_components()) {
      if (c.name() == contents.tensors[n].name) return &c;
    }
    return nullptr;
  }

  LoadedModel model_;
  TempDir dir_;
  plans::Plan plan_;
  ComponentEncodings codes_;
  std::string path_;
};

TEST_F(RecoveredFileTest, HoldsEveryComponentThatIsNotStored) {
  const auto read = ReadRecoveredFile(plan_, *model_, dir_.path(), 2);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->parts().size(), codes_.size());
  size_t stored = 0;
  for (const plans::Component& c : plan_.components()) stored += c.format() == "bf16";
  EXPECT_GE(stored, 2u);
  EXPECT_EQ(codes_.size() + stored, static_cast<size_t>(plan_.components_size()));
  for (const auto& [id, encoding] : codes_) {
    const RecoveredWeights::Part& part = read->parts().at(id);
    EXPECT_EQ(part.format, encoding.format);
    ASSERT_EQ(part.bytes.size(), encoding.bytes.size());
    EXPECT_TRUE(std::equal(
        part.bytes.begin(), part.bytes.end(), std::as_bytes(std::span(encoding.bytes)).begin()));
  }
  EXPECT_EQ(Take().metadata.size(), codes_.size());
  Put(Take());  // the test's own writer agrees
  EXPECT_TRUE(Read().ok()) << Read();
}

TEST_F(RecoveredFileTest, AMissingFileIsNamed) {
  std::filesystem::remove(path_);
  ExpectError(Read(), absl::StatusCode::kNotFound, {path_, "recovered plan"});
}

TEST_F(RecoveredFileTest, AnotherFileIsRefused) {
  std::string file = ReadTestFile(path_);
  file.back() ^= 1;
  WriteTestFile(path_, file);
  ExpectError(Read(), kInvalid, {path_, "not the codes of this plan", "SHA-256"});
  WriteTestFile(path_, "");
  ExpectError(Read(), kInvalid, {path_, "not the codes of this plan"});
}

TEST_F(RecoveredFileTest, MissingAndExtraComponentsAreNamed) {
  Contents contents = Take();
  const std::string gone = contents.tensors[3].name;
  contents.tensors.erase(contents.tensors.begin() + 3);
  Put(contents);
  ExpectError(Read(), kInvalid, {path_, gone, "is missing"});
  for (const char* name : {"model.layers.0.self_attn.v_proj", "other"}) {
    contents = Take();
    contents.tensors.push_back({name, "U8", {1}, "x"});
    Put(contents);
    ExpectError(Read(), kInvalid, {path_, name, "no component of that name"});
  }
}

TEST_F(RecoveredFileTest, WrongFormatsAreNamed) {
  Contents contents = Take();
  const std::string& name = contents.tensors[2].name;
  const std::string planned = Planned(contents, 2)->format();
  contents.metadata[name] = "int3";
  Put(contents);
  ExpectError(Read(), kInvalid, {path_, name, "int3", planned});
  contents.metadata.erase(name);
  Put(contents);
  ExpectError(Read(), kInvalid, {path_, name, "no format", planned});
}

TEST_F(RecoveredFileTest, WrongSizesAndOtherBytesAreNamed) {
  Contents contents = Take();
  TestTensor& tensor = contents.tensors[4];
  tensor.bytes.pop_back();
  --tensor.shape[0];
  Put(contents);
  ExpectError(Read(), kInvalid, {path_, tensor.name, "bytes, but"});
  contents = Take();
  contents.tensors[4].bytes[0] ^= 1;
  Put(contents);
  ExpectError(Read(), kInvalid, {path_, contents.tensors[4].name, "SHA-256", "of the plan"});
}

TEST_F(RecoveredFileTest, DamagedEncodingsAreNamed) {
  Contents contents = Take();
  int damaged = 0;
  for (size_t n = 0; n < contents.tensors.size(); ++n) {
    Contents broken = Take();
    TestTensor& tensor = broken.tensors[n];
    plans::Component* planned = Planned(broken, n);
    const std::string before = planned->encoding_sha256();
    // All bits set: scales that are not a number, and no mask.
    tensor.bytes.assign(tensor.bytes.size(), '\xff');
    planned->set_encoding_sha256(Sha256Hex(std::as_bytes(std::span(tensor.bytes))));
    Put(broken);
    ExpectError(Read(), kInvalid, {path_, tensor.name, "is damaged: ", "row 0"});
    planned->set_encoding_sha256(before);
    ++damaged;
  }
  EXPECT_EQ(damaged, static_cast<int>(codes_.size()));
}

TEST_F(RecoveredFileTest, HoldsNormsThatAreNotTheModels) {
  VectorsByLayer vectors;
  vectors[1] = (*model_).layer(1);
  vectors[1].mlp_norm[3] = 0.375f;
  Progress progress;
  const auto hash = WriteRecoveredFile(*model_, codes_, vectors, path_, &progress);
  ASSERT_TRUE(hash.ok()) << hash.status();
  plan_.mutable_recovery()->set_weights_sha256(*hash);
  const auto read = ReadRecoveredFile(plan_, *model_, dir_.path(), 2);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->vectors().size(), 1u);
  EXPECT_EQ(read->vectors().at(1).mlp_norm, vectors[1].mlp_norm);
  EXPECT_EQ(read->vectors().at(1).attention_norm, (*model_).layer(1).attention_norm);
}

TEST_F(RecoveredFileTest, NormsThatDoNotFitTheModelAreNamed) {
  const auto expect = [&](TestTensor tensor, const std::string& what) {
    Contents contents = Take();
    contents.tensors.push_back(std::move(tensor));
    Put(contents);
    ExpectError(Read(), kInvalid, {path_, contents.tensors.back().name, what});
  };
  const std::string name = "model.layers.0.input_layernorm.weight";
  expect({"model.layers.9.input_layernorm.weight", "F32", {1}, "1234"}, "no norm or bias");
  expect({name, "F32", {1}, "1234"}, "has 1 values");
  const int64_t hidden = (*model_).config().hidden_size;
  expect({name, "F32", {hidden}, std::string(hidden * 4, '\xff')}, "not finite");
  expect({name, "U8", {1}, "x"}, "no component of that name");
}

TEST_F(RecoveredFileTest, AFileThatIsNoSafetensorsIsRefused) {
  WriteTestFile(path_, "codes");
  plan_.mutable_recovery()->set_weights_sha256(Sha256Hex(std::as_bytes(std::span("codes", 5))));
  ExpectError(Read(), kInvalid, {path_, "too few for a safetensors file"});
}

}  // namespace
}  // namespace bitbudget
