#ifndef BITBUDGET_TESTS_SUPPORT_EXPECT_ERROR_H_
#define BITBUDGET_TESTS_SUPPORT_EXPECT_ERROR_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace bitbudget {

// What every refusal of user input promises: this code, and one readable line that holds `parts`.
inline void ExpectError(const absl::Status& status,
                        absl::StatusCode code,
                        const std::vector<std::string>& parts) {
  ASSERT_FALSE(status.ok()) << "accepted, but " << testing::PrintToString(parts) << " expected";
  const std::string message(status.message());
  EXPECT_EQ(status.code(), code) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 1000u) << message;
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos)
        << "message: " << message << "\n  lacks: " << part;
  }
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_EXPECT_ERROR_H_
