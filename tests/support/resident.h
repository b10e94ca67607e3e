#ifndef BITBUDGET_TESTS_SUPPORT_RESIDENT_H_
#define BITBUDGET_TESTS_SUPPORT_RESIDENT_H_

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/strings/match.h"

namespace bitbudget {

// KiB of a mapped file that are in this process's memory.
inline int64_t ResidentKiB(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  int64_t total = 0;
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    // A mapping begins with its addresses, permissions and path; lines with a name follow.
    const std::string first = line.substr(0, line.find(' '));
    if (!absl::EndsWith(first, ":")) {
      ours = absl::EndsWith(line, path);
    } else if (ours && first == "Rss:") {
      total += std::stoll(line.substr(first.size()));
    }
  }
  return total;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_RESIDENT_H_
