#include "runtime/eval/bank.h"

#include <bit>
#include <string>
#include <utility>
#include <vector>

#include "tests/eval/eval_bench.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

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
  add(panels.codes);
  add(panels.zeros);
  add(panels.scales);
  return bits;
}

const Format kInt8 = *ParseFormat("int8");
const Format kInt4 = *ParseFormat("int4-g32");

TEST(EncodingBank, TheStoredFormatIsTheUnmodifiedCheckpoint) {
  for (const bool tied : {false, true}) {
    EvalBench bench = TinyBench(tied);
    const Assignment stored = bench.bank->StoredAssignment();
    EXPECT_EQ(stored, Uniform(bench, "bf16"));
    const WeightLease lease = PinAll(bench.bank.get(), stored);
    EXPECT_FALSE(lease.set().round_activations);
    for (size_t c = 0; c < stored.size(); ++c) {
      EXPECT_EQ(Bits(*lease.set().components[c]), Bits(*bench.weights->set().components[c]));
    }
    EXPECT_EQ(bench.bank->counts().encoded, 0);
  }
}

TEST(EncodingBank, EncodesEveryComponentInItsFormatOnAnyThreads) {
  for (const bool tied : {false, true}) {
    EvalBench bench = TinyBench(tied);
    Random random(5);
    Assignment assignment = bench.bank->StoredAssignment();
    for (size_t c = 0; c < assignment.size(); ++c) {
      assignment[c] = RandomFormatFor(bench.model->components()[c].cols, &random);
    }
    assignment[0] = kInt8;
    EncodingBank other(*bench.model, *bench.weight_encoder, BankOptions());
    EncodingBank f32(*bench.model, *bench.weight_encoder, {.activations = Activations::kF32});
    const WeightLease one = PinAll(bench.bank.get(), assignment, 1);
    const WeightLease four = PinAll(&other, assignment, 4);
    const WeightLease as_f32 = PinAll(&f32, assignment, 2);
    for (size_t c = 0; c < assignment.size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      EXPECT_EQ(Bits(*one.set().components[c]), Bits(*four.set().components[c]));
      if (c == 0 && !tied) continue;  // rows only
      const Encoding encoding = *bench.encoder->Encode(bench.model->Weight(id), assignment[c]);
      EXPECT_EQ(Bits(*one.set().components[c]),
                Bits(ComponentWeights(encoding, Activations::kInt16)));
      EXPECT_EQ(Bits(*as_f32.set().components[c]),
                Bits(ComponentWeights(encoding, Activations::kF32)));
      EXPECT_EQ(as_f32.set().components[c]->panels().path,
                assignment[c].kind == FormatKind::kRemoved ? Path::kNone : Path::kF32);
    }
    // The embedding's rows are read as its encoding decodes them.
    std::vector<float> row(32), decoded(32);
    const Encoding embedding = *bench.encoder->Encode(bench.model->Weight(0), assignment[0]);
    for (const int64_t token : {0, 17, 63}) {
      one.set().components[0]->ReadRow(token, row);
      DecodeReferenceRow(embedding, token, decoded);
      EXPECT_EQ(row, decoded);
    }
  }
}

TEST(EncodingBank, EncodesAndPacksOnceWhatFits) {
  EvalBench bench = TinyBench(false);
  const Assignment int8 = Uniform(bench, "int8");
  const int64_t components = static_cast<int64_t>(int8.size());
  ASSERT_TRUE(bench.bank->Prepare(int8, 2, &bench.progress).ok());
  EXPECT_EQ(bench.bank->counts().encoded, components);
  EXPECT_EQ(bench.bank->counts().packed, 0);
  for (int i = 0; i < 3; ++i) {
    PinAll(bench.bank.get(), int8);
    EXPECT_EQ(bench.bank->counts().encoded, components);
    EXPECT_EQ(bench.bank->counts().packed, components);
  }
  Assignment changed = int8;
  changed[3] = kInt4;
  PinAll(bench.bank.get(), changed);
  EXPECT_EQ(bench.bank->counts().encoded, components + 1);
  EXPECT_EQ(bench.bank->counts().packed, components + 1);
  EXPECT_EQ(bench.bank->counts().spilled_bytes, 0);
}

// Pins the stages of an assignment in turn, as a pass does, and gives all components' bits.
std::vector<std::string> BitsOfAPass(EncodingBank* bank, const Assignment& assignment) {
  std::vector<std::string> bits(assignment.size());
  const int end = NumStages(bank->model().config());
  for (int stage = 0; stage < end;) {
    const auto lease = bank->Pin(assignment, F32Activations::kExact, stage, end, 2);
    EXPECT_TRUE(lease.ok()) << lease.status();
    EXPECT_GT(lease->end(), stage);
    for (; stage < lease->end(); ++stage) {
      for (const ComponentId id : StageComponents(stage, bank->model().config())) {
        bits[id] = Bits(*lease->set().components[id]);
      }
    }
  }
  return bits;
}

