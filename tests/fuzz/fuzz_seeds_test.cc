// Runs a fuzz entry without libFuzzer: every file of its corpus, and deterministic mutations of it.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/base/mapped_file.h"
#include "runtime/base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace bitbudget {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(BITBUDGET_CORPUS)) {
    paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const std::string& path : paths) seeds.push_back(*ReadFile(path));
  return seeds;
}

// From a buffer of exactly this size, so that AddressSanitizer sees a read beyond it.
void RunOne(const std::string& input) {
  const std::vector<uint8_t> exact(input.begin(), input.end());
  ASSERT_EQ(LLVMFuzzerTestOneInput(exact.data(), exact.size()), 0);
}

std::string Mutate(std::string input, const std::vector<std::string>& corpus, Random& random) {
  static constexpr char kTokens[] = "{}[]\",:-0123456789eE.\\\x80\xff()*+?|^$=!<>";
  const uint64_t changes = 1 + random.Below(4);
  for (uint64_t change = 0; change < changes; ++change) {
    const size_t at = input.empty() ? 0 : random.Below(input.size());
    switch (random.Below(7)) {
      case 0:  // flip one bit
        if (!input.empty()) input[at] = static_cast<char>(input[at] ^ (1 << random.Below(8)));
        break;
      case 1:  // any byte
        if (!input.empty()) input[at] = static_cast<char>(random.Below(256));
        break;
      case 2:  // a byte that means something
        if (!input.empty()) input[at] = kTokens[random.Below(sizeof(kTokens) - 1)];
        break;
      case 3:
        input.insert(at, 1, kTokens[random.Below(sizeof(kTokens) - 1)]);
        break;
      case 4:
        input.erase(at, 1 + random.Below(16));
        break;
      case 5:  // cut the end
        input.resize(at);
        break;
      case 6: {  // a piece of another seed
        const std::string& other = corpus[random.Below(corpus.size())];
        if (!other.empty()) input.insert(at, other.substr(random.Below(other.size()), 64));
        break;
      }
    }
  }
  return input;
}

TEST(Seeds, EveryFileOfTheCorpusRuns) {
  const std::vector<std::string> corpus = Corpus();
  ASSERT_FALSE(corpus.empty()) << BITBUDGET_CORPUS;
  for (const std::string& seed : corpus) RunOne(seed);
}

TEST(Seeds, MutationsOfTheCorpusRun) {
  const std::vector<std::string> corpus = Corpus();
  ASSERT_FALSE(corpus.empty()) << BITBUDGET_CORPUS;
  constexpr int kMutations = 5000;
  Random random(1);
  for (int i = 0; i < kMutations; ++i) {
    RunOne(Mutate(corpus[static_cast<size_t>(i) % corpus.size()], corpus, random));
  }
}

}  // namespace
}  // namespace bitbudget
