#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/sha256.h"
#include "runtime/model/decoder/model.h"
#include "tests/support/resident.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

std::unique_ptr<Model> MustLoad(const std::string& folder, int threads = 2) {
  auto model = Model::Load(folder, threads);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::string MustFingerprint(const TestCheckpoint& checkpoint, int shards = 1) {
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path(), shards);
  const std::unique_ptr<Model> model = MustLoad(dir.path());
  return model == nullptr ? "" : model->Fingerprint();
}

std::vector<float> ReadAll(const TensorView& view) {
  std::vector<float> values(view.size());
  for (int64_t row = 0; row < view.rows; ++row) {
    view.ReadRow(row, std::span(values).subspan(row * view.cols, view.cols));
  }
  return values;
}

std::string Describe(const TinyModelOptions& o) {
  return absl::StrCat("architecture ",
                      static_cast<int>(o.architecture),
                      " kv ",
                      o.kv_heads,
                      " tied ",
                      o.tied,
                      " attention_bias ",
                      o.attention_bias,
                      " mlp_bias ",
                      o.mlp_bias,
                      " dtype ",
                      o.dtype.Name(),
                      " shards ",
                      o.shards);
}

TEST(ModelLoad, EveryVariantLoadsWithExactCountsAndBytes) {
  for (int variant = 0; variant < 3 * 64; ++variant) {
    TinyModelOptions o;
    o.dtype = std::vector{kFormatF32, kFormatF16, kFormatBF16}[variant / 64];
    o.architecture = (variant & 1) != 0 ? Architecture::kMistral : Architecture::kLlama;
    o.tied = (variant & 2) != 0;
    o.attention_bias = (variant & 4) != 0;
    o.mlp_bias = (variant & 8) != 0;
    o.shards = (variant & 16) != 0 ? 3 : 1;
    o.kv_heads = (variant & 32) != 0 ? 4 : 1;
    o.hidden = 24;
    o.head_dim = 8;  // 4 heads of 8: q_size is not the hidden size
    o.ffn = 20;
    o.vocab = 16;
    SCOPED_TRACE(Describe(o));
    const TestCheckpoint checkpoint = MakeTinyCheckpoint(o);
    TempDir dir;
    WriteCheckpoint(checkpoint, dir.path(), o.shards);
    const std::unique_ptr<Model> model = MustLoad(dir.path());
    ASSERT_NE(model, nullptr);

    int64_t parameters = 0;
    int64_t bytes = 0;
    int64_t vector_parameters = 0;
    for (const TestTensor& tensor : checkpoint.tensors) {
      const int64_t size = static_cast<int64_t>(tensor.bytes.size()) / (o.dtype.bits / 8);
      parameters += size;
      bytes += static_cast<int64_t>(tensor.bytes.size());
      if (tensor.shape.size() == 1) vector_parameters += size;
    }
    EXPECT_EQ(model->parameter_count(), parameters);
    EXPECT_EQ(model->stored_bytes(), bytes);
    EXPECT_EQ(model->fixed_bytes(), vector_parameters * (o.dtype.bits / 8));

    ASSERT_EQ(model->components().size(), static_cast<size_t>(o.tied ? 15 : 16));
    EXPECT_EQ(model->head(), o.tied ? 0 : 15);
    size_t i = 0;  // the generator writes the components' tensors first, in this order
    for (const Component& component : model->components()) {
      const TestTensor& tensor = checkpoint.tensors[i];
      ASSERT_EQ(component.name + ".weight", tensor.name);
      const TensorView& view = model->Weight(static_cast<ComponentId>(i++));
      EXPECT_EQ(view.format, o.dtype);
      EXPECT_EQ(view.rows, component.rows);
      EXPECT_EQ(view.cols, component.cols);
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(view.data), view.bytes()), tensor.bytes);
    }
  }
}

