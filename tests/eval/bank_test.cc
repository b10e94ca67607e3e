#include "runtime/eval/bank.h"

#include <bit>
#include <string>
#include <utility>
#include <vector>

#include "tests/eval/eval_bench.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

// The panels' contents, to compare bit for bit.
std::string Bits(const ComponentWeights& weights) {
  const WeightPanels& panels = weights.panels();
  std::string bits;
  const auto add = [&](const auto& buffer) {
    const auto bytes = std::as_bytes(buffer.span());
    bits.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  add(panels.f32);
  add(panels.i16);
  add(panels.scales);
  return bits;
}

const Format kInt8 = *ParseFormat("int8");
const Format kInt4 = *ParseFormat("int4-g32");

TEST(EncodingBank, TheStoredFormatIsTheUnmodifiedCheckpoint) {
  EvalBench bench = TinyBench(false);
  const Assignment stored = bench.bank->StoredAssignment();
  EXPECT_EQ(stored, Uniform(bench, "bf16"));
  const auto set = bench.bank->Weights(stored, 1);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->components, bench.weights->set().components);
  EXPECT_FALSE(set->round_activations);
}

TEST(EncodingBank, EncodesEveryComponentInItsFormatOnAnyThreads) {
  EvalBench bench = TinyBench(true);
  Random random(5);
  Assignment assignment = bench.bank->StoredAssignment();
  for (Format& format : assignment) {
    format = SupportedFormats()[random.Below(SupportedFormats().size())];
  }
  EncodingBank other(*bench.model, *bench.weights, *bench.encoder, Activations::kInt16);
  EncodingBank f32(*bench.model, *bench.weights, *bench.encoder, Activations::kF32);
  const auto one = bench.bank->Weights(assignment, 1);
  const auto four = other.Weights(assignment, 4);
  const auto as_f32 = f32.Weights(assignment, 2);
  ASSERT_TRUE(one.ok() && four.ok() && as_f32.ok());
  for (size_t c = 0; c < assignment.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    EXPECT_EQ(Bits(*one->components[c]), Bits(*four->components[c]));
    const Encoding encoding = *bench.encoder->Encode(bench.model->Weight(id), assignment[c]);
    const ComponentWeights expected(encoding, Activations::kInt16, false);
    const ComponentWeights expected_f32(encoding, Activations::kF32, false);
    EXPECT_EQ(Bits(*one->components[c]), Bits(expected));
    EXPECT_EQ(Bits(*as_f32->components[c]), Bits(expected_f32));
    EXPECT_EQ(as_f32->components[c]->panels().path, Path::kF32);
  }
  // The embedding's rows are read as its encoding decodes them.
  std::vector<float> row(32), decoded(32);
  const Encoding embedding = *bench.encoder->Encode(bench.model->Weight(0), assignment[0]);
  for (const int64_t token : {0, 17, 63}) {
    one->components[0]->ReadRow(token, row);
    DecodeReferenceRow(embedding, token, decoded);
    EXPECT_EQ(row, decoded);
  }
}

TEST(EncodingBank, EncodesOnce) {
  EvalBench bench = TinyBench(false);
  const std::vector<ComponentFormat> wanted = {{3, kInt8}, {3, kInt4}, {3, kInt8}, {4, kInt8}};
  ASSERT_TRUE(bench.bank->Prepare(wanted, 2).ok());
  const ComponentWeights* first = bench.bank->Get(3, kInt8);
  EXPECT_NE(first, bench.bank->Get(3, kInt4));
  ASSERT_TRUE(bench.bank->Prepare(wanted, 2).ok());
  EXPECT_EQ(bench.bank->Get(3, kInt8), first);
}

TEST(EncodingBankDeathTest, TrimFreesAndTheSameBitsComeBack) {
  EvalBench bench = TinyBench(false);
  EncodingBank bank(*bench.model, *bench.weights, *bench.encoder, Activations::kInt16, 0);
  ASSERT_TRUE(bank.Prepare(std::vector<ComponentFormat>{{3, kInt8}, {9, kInt4}}, 1).ok());
  const std::string kept = Bits(*bank.Get(3, kInt8));
  const std::string freed = Bits(*bank.Get(9, kInt4));
  const ComponentWeights* kept_weights = bank.Get(3, kInt8);
  Assignment keep = bank.StoredAssignment();
  keep[3] = kInt8;
  bank.Trim(keep);
  EXPECT_EQ(bank.Get(3, kInt8), kept_weights);
  EXPECT_EQ(Bits(*kept_weights), kept);
  EXPECT_DEATH(bank.Get(9, kInt4), "component 9 was not prepared");
  ASSERT_TRUE(bank.Prepare(std::vector<ComponentFormat>{{9, kInt4}}, 1).ok());
  EXPECT_EQ(Bits(*bank.Get(9, kInt4)), freed);
}

TEST(EncodingBankDeathTest, TrimFreesTheLeastRecentlyUsedAndNoMoreThanNeeded) {
  EvalBench bench = TinyBench(false);
  const std::vector<ComponentFormat> wanted = {{1, kInt8}, {8, kInt8}, {15, kInt8}};  // q, q, q
  ASSERT_TRUE(bench.bank->Prepare(wanted, 1).ok());
  const int64_t each = bench.bank->Get(1, kInt8)->bytes();
  EncodingBank bank(*bench.model, *bench.weights, *bench.encoder, Activations::kInt16, 2 * each);
  ASSERT_TRUE(bank.Prepare(wanted, 1).ok());
  bank.Get(8, kInt8);
  bank.Get(1, kInt8);
  bank.Get(15, kInt8);
  bank.Get(1, kInt8);
  bank.Trim({});
  bank.Get(1, kInt8);
  bank.Get(15, kInt8);
  EXPECT_DEATH(bank.Get(8, kInt8), "not prepared");
  bank.Trim({});  // fits now
  bank.Get(1, kInt8);
  bank.Get(15, kInt8);
}

TEST(EncodingBank, SaysWhichComponentCannotBeEncoded) {
  EvalBench bench = TinyBench(false);
  TinyModelOptions options;
  options.layers = 3;
  options.weight_scale = 1e12;  // beyond the scales that f16 can hold
  const TinyModel tiny(options);
  const auto huge = Model::Load(tiny.path(), 1);
  ASSERT_TRUE(huge.ok()) << huge.status();
  EncodingBank bank(**huge, *bench.weights, *bench.encoder, Activations::kInt16);
  Assignment assignment = bank.StoredAssignment();
  assignment[9] = kInt8;
  ExpectError(bank.Weights(assignment, 2).status(),
              absl::StatusCode::kInvalidArgument,
              {"model.layers.1.self_attn.k_proj", "int8"});
  EXPECT_TRUE(bank.Weights(bank.StoredAssignment(), 2).ok());

  Evaluator evaluator(*bench.transformer, *bench.reference, &bank, {}, &bench.progress);
  ASSERT_TRUE(evaluator.SetIncumbent(bank.StoredAssignment()).ok());
  const Evaluation incumbent = evaluator.incumbent_evaluation();
  const std::vector<ComponentFormat> delta = {{9, kInt8}};
  EXPECT_EQ(evaluator.Evaluate(delta).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(evaluator.Commit(delta).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(evaluator.SetIncumbent(assignment).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(evaluator.incumbent(), bank.StoredAssignment());
  EXPECT_EQ(*evaluator.Evaluate({}), incumbent);
}

}  // namespace
}  // namespace bitbudget
