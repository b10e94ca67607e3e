#include "planner/jobs/constraints.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr int64_t kMuch = int64_t{1} << 40;

std::set<std::string> Names(const std::vector<Choice>& ladder) {
  std::set<std::string> names;
  for (const Choice& choice : ladder) names.insert(choice.format.Name());
  return names;
}

// The ladder of a component by the end of its name.
std::vector<Choice> Choices(const SearchProblem& problem, const std::string& name) {
  for (int c = 0; c < problem.size(); ++c) {
    if (absl::EndsWith(problem.components[c].name, name)) return problem.ladders[c];
  }
  ADD_FAILURE() << "no component " << name;
  return {};
}
std::set<std::string> Ladder(const SearchProblem& problem, const std::string& name) {
  return Names(Choices(problem, name));
}

Format F(const char* name) { return *ParseFormat(name); }

Constraints::Pin Pin(const std::string& regex, const std::string& format) {
  return *ParsePin(absl::StrCat(regex, "=", format));
}
Constraints::MinBits MinBits(const std::string& regex, int bits) {
  return *ParseMinBits(absl::StrCat(regex, "=", bits));
}

absl::StatusOr<SearchProblem> Problem(const Model& model,
                                      const Constraints& constraints,
                                      int64_t bytes = kMuch) {
  std::vector<std::string> notes;
  absl::StatusOr<SearchProblem> problem =
      BuildProblem(model, constraints, ByteBudget{bytes}, &notes);
  EXPECT_TRUE(notes.empty()) << notes[0];
  return problem;
}

SearchProblem Build(const Model& model, const Constraints& constraints) {
  absl::StatusOr<SearchProblem> problem = Problem(model, constraints);
  EXPECT_TRUE(problem.ok()) << problem.status();
  return problem.ok() ? *std::move(problem) : SearchProblem();
}

TEST(BuildProblem, GivesEveryComponentTheDefaultsAndItsStoredFormat) {
  const LoadedModel model;
  const SearchProblem problem = Build(*model, {});
  ASSERT_EQ(problem.components.size(), (*model).components().size());
  ASSERT_EQ(problem.ladders.size(), (*model).components().size());
  EXPECT_EQ(problem.fixed_bytes, (*model).fixed_bytes());
  EXPECT_EQ(problem.MaxBytes(), kMuch);
  for (int c = 0; c < problem.size(); ++c) {
    const Component& component = problem.components[c];
    const std::vector<Choice>& ladder = problem.ladders[c];
    for (size_t i = 0; i < ladder.size(); ++i) {
      EXPECT_EQ(ladder[i].bytes, SizeBytes(ladder[i].format, component.rows, component.cols));
      if (i == 0) continue;
      EXPECT_LE(ladder[i - 1].bytes, ladder[i].bytes) << component.name;
    }
    // Rows of 64 hold one group of 64 or of 128: the same layout, so only the first stays.
    const std::set<std::string> narrow = {
        "int4-g128", "int4z-g128", "int4-g32", "int4z-g32", "int8", "int8-g32", "bf16"};
    std::set<std::string> wide = narrow;
    wide.insert({"int4-g64", "int4z-g64"});
    EXPECT_EQ(Names(ladder), component.cols == 64 ? narrow : wide) << component.name;
  }
}

TEST(BuildProblem, LeavesWastefulFormatsOutUnlessPinned) {
  const LoadedModel model;
  Constraints constraints;
  constraints.formats = {F("f32"), F("int8")};
  constraints.pins = {Pin("lm_head", "f32")};
  const SearchProblem problem = Build(*model, constraints);
  EXPECT_EQ(Ladder(problem, "embed_tokens"), std::set<std::string>{"int8"});
  EXPECT_EQ(Ladder(problem, "lm_head"), std::set<std::string>{"f32"});
  constraints.formats = {F("f32")};
  ExpectError(Problem(*model, constraints).status(),
              kInvalid,
              {"no allowed format is left for model.embed_tokens", "allow more formats"});
}

TEST(BuildProblem, TheLastMatchingPinHolds) {
  const LoadedModel model;
  Constraints constraints;
  constraints.pins = {Pin("proj", "int8"), Pin(R"(layers\.1\..*down_proj$)", "int4-g32")};
  SearchProblem problem = Build(*model, constraints);
  EXPECT_EQ(Ladder(problem, "layers.1.mlp.down_proj"), std::set<std::string>{"int4-g32"});
  EXPECT_EQ(Ladder(problem, "layers.0.mlp.down_proj"), std::set<std::string>{"int8"});
  EXPECT_EQ(Ladder(problem, "layers.1.self_attn.q_proj"), std::set<std::string>{"int8"});
  EXPECT_GT(Ladder(problem, "embed_tokens").size(), 1u);

  std::swap(constraints.pins[0], constraints.pins[1]);
  problem = Build(*model, constraints);
  EXPECT_EQ(Ladder(problem, "layers.1.mlp.down_proj"), std::set<std::string>{"int8"});
}

