#include "runtime/quantize/encoders.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/match.h"
#include "tests/support/expect_error.h"
#include "tests/support/gram_inputs.h"

namespace bitbudget {
namespace {

TEST(Encoders, AreThoseThatPlansMayName) {
  std::vector<std::string> names;
  for (const EncoderInfo& info : Encoders()) names.emplace_back(info.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"rtn",
                                      "clip",
                                      "imatrix",
                                      "gptq",
                                      "gptq-guided",
                                      "lwc",
                                      "auto",
                                      "gptq+block",
                                      "lwc+block",
                                      "auto+block"}));
}

TEST(Encoders, EveryRowIsFoundMadeAndSaysWhatItsEncoderNeeds) {
  for (const EncoderInfo& info : Encoders()) {
    const auto found = FindEncoder(info.name);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, &info);
    const auto encoder = MakeEncoder(info.name);
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    EXPECT_EQ((*encoder)->needs(), info.needs) << info.name;
    // What tunes layers afterwards is another row of the same encoder.
    EXPECT_EQ(absl::EndsWith(info.name, "+block"), info.tunes_layers) << info.name;
    EXPECT_EQ((*encoder)->name(), info.name.substr(0, info.name.find('+')));
    EXPECT_FALSE(info.description.empty()) << info.name;
  }
}

// Moments are in the plan; a Gram matrix, or layers tuned on text, cannot be.
TEST(Encoders, LearnFromTextWhatPlansCannotHold) {
  for (const EncoderInfo& info : Encoders()) {
    EXPECT_EQ(info.learns_from_text, info.needs == StatsNeed::kGram || info.tunes_layers)
        << info.name;
  }
}

// An encoder that passed a check for statistics without having asked for them would ignore them.
TEST(Encoders, RefuseToRunWithoutWhatTheyNeed) {
  const Gram gram = CorrelatedGram(32, 64, 1);
  const std::vector<float> moments = DiagonalOf(gram);
  const std::vector<float> weights = GaussianValues(64, 0.02, 2);
  for (const EncoderInfo& info : Encoders()) {
    const auto encoder = *MakeEncoder(info.name);
    const auto encode = [&](const InputStats& stats) {
      return encoder->Encode(ViewOf(weights, 2, 32), *ParseFormat("int4-g32"), stats).status();
    };
    EXPECT_EQ(encode({}).ok(), info.needs == StatsNeed::kNothing) << info.name;
    EXPECT_EQ(encode({moments, nullptr}).ok(), info.needs != StatsNeed::kGram) << info.name;
    EXPECT_TRUE(encode({moments, &gram}).ok()) << info.name;
  }
}

TEST(Encoders, UnknownNamesAreRefusedWithTheNearestKnownOne) {
  ExpectError(MakeEncoder("gptg").status(),
              absl::StatusCode::kInvalidArgument,
              {"unknown encoder 'gptg'", "'gptq'", "rtn", "auto+block"});
  ExpectError(FindEncoder("imatrx").status(), absl::StatusCode::kInvalidArgument, {"'imatrix'"});
  for (const char* name : {"", "RTN", "clip ", "+block", "clip+block", "gptq+"}) {
    EXPECT_EQ(FindEncoder(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(MakeEncoder(name).status(), FindEncoder(name).status());
  }
}

TEST(Encoders, HelpNamesAndDescribesThemAll) {
  const std::string help = DescribeEncoders();
  for (const EncoderInfo& info : Encoders()) {
    const std::string entry = std::string(info.name) + " (" + std::string(info.description) + ")";
    EXPECT_NE(help.find(entry), std::string::npos) << help;
  }
}

}  // namespace
}  // namespace bitbudget
