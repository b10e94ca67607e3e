#include "planner/runs/messages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
void ExpectSameBits(const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  if (a.empty()) return;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(T)), 0);
}

// Floating-point values that a textual or converting encoding would change.
template <typename T>
std::vector<T> AwkwardValues() {
  T payload = std::numeric_limits<T>::quiet_NaN();
  reinterpret_cast<unsigned char*>(&payload)[0] ^= 0x2a;
  return {T{0},
          -T{0},
          T{0.1} + T{0.2},
          std::numeric_limits<T>::denorm_min(),
          std::numeric_limits<T>::max(),
          -std::numeric_limits<T>::infinity(),
          payload};
}

TEST(Messages, ResultsComeBackBitForBit) {
  Evaluation results;
  for (const double value : AwkwardValues<double>()) results.push_back({100, 0, -1, value, -value});
  const auto back = ParseResults(SerializeResults(results), "here");
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ(back->size(), results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ((*back)[i].tokens, 100);
    EXPECT_EQ((*back)[i].fdt, 0);
    EXPECT_EQ((*back)[i].sdt, -1);
    ExpectSameBits<double>({(*back)[i].nll_sum, (*back)[i].kl_sum},
                           {results[i].nll_sum, results[i].kl_sum});
  }
  EXPECT_TRUE(ParseResults(SerializeResults({}), "here")->empty());
}

TEST(Messages, KlsOfTokensComeBackBitForBit) {
  Evaluation results(3);
  results[0].text.kls = AwkwardValues<float>();
  results[0].text.tokens = static_cast<int>(results[0].text.kls.size());
  results[1].text.tokens = 5;  // of which only sums were kept
  const auto back = ParseResults(SerializeResults(results), "here");
  ASSERT_TRUE(back.ok()) << back.status();
  for (size_t i = 0; i < results.size(); ++i) {
    ExpectSameBits((*back)[i].text.kls, results[i].text.kls);
  }
  results[1].text.kls = {1, 2};
  ExpectError(ParseResults(SerializeResults(results), "rank 3").status(),
              absl::StatusCode::kDataLoss,
              {"damaged results from rank 3"});
}

TEST(Messages, PromptsComeBack) {
  const std::vector<std::vector<int32_t>> prompts = {
      {1, 2, 3}, {}, {-1, std::numeric_limits<int32_t>::max()}};
  const auto back = ParseSequences(SerializeSequences(prompts), "here");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, prompts);
}

TEST(Messages, CompletionsComeBackBitForBit) {
  const std::vector<Generation> completions = {{{5, 6}, AwkwardValues<float>(), {7, 8, 9}}, {}};
  const std::string bytes = SerializeCompletions(completions);
  const auto back = ParseCompletions(bytes, 2, "here");
  ASSERT_TRUE(back.ok()) << back.status();
  for (size_t i = 0; i < completions.size(); ++i) {
    EXPECT_EQ((*back)[i].tokens, completions[i].tokens);
    EXPECT_EQ((*back)[i].likely, completions[i].likely);
    ExpectSameBits((*back)[i].margins, completions[i].margins);
  }
  ExpectError(ParseCompletions(bytes, 3, "rank 1").status(),
              absl::StatusCode::kDataLoss,
              {"damaged completions from rank 1"});
}

TEST(Messages, MomentsOrdersAndErrorsComeBackBitForBit) {
  const InputMoments moments = {{0, AwkwardValues<float>()}, {7, {}}, {12, {1, 2}}};
  const auto moments_back = ParseMoments(SerializeMoments(moments), "here");
  ASSERT_TRUE(moments_back.ok()) << moments_back.status();
  ASSERT_EQ(moments_back->size(), moments.size());
  for (const auto& [id, squares] : moments) ExpectSameBits(moments_back->at(id), squares);

  const std::vector<int> order = {3, 0, 2, 1};
  EXPECT_EQ(*ParseLayerOrder(SerializeLayerOrder(order), "here"), order);

  const std::vector<double> errors = AwkwardValues<double>();
  const std::string bytes = SerializeOutputErrors(errors);
  const auto errors_back = ParseOutputErrors(bytes, static_cast<int64_t>(errors.size()), "here");
  ASSERT_TRUE(errors_back.ok()) << errors_back.status();
  ExpectSameBits(*errors_back, errors);
  ExpectError(ParseOutputErrors(bytes, 1, "the run store").status(),
              absl::StatusCode::kDataLoss,
              {"damaged output errors from the run store"});
}

TEST(Messages, EqualValuesGiveEqualBytes) {
  InputMoments moments;
  for (int id = 40; id >= 0; --id) moments[id] = {static_cast<float>(id)};
  InputMoments other;
  for (int id = 0; id <= 40; ++id) other[id] = {static_cast<float>(id)};
  EXPECT_EQ(SerializeMoments(moments), SerializeMoments(other));
  EXPECT_NE(SerializeLayerOrder(std::vector<int>{0, 1}),
            SerializeLayerOrder(std::vector<int>{1, 0}));
}

TEST(Messages, DamagedBytesAreErrorsThatSayWhereTheyCameFrom) {
  const std::string whole = SerializeResults(Evaluation{{100, 1, 2, 0.5, kInfinity}, {1, 2, 3}});
  int refused = 0;
  for (size_t size = 1; size < whole.size(); ++size) {
    const auto cut = ParseResults(whole.substr(0, size), "rank 3");
    if (cut.ok()) continue;  // no message of this kind may be read as a shorter list
    ++refused;
    ExpectError(cut.status(), absl::StatusCode::kDataLoss, {"damaged results from rank 3"});
  }
  EXPECT_EQ(refused, static_cast<int>(whole.size()) - 1);
  for (const std::string& bytes : {std::string(50, '\xff'), std::string("garbage")}) {
    EXPECT_FALSE(ParseSequences(bytes, "here").ok());
    EXPECT_FALSE(ParseCompletions(bytes, 1, "here").ok());
    EXPECT_FALSE(ParseMoments(bytes, "here").ok());
    EXPECT_FALSE(ParseOutputErrors(bytes, 1, "here").ok());
  }
}

}  // namespace
}  // namespace bitbudget
