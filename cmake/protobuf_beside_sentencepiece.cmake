# Debian's libsentencepiece.so has protobuf 3.14 built in and exports its symbols, so in a process
# that also loads libprotobuf.so one of the two runs the other's code and crashes. So protobuf is
# linked statically, with its symbols (of the archive, and of inline functions in whoever includes
# its headers) hidden from the dynamic linker; and as SentencePiece's copy must not satisfy our
# references either, the archive has to stand before it on every link line, which the (otherwise
# untrue) dependency says. tests/model/protobuf_beside_sentencepiece_test fails when any of this is
# lost.
find_library(BITBUDGET_PROTOBUF_ARCHIVE libprotobuf.a REQUIRED)
mark_as_advanced(BITBUDGET_PROTOBUF_ARCHIVE)
set_target_properties(protobuf::libprotobuf PROPERTIES
  IMPORTED_LOCATION ${BITBUDGET_PROTOBUF_ARCHIVE}
  IMPORTED_LOCATION_RELEASE ${BITBUDGET_PROTOBUF_ARCHIVE}
  IMPORTED_LOCATION_DEBUG ${BITBUDGET_PROTOBUF_ARCHIVE})
set_property(TARGET protobuf::libprotobuf APPEND PROPERTY
  INTERFACE_LINK_LIBRARIES PkgConfig::SentencePiece)
set_property(TARGET protobuf::libprotobuf APPEND PROPERTY
  INTERFACE_LINK_OPTIONS LINKER:--exclude-libs,libprotobuf.a)
set_property(TARGET protobuf::libprotobuf APPEND PROPERTY
  INTERFACE_COMPILE_OPTIONS -fvisibility=hidden -fvisibility-inlines-hidden)