TEST(BuildProblem, MinBitsRaisesTheFloorAndTheHighestRuleHolds) {
  const LoadedModel model;
  Constraints constraints;
  constraints.min_bits = {MinBits("down", 8), MinBits("proj", 5), MinBits("layers.0.mlp.down", 9)};
  const SearchProblem problem = Build(*model, constraints);
  const std::set<std::string> from_8 = {"int8", "int8-g32", "bf16"};
  EXPECT_EQ(Ladder(problem, "layers.0.mlp.down_proj"), std::set<std::string>{"bf16"});
  EXPECT_EQ(Ladder(problem, "layers.1.mlp.down_proj"), from_8);
  EXPECT_EQ(Ladder(problem, "layers.1.mlp.up_proj"), from_8);
  EXPECT_TRUE(Ladder(problem, "lm_head").contains("int4-g32"));
}

TEST(BuildProblem, RefusesRulesThatCannotHold) {
  const LoadedModel model;
  const auto refusal = [&](const Constraints& constraints) {
    return Problem(*model, constraints).status();
  };
  Constraints pins;
  pins.pins = {Pin("down_prj", "int8")};
  ExpectError(refusal(pins),
              kInvalid,
              {"pin 'down_prj' matches no component of", model.files.path(), "lm_head"});
  Constraints min_bits;
  min_bits.min_bits = {MinBits("layers.7", 8)};
  ExpectError(refusal(min_bits), kInvalid, {"minimum of bits 'layers.7' matches no component"});
  Constraints endless;
  endless.pins = {Pin("(.*)*(.*)*x$", "int8")};
  ExpectError(refusal(endless), kInvalid, {"'(.*)*(.*)*x$' takes too many steps"});
  Constraints nothing_left;
  nothing_left.formats = {F("int4-g32")};
  nothing_left.min_bits = {MinBits("layers.1.mlp.up", 8)};
  ExpectError(refusal(nothing_left),
              kInvalid,
              {"no allowed format is left for model.layers.1.mlp.up_proj with at least 8 bits"});
  Constraints at_odds;
  at_odds.pins = {Pin("lm_head", "int4-g32")};
  at_odds.min_bits = {MinBits("lm_head", 8)};
  ExpectError(refusal(at_odds), kInvalid, {"lm_head with at least 8 bits"});
}

const TargetProfile* Target(const char* name) { return *FindTarget(name); }

// Ladders of 64 inputs and, for down_proj, of more.
TEST(BuildProblemForTarget, HoldsWhatTheTargetCanAndItsSubstitutes) {
  const LoadedModel model;
  Constraints constraints;
  constraints.target = Target("llama.cpp");
  const SearchProblem problem = Build(*model, constraints);
  EXPECT_TRUE(problem.units.empty());  // nothing is joined
  // Rows of 64 have no whole blocks of 256: q2_k and q3_k become q4_0, and so on.
  const std::set<std::string> substitutes = {"q4_0", "iq4_nl", "q5_0", "q5_1", "q8_0", "bf16"};
  EXPECT_EQ(Ladder(problem, "q_proj"), substitutes);
  const std::vector<Format> shared = problem.SharedFormats();
  EXPECT_NE(std::find(shared.begin(), shared.end(), F("q4_0")), shared.end());
  for (int c = 0; c < problem.size(); ++c) {
    for (const Choice& choice : problem.ladders[c]) {
      EXPECT_EQ(choice.bytes, problem.BytesIn(c, choice.format));
    }
    EXPECT_EQ(problem.ladders[c][problem.IndexOf(c, F("q2_k"))].format, F("q4_0"));
  }
}

