#ifndef BITBUDGET_TOOLS_EXPLORE_PAGE_H_
#define BITBUDGET_TOOLS_EXPLORE_PAGE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget {

// The report of `bitbudget explore` as one HTML file that loads nothing. `title` is plain text, and
// `json` the document that tools/explore/data.js reads. Both are UTF-8; whatever they hold stays
// text. REQUIRES: `json` is valid JSON (the page says so where it is not).
std::string ExplorePage(absl::string_view title, absl::string_view json);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EXPLORE_PAGE_H_