TEST(ModelLoad, VectorsGoWhereTheirNamesSay) {
  TinyModelOptions options;
  options.attention_bias = true;
  options.mlp_bias = true;
  options.dtype = kFormatBF16;
  const TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const std::unique_ptr<Model> model = MustLoad(dir.path());
  ASSERT_NE(model, nullptr);
  const auto expect = [&](const std::vector<float>& got, const std::string& name) {
    SCOPED_TRACE(name);
    TestCheckpoint copy = checkpoint;
    EXPECT_EQ(TensorBytes(got, kFormatBF16), copy.Tensor(name).bytes);
    EXPECT_FALSE(got.empty());
  };
  for (int b = 0; b < 2; ++b) {
    const std::string layer = absl::StrCat("model.layers.", b, ".");
    const LayerVectors& vectors = model->layer(b);
    expect(vectors.attention_norm, layer + "input_layernorm.weight");
    expect(vectors.mlp_norm, layer + "post_attention_layernorm.weight");
    expect(vectors.q_bias, layer + "self_attn.q_proj.bias");
    expect(vectors.k_bias, layer + "self_attn.k_proj.bias");
    expect(vectors.v_bias, layer + "self_attn.v_proj.bias");
    expect(vectors.o_bias, layer + "self_attn.o_proj.bias");
    expect(vectors.gate_bias, layer + "mlp.gate_proj.bias");
    expect(vectors.up_bias, layer + "mlp.up_proj.bias");
    expect(vectors.down_bias, layer + "mlp.down_proj.bias");
  }
  expect(model->final_norm(), "model.norm.weight");

  TinyModel without_biases;
  const std::unique_ptr<Model> plain = MustLoad(without_biases.path());
  ASSERT_NE(plain, nullptr);
  EXPECT_TRUE(plain->layer(0).q_bias.empty());
  EXPECT_TRUE(plain->layer(0).down_bias.empty());
}

// Floats of a tensor as it was written.
std::vector<float> Written(TestCheckpoint checkpoint, const std::string& name) {
  const std::string& bytes = checkpoint.Tensor(name).bytes;
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(ModelLoad, GemmasNormsGetTheirOffsetAndTheirPlaces) {
  for (const Architecture architecture : {Architecture::kGemma2, Architecture::kGemma3}) {
    TinyModelOptions options;
    options.architecture = architecture;
    const TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
    TempDir dir;
    WriteCheckpoint(checkpoint, dir.path());
    const std::unique_ptr<Model> model = MustLoad(dir.path());
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->head(), 0);
    const auto expect = [&](const std::vector<float>& got, const std::string& name) {
      std::vector<float> expected = Written(checkpoint, name + ".weight");
      for (float& value : expected) value = 1 + value;
      EXPECT_EQ(got, expected) << name;
    };
    const bool gemma3 = architecture == Architecture::kGemma3;
    for (int b = 0; b < 2; ++b) {
      const std::string layer = absl::StrCat("model.layers.", b, ".");
      const LayerVectors& vectors = model->layer(b);
      expect(vectors.attention_norm, layer + "input_layernorm");
      expect(vectors.attention_post_norm, layer + "post_attention_layernorm");
      expect(vectors.mlp_norm, layer + "pre_feedforward_layernorm");
      expect(vectors.mlp_post_norm, layer + "post_feedforward_layernorm");
      EXPECT_EQ(vectors.q_norm.empty(), !gemma3);
      if (gemma3) {
        expect(vectors.q_norm, layer + "self_attn.q_norm");
        expect(vectors.k_norm, layer + "self_attn.k_norm");
      }
    }
    expect(model->final_norm(), "model.norm");
  }
}

TEST(ModelLoad, HeadNormsOfQwen3AreThoseStored) {
  TinyModelOptions options;
  options.architecture = Architecture::kQwen3;
  const TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const std::unique_ptr<Model> model = MustLoad(dir.path());
  ASSERT_NE(model, nullptr);
  const std::string attention = "model.layers.1.self_attn.";
  EXPECT_EQ(model->layer(1).q_norm, Written(checkpoint, attention + "q_norm.weight"));
  EXPECT_EQ(model->layer(1).k_norm, Written(checkpoint, attention + "k_norm.weight"));
}