TEST(BuildProblemForTarget, TiesWhatTheTargetJoinsAndKeepsWhatItLeavesAlone) {
  const LoadedModel model;
  Constraints constraints;
  constraints.target = Target("modelopt");
  const SearchProblem problem = Build(*model, constraints);
  ASSERT_EQ(problem.components.size(), (*model).components().size());
  ASSERT_EQ(problem.units.size(), problem.ladders.size());
  int64_t smallest = problem.fixed_bytes;
  std::vector<bool> seen(problem.components.size(), false);
  for (UnitId u = 0; u < problem.size(); ++u) {
    const Component& first = problem.components[problem.units[u][0]];
    const size_t parts = first.kind == ComponentKind::kQ      ? 3
                         : first.kind == ComponentKind::kGate ? 2
                                                              : 1;
    EXPECT_EQ(problem.units[u].size(), parts) << first.name;
    for (const ComponentId c : problem.units[u]) {
      EXPECT_FALSE(seen[c]);
      seen[c] = true;
      EXPECT_EQ(problem.UnitOf(c), u);
    }
    const bool outside = first.layer < 0;
    EXPECT_EQ(problem.Pinned(u), outside) << first.name;
    if (outside) {
      EXPECT_EQ(Names(problem.ladders[u]), std::set<std::string>{"bf16"});
    }
    smallest += problem.BytesIn(u, problem.ladders[u][0].format);
  }
  EXPECT_EQ(problem.SmallestBytes(), smallest);
  EXPECT_EQ(problem.ToAssignment(Selection(problem.size(), 0)).size(), problem.components.size());
}

TEST(BuildProblemForTarget, WhatKernelsDoNotTakeStaysAsItIs) {
  const LoadedModel model;
  Constraints constraints;
  constraints.target = Target("gptqmodel");  // rows of 64: Marlin wants 128s
  constraints.formats = {F("int4-g32")};
  const SearchProblem problem = Build(*model, constraints);
  for (UnitId u = 0; u < problem.size(); ++u) {
    const bool wide = problem.components[problem.Parts(u)[0]].cols % 128 == 0;
    const bool outside = problem.components[problem.Parts(u)[0]].layer < 0;
    EXPECT_EQ(Names(problem.ladders[u]),
              (std::set<std::string>{wide && !outside ? "int4-g32" : "bf16"}));
  }
}

TEST(BuildProblemForTarget, APinOfOnePartPinsAll) {
  const LoadedModel model;
  Constraints constraints;
  constraints.target = Target("autoround");
  constraints.pins = {Pin("layers.0.self_attn.v_proj", "int8")};
  constraints.min_bits = {MinBits("layers.1.mlp.up_proj", 8)};
  const SearchProblem problem = Build(*model, constraints);
  EXPECT_EQ(Names(problem.ladders[problem.UnitOf(1)]), std::set<std::string>{"int8"});
  for (UnitId u = 0; u < problem.size(); ++u) {
    const Component& first = problem.components[problem.Parts(u)[0]];
    if (first.kind != ComponentKind::kGate || first.layer != 1) continue;
    for (const Choice& choice : problem.ladders[u]) EXPECT_GE(choice.format.bits, 8);
  }
}

TEST(BuildProblemForTarget, FewBitsOfMlxAreForSmallBudgets) {
  const LoadedModel model;
  Constraints constraints;
  constraints.target = Target("mlx");
  std::set<std::string> expected = {
      "affine4-g32", "affine4-g64", "affine5-g64", "affine6-g64", "affine8-g64", "bf16"};
  for (const auto& [bits_per_weight, format] : std::vector<std::pair<double, std::string>>{
           {4.5, ""}, {4.4, "affine3-g64"}, {3.4, "affine2-g64"}}) {
    constraints.default_bits = bits_per_weight;
    if (!format.empty()) expected.insert(format);
    EXPECT_EQ(Ladder(Build(*model, constraints), "layers.0.self_attn.q_proj"), expected)
        << bits_per_weight;
  }
}

TEST(BuildProblemForTarget, RefusesWhatTheTargetCannotExpress) {
  const LoadedModel model;
  const auto refuse = [&](const char* target,
                          const std::vector<Constraints::Pin>& pins,
                          const std::vector<Format>& formats,
                          const std::vector<std::string>& parts) {
    Constraints constraints;
    constraints.target = Target(target);
    constraints.pins = pins;
    constraints.formats = formats;
    ExpectError(Problem(*model, constraints).status(), kInvalid, parts);
  };
  refuse("llama.cpp", {}, {F("int4-g64")}, {"format int4-g64", "llama.cpp cannot hold it", "q4_k"});
  refuse("mlx", {Pin("lm_head", "int8")}, {}, {"pin", "lm_head in int8", "mlx"});
  refuse("gptqmodel", {Pin("embed", "int8")}, {}, {"pin", "embed", "does not quantize"});
  refuse("modelopt",
         {Pin("layers.0.self_attn.q", "int8"), Pin("layers.0.self_attn.k", "int4-g32")},
         {},
         {"pin", "one format for", "layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj"});
  refuse("torchao", {Pin("o_proj", "f16")}, {}, {"o_proj in f16", "as they are stored, in bf16"});
}