TEST(EncodingBank, GivesTheSameBitsFromAnyMemoryAndEncodesOnce) {
  for (const bool tied : {false, true}) {
    EvalBench bench = TinyBench(tied);
    const std::vector<Assignment> passes = {Uniform(bench, "int8"),
                                            Uniform(bench, "int4-g32"),
                                            Uniform(bench, "int8"),
                                            bench.bank->StoredAssignment(),
                                            Uniform(bench, "int4-g32")};
    std::vector<std::vector<std::string>> expected;
    for (const Assignment& pass : passes) expected.push_back(BitsOfAPass(bench.bank.get(), pass));
    const int64_t all = bench.bank->counts().held_bytes;
    const int64_t encoded = bench.bank->counts().encoded;
    int64_t packed = INT64_MAX;
    for (int64_t eighths = 0; eighths <= 8; ++eighths) {
      EncodingBank bank(*bench.model, *bench.weight_encoder, {.max_bytes = all * eighths / 8});
      for (size_t i = 0; i < passes.size(); ++i) {
        EXPECT_EQ(BitsOfAPass(&bank, passes[i]), expected[i]) << eighths;
      }
      EXPECT_EQ(bank.counts().encoded, encoded);
      // More memory never means more work.
      EXPECT_LE(bank.counts().packed, packed);
      packed = bank.counts().packed;
      if (eighths == 0) {
        EXPECT_GT(bank.counts().spilled_bytes, 0);
      } else if (eighths == 8) {
        EXPECT_EQ(bank.counts().spilled_bytes, 0);
      }
    }
    EXPECT_EQ(packed, bench.bank->counts().packed);
  }
}

TEST(EncodingBank, HoldsNoMoreThanItsLimitWhereAStageFits) {
  EvalBench bench = TinyBench(false);
  // The largest stage is the MLP in f32: 3 x 32 x 64 floats, padded.
  int64_t stage_bytes = 0;
  for (const ComponentId id : StageComponents(2, bench.model->config())) {
    stage_bytes += bench.bank->PanelBytes({id, kFormatBF16});
  }
  for (const int64_t limit : {stage_bytes, 2 * stage_bytes, 5 * stage_bytes}) {
    EncodingBank bank(*bench.model, *bench.weight_encoder, {.max_bytes = limit});
    Random random(8);
    for (int i = 0; i < 20; ++i) {
      BitsOfAPass(&bank, RandomAssignment(bank, &random));
      EXPECT_LE(bank.counts().held_bytes, limit);
    }
  }
}

TEST(EncodingBank, ACycleOverMoreThanFitsFindsPartOfItThere) {
  EvalBench bench = TinyBench(false);
  const Assignment stored = bench.bank->StoredAssignment();
  PinAll(bench.bank.get(), stored);
  const int64_t all = bench.bank->counts().held_bytes;
  EncodingBank bank(*bench.model, *bench.weight_encoder, {.max_bytes = all * 3 / 4});
  BitsOfAPass(&bank, stored);
  const int64_t once = bank.counts().packed;
  for (int i = 0; i < 10; ++i) BitsOfAPass(&bank, stored);
  // Strictly "least recently used" would pack everything again in every pass.
  EXPECT_LT(bank.counts().packed - once, 10 * once * 2 / 3);
}

TEST(EncodingBank, PanelBytesAreAnUpperBoundThatIsClose) {
  for (const bool tied : {false, true}) {
    EvalBench bench = TinyBench(tied);
    for (const Activations activations :
         {Activations::kInt16, Activations::kF32, Activations::kLlamaCpp}) {
      for (const Format& format : SupportedFormats()) {
        EncodingBank bank(*bench.model, *bench.weight_encoder, {.activations = activations});
        Assignment assignment = bank.StoredAssignment();
        for (size_t c = 0; c < assignment.size(); ++c) {
          if (Fits(format, bench.model->components()[c].cols)) assignment[c] = format;
        }
        const WeightLease lease = PinAll(&bank, assignment);
        for (size_t c = 0; c < assignment.size(); ++c) {
          const int64_t bound = bank.PanelBytes({static_cast<ComponentId>(c), assignment[c]});
          const int64_t bytes = lease.set().components[c]->bytes();
          EXPECT_LE(bytes, bound) << format.Name();
          EXPECT_GE(2 * bytes, bound) << format.Name();
        }
      }
    }
  }
}

TEST(EncodingBank, ADiskThatCannotBeWrittenIsOneClearLine) {
  EvalBench bench = TinyBench(false);
  const TempDir dir;
  EncodingBank bank(*bench.model,
                    *bench.weight_encoder,
                    {.max_bytes = 0, .spill_directory = dir.path() + "/missing"});
  ExpectError(bank.Prepare(Uniform(bench, "int8"), 1, &bench.progress),
              absl::StatusCode::kNotFound,
              {dir.path() + "/missing", "use a directory with room for them, or more memory"});
}

TEST(EncodingBank, SaysWhichComponentCannotBeEncoded) {
  EvalBench bench = TinyBench(false);
  TinyModelOptions options;
  options.layers = 3;
  options.weight_scale = 1e12;  // beyond the scales that f16 can hold
  const TinyModel tiny(options);
  const auto huge = Model::Load(tiny.path(), 1);
  ASSERT_TRUE(huge.ok()) << huge.status();
  const StatsWeightEncoder encoder(**huge, *bench.encoder);
  EncodingBank bank(**huge, encoder, BankOptions());
  Assignment assignment = bank.StoredAssignment();
  assignment[9] = kInt8;
  ExpectError(bank.Prepare(assignment, 2, &bench.progress),
              absl::StatusCode::kInvalidArgument,
              {"model.layers.1.self_attn.k_proj", "int8"});
  EXPECT_TRUE(bank.Prepare(bank.StoredAssignment(), 2, &bench.progress).ok());

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