TEST(ModelLoad, FusedProjectionsAreTakenApart) {
  TinyModelOptions options;
  options.architecture = Architecture::kPhi3;
  options.head_dim = 12;  // 48 rows of q, 24 of k and of v
  const TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const std::unique_ptr<Model> model = MustLoad(dir.path());
  ASSERT_NE(model, nullptr);
  const std::vector<float> qkv = Written(checkpoint, "model.layers.1.self_attn.qkv_proj.weight");
  const std::vector<float> gate_up = Written(checkpoint, "model.layers.1.mlp.gate_up_proj.weight");
  ASSERT_EQ(qkv.size(), size_t{96 * 32});
  ASSERT_EQ(gate_up.size(), size_t{96 * 32});
  const auto expect =
      [&](ComponentId id, const std::vector<float>& all, int64_t row, int64_t rows) {
        const auto first = all.begin() + row * 32;
        EXPECT_EQ(ReadAll(model->Weight(id)), std::vector<float>(first, first + rows * 32))
            << model->component(id).name;
      };
  expect(8, qkv, 0, 48);
  expect(9, qkv, 48, 24);
  expect(10, qkv, 72, 24);
  expect(12, gate_up, 0, 48);
  expect(13, gate_up, 48, 48);

  // Every tensor counts once.
  int64_t parameters = 0;
  for (const TestTensor& tensor : checkpoint.tensors) {
    parameters += static_cast<int64_t>(tensor.bytes.size() / sizeof(float));
  }
  EXPECT_EQ(model->parameter_count(), parameters);
  EXPECT_EQ(model->stored_bytes(), 4 * parameters);
}

TEST(ModelLoad, AcceptsWhatOldExportersAdd) {
  TinyModelOptions options;
  options.tied = true;
  TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
  TempDir plain_dir;
  WriteCheckpoint(checkpoint, plain_dir.path());
  const std::unique_ptr<Model> plain = MustLoad(plain_dir.path());
  ASSERT_NE(plain, nullptr);

  checkpoint.tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq",
                                "F32",
                                {2},
                                TensorBytes({1.0f, 0.01f}, kFormatF32)});
  TestTensor head = checkpoint.Tensor("model.embed_tokens.weight");
  head.name = "lm_head.weight";  // bitwise the embedding
  checkpoint.tensors.push_back(head);
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const std::unique_ptr<Model> model = MustLoad(dir.path());
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->parameter_count(), plain->parameter_count());
  EXPECT_EQ(model->stored_bytes(), plain->stored_bytes());
  EXPECT_EQ(model->fixed_bytes(), plain->fixed_bytes());
  EXPECT_EQ(model->head(), 0);
}

TEST(ModelLoad, DTypesMayDifferBetweenTensors) {
  TestCheckpoint checkpoint = MakeTinyCheckpoint({});
  TestTensor& up = checkpoint.Tensor("model.layers.1.mlp.up_proj.weight");
  up.dtype = "BF16";
  up.bytes = TensorBytes(std::vector<float>(48 * 32, 0.25f), kFormatBF16);
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const std::unique_ptr<Model> model = MustLoad(dir.path());
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->Weight(13).format, kFormatBF16);
  EXPECT_EQ(ReadAll(model->Weight(13)), std::vector<float>(48 * 32, 0.25f));
}