TEST(ParseFormatList, KeepsTheOrderAndDropsRepetitions) {
  const auto formats = ParseFormatList("int8,int4-g64,int8");
  ASSERT_TRUE(formats.ok()) << formats.status();
  EXPECT_EQ(*formats, (std::vector<Format>{F("int8"), F("int4-g64")}));
  for (const char* text : {"", ",", "int8,", "int8, int4-g64", "int8;int4-g64", "int3"}) {
    ExpectError(ParseFormatList(text).status(), kInvalid, {"unknown format", "int4-g64"});
  }
}

TEST(ParseFormatList, KnowsFamiliesOfShares) {
  const auto formats = ParseFormatList("int8,bf16+s*,int4-g32+2:4");
  ASSERT_TRUE(formats.ok()) << formats.status();
  ASSERT_EQ(formats->size(), 1u + 1 + 39 + 1 + 1);
  EXPECT_EQ((*formats)[0], F("int8"));
  EXPECT_EQ((*formats)[1], F("bf16"));
  EXPECT_EQ((*formats)[2], F("bf16+s2.5"));
  EXPECT_EQ((*formats)[40], F("bf16+s97.5"));
  EXPECT_EQ((*formats)[41], F("removed"));
  EXPECT_EQ((*formats)[42], F("int4-g32+2:4"));
  ExpectError(ParseFormatList("q4_k+s*").status(), kInvalid, {"q4_k+s*", "only float and integer"});
  ExpectError(ParseFormatList("+s*").status(), kInvalid, {"unknown format"});
}

TEST(BuildProblem, OffersFewBitsOnlyToBudgetsThatCanUseThem) {
  const LoadedModel model;
  int64_t weights = 0;
  for (const Component& component : (*model).components()) {
    weights += component.rows * component.cols;
  }
  const auto at = [&](int64_t tenths_of_bits) {
    const auto problem = Problem(*model, {}, weights * tenths_of_bits / 80);
    EXPECT_TRUE(problem.ok()) << problem.status();
    return Ladder(*problem, "layers.0.mlp.down_proj");
  };
  EXPECT_EQ(at(45).count("int3-g128"), 0u);
  EXPECT_EQ(at(44).count("int3-g128"), 1u);
  EXPECT_EQ(at(35).count("int2-g128"), 0u);
  EXPECT_EQ(at(34).count("int2-g128"), 1u);
  EXPECT_EQ(at(34).count("int8"), 1u);
}

TEST(BuildProblem, SparseFormatsAreStepsOfOneLadderWithBits) {
  const LoadedModel model;
  Constraints constraints;
  constraints.formats =
      *ParseFormatList("bf16,int8,int4-g32,int4-g32+s50,int8+s60,int8+s70,removed");
  const SearchProblem problem = Build(*model, constraints);
  // int8 has one group per row in both shares, and they are not the same layout.
  EXPECT_EQ(Ladder(problem, "layers.0.mlp.down_proj"),
            (std::set<std::string>{
                "bf16", "int8", "int4-g32", "int4-g32+s50", "int8+s60", "int8+s70", "removed"}));
  EXPECT_EQ(problem.ladders[1].front().format, F("removed"));
  EXPECT_EQ(problem.ladders[1].front().bytes, 0);
  constraints.target = Target("mlx");
  constraints.formats = *ParseFormatList("int4-g32+s50");
  ExpectError(Problem(*model, constraints).status(), kInvalid, {"int4-g32+s50", "mlx"});
}

TEST(ParsePin, SplitsAtTheLastEqualsSign) {
  const auto pin = ParsePin("(?=down)=int4-g64");
  ASSERT_TRUE(pin.ok()) << pin.status();
  EXPECT_EQ(pin->regex.pattern(), "(?=down)");
  EXPECT_EQ(pin->format, F("int4-g64"));
  for (const char* text : {"", "=", "down", "=int8", "down="}) {
    ExpectError(ParsePin(text).status(), kInvalid, {absl::StrCat("'", text, "'"), "REGEX=FORMAT"});
  }
  ExpectError(ParsePin("[=int8").status(), kInvalid, {"'[' is not a regular expression"});
  ExpectError(ParsePin("down=int5").status(), kInvalid, {"unknown format \"int5\""});
  // A plan could not record these (plans hold printable ASCII).
  ExpectError(ParsePin("do\twn=int8").status(), kInvalid, {"'do\\twn=int8'", "ASCII"});
  // Deep nesting must be refused, not exhaust the stack.
  const std::string deep = std::string(50000, '(') + std::string(50000, ')');
  ExpectError(ParsePin(deep + "=int8").status(), kInvalid, {"it has 100000 bytes, at most 4000"});
}

