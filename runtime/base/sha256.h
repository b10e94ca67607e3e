#ifndef BITBUDGET_RUNTIME_BASE_SHA256_H_
#define BITBUDGET_RUNTIME_BASE_SHA256_H_

#include <cstddef>
#include <span>
#include <string>

namespace bitbudget {

// Lower-case hex SHA-256: what `sha256sum` prints and what model hubs show for a weight file.
std::string Sha256Hex(std::span<const std::byte> bytes);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_SHA256_H_
