#ifndef BITBUDGET_TOOLS_EXPLORE_PAGE_TEMPLATE_H_
#define BITBUDGET_TOOLS_EXPLORE_PAGE_TEMPLATE_H_

#include <cstddef>

namespace bitbudget {

// page.html with style, scripts, D3 and its licence in place, kPageTemplateSize bytes of UTF-8 that
// cmake/embed_page.cmake writes at build time. `{{title}}` and `{{data}}` are still to be filled.
extern const char kPageTemplate[];
extern const size_t kPageTemplateSize;

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EXPLORE_PAGE_TEMPLATE_H_