TEST(Fingerprint, IsTheSameForAnyShardingAndAnyThread) {
  const TestCheckpoint checkpoint = MakeTinyCheckpoint({});
  const std::string one = MustFingerprint(checkpoint);
  EXPECT_EQ(one.size(), 64u);
  EXPECT_EQ(MustFingerprint(checkpoint, 2), one);
  EXPECT_EQ(MustFingerprint(checkpoint, 7), one);

  TestCheckpoint reversed = checkpoint;  // another order in the file
  std::reverse(reversed.tensors.begin(), reversed.tensors.end());
  EXPECT_EQ(MustFingerprint(reversed), one);

  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const std::unique_ptr<Model> model = MustLoad(dir.path());
  ASSERT_NE(model, nullptr);
  std::vector<std::string> seen(8);
  std::vector<std::thread> threads;
  for (std::string& out : seen) threads.emplace_back([&] { out = model->Fingerprint(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(seen, std::vector<std::string>(8, one));
}

TEST(Fingerprint, ChangesWithAnyWeightBitNameTypeOrConfigValue) {
  const TestCheckpoint checkpoint = MakeTinyCheckpoint({});
  std::vector<std::string> all = {MustFingerprint(checkpoint)};

  TestCheckpoint changed = checkpoint;
  changed.tensors.back().bytes[0] ^= 1;  // the last bit of one norm weight
  all.push_back(MustFingerprint(changed));

  changed = checkpoint;
  changed.SetField("rope_theta", "10001.0");
  all.push_back(MustFingerprint(changed));

  changed = checkpoint;  // the same bytes under two exchanged names
  std::swap(changed.Tensor("model.layers.0.mlp.up_proj.weight").name,
            changed.Tensor("model.layers.0.mlp.gate_proj.weight").name);
  all.push_back(MustFingerprint(changed));

  changed = checkpoint;  // all zero bits mean the same numbers, stored in half the bytes
  TestTensor& norm = changed.Tensor("model.norm.weight");
  norm.bytes.assign(norm.bytes.size(), '\0');
  all.push_back(MustFingerprint(changed));
  norm.dtype = "BF16";
  norm.bytes.resize(norm.bytes.size() / 2);
  all.push_back(MustFingerprint(changed));
  norm.dtype = "F16";
  all.push_back(MustFingerprint(changed));

  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(all[i], all[j]) << i << " and " << j;
  }
}

TEST(BundledModels, LoadWithTheSizesTheirConfigsGive) {
  const std::string root = absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/");
  const std::unique_ptr<Model> small = MustLoad(root + "novel-1m");
  ASSERT_NE(small, nullptr);
  EXPECT_EQ(small->components().size(), 1u + 4 * 7);
  EXPECT_EQ(small->stored_bytes(), 1448472 - 8 - 4368);  // the file without its header
  EXPECT_EQ(small->parameter_count(), small->stored_bytes() / 2);
  EXPECT_EQ(small->fixed_bytes(), 2 * 128 * (4 * 2 + 1));
  ASSERT_NE(small->tokenizer(), nullptr);
  EXPECT_EQ(small->tokenizer()->vocab_size(), 1024);

  const std::unique_ptr<Model> large = MustLoad(root + "novel-8m");
  ASSERT_NE(large, nullptr);
  EXPECT_EQ(large->components().size(), 1u + 8 * 7);
  EXPECT_EQ(large->stored_bytes(), 14697440 - 8 - 8664);
  EXPECT_NE(large->Fingerprint(), small->Fingerprint());
}

TEST(Sha256, GivesTheStandardsDigestsInAnyPieces) {
  // FIPS 180-2, appendix B.
  EXPECT_EQ(Sha256Hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 hash;
  hash.Update("a");
  hash.Update("");
  hash.Update("bc");
  EXPECT_EQ(hash.Finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(ModelLoad, WeightsLeaveMemoryOnceTheyAreRead) {
  TinyModelOptions options;
  options.hidden = 512;
  options.ffn = 2048;
  const TinyModel tiny(options);
  const std::string file = tiny.path() + "/model.safetensors";
  const std::unique_ptr<Model> model = MustLoad(tiny.path());
  ASSERT_NE(model, nullptr);
  const int64_t stored = model->stored_bytes() >> 10;
  ASSERT_GE(stored, 8 << 10);
  EXPECT_LT(ResidentKiB(file), stored / 8) << "after loading, of " << stored;
  model->Fingerprint();
  EXPECT_LT(ResidentKiB(file), stored / 8) << "after the fingerprint, of " << stored;
  std::vector<std::vector<float>> values;
  for (ComponentId id = 0; id < static_cast<ComponentId>(model->components().size()); ++id) {
    values.push_back(ReadAll(model->Weight(id)));
  }
  EXPECT_GT(ResidentKiB(file), stored / 2);
  for (ComponentId id = 0; id < static_cast<ComponentId>(values.size()); ++id) {
    model->ReleasePages(id);
  }
  EXPECT_LT(ResidentKiB(file), stored / 8);
  EXPECT_EQ(ReadAll(model->Weight(1)), values[1]);
}

}  // namespace
}  // namespace bitbudget
