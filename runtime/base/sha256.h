#ifndef BITBUDGET_RUNTIME_BASE_SHA256_H_
#define BITBUDGET_RUNTIME_BASE_SHA256_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/strings/string_view.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace bitbudget {

// SHA-256 of bytes that arrive in pieces.
class Sha256 {
 public:
  Sha256();

  void Update(std::span<const std::byte> bytes);
  void Update(absl::string_view text);

  // Lower-case hex digest of everything so far. Ends the stream: call it once, last.
  std::string Finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// Lower-case hex SHA-256: what `sha256sum` prints and what model hubs show for a weight file.
std::string Sha256Hex(std::span<const std::byte> bytes);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_SHA256_H_