TEST(ParseMinBits, TakesOneToThirtyTwoBits) {
  const auto rule = ParseMinBits("down_proj$=8");
  ASSERT_TRUE(rule.ok()) << rule.status();
  EXPECT_EQ(rule->regex.pattern(), "down_proj$");
  EXPECT_EQ(rule->bits, 8);
  for (const char* bits : {"0", "33", "-4", "eight", "8.5", "99999999999"}) {
    const std::string text = absl::StrCat("down=", bits);
    ExpectError(ParseMinBits(text).status(), kInvalid, {text, "number of bits (1 to 32)"});
  }
  ExpectError(ParseMinBits("down").status(), kInvalid, {"'down'", "REGEX=N"});
  ExpectError(ParseMinBits("(=8").status(), kInvalid, {"'(' is not a regular expression"});
}

// Layer 1's up_proj has one weight of `value`.
std::string WithOutlier(const TempDir& dir, float value) {
  TinyModelOptions options = SmallModelOptions();
  TestCheckpoint checkpoint = MakeTinyCheckpoint(options);
  TestTensor& tensor = checkpoint.Tensor("model.layers.1.mlp.up_proj.weight");
  const std::string bytes = TensorBytes({value}, options.dtype);
  tensor.bytes.replace(7 * bytes.size(), bytes.size(), bytes);
  WriteCheckpoint(checkpoint, dir.path());
  return dir.path();
}

TEST(BuildProblem, AFormatThatCannotHoldAWeightLeavesThatLadderOnly) {
  const TempDir dir;
  const std::unique_ptr<Model> model = *Model::Load(WithOutlier(dir, -917504.0f), 2);
  Constraints constraints;
  constraints.formats = {F("int2-g32"), F("int4-g32"), F("q4_0"), F("int8"), F("f16"), F("bf16")};
  std::vector<std::string> notes;
  const auto problem = BuildProblem(*model, constraints, ByteBudget{kMuch}, &notes);
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(Ladder(*problem, "layers.1.mlp.up_proj"), (std::set<std::string>{"int8", "bf16"}));
  EXPECT_EQ(Ladder(*problem, "layers.0.mlp.up_proj").size(), 6u);
  ASSERT_EQ(notes.size(), 1u);
  for (const char* part : {"layers.1.mlp.up_proj", "917504", "int2-g32,int4-g32,q4_0,f16"}) {
    EXPECT_TRUE(absl::StrContains(notes[0], part)) << notes[0];
  }
  // A model that is uniform in such a format has the next wider one there.
  const std::vector<Choice> ladder = Choices(*problem, "layers.1.mlp.up_proj");
  ASSERT_EQ(ladder.size(), 2u);
  EXPECT_EQ(ladder[0].format, F("int8"));
  EXPECT_EQ(ladder[0].instead_of, (std::vector{F("int2-g32"), F("int4-g32"), F("q4_0")}));
  EXPECT_EQ(ladder[1].instead_of, std::vector{F("f16")});
}

TEST(BuildProblem, ALargeWeightThatFourBitsHoldKeepsThem) {
  const TempDir dir;
  const std::unique_ptr<Model> model = *Model::Load(WithOutlier(dir, 3e5f), 2);
  Constraints constraints;
  constraints.formats = {F("int2-g32"), F("int3-g32"), F("int4-g32"), F("bf16")};
  std::vector<std::string> notes;
  const auto problem = BuildProblem(*model, constraints, ByteBudget{kMuch}, &notes);
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(Ladder(*problem, "layers.1.mlp.up_proj"), (std::set<std::string>{"int4-g32", "bf16"}));
}

TEST(BuildProblem, APinThatCannotHoldAWeightIsRefused) {
  const TempDir dir;
  const std::unique_ptr<Model> model = *Model::Load(WithOutlier(dir, 917504.0f), 2);
  Constraints constraints;
  constraints.pins = {Pin("up_proj", "int4-g32")};
  std::vector<std::string> notes;
  ExpectError(BuildProblem(*model, constraints, ByteBudget{kMuch}, &notes).status(),
              kInvalid,
              {"pin", "layers.1.mlp.up_proj", "917504", "int4-g32 cannot hold", "wider"});
}

}  // namespace
}  // namespace bitbudget
