# bitbudget_library(<layer> SOURCES <files...> DEPENDS <targets...>)
# One static library per layer. DEPENDS are public: they are the layers and packages that the
# layer's headers may include.
function(bitbudget_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(bitbudget_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(bitbudget_${name} PUBLIC ${ARG_DEPENDS})
endfunction()

# bitbudget_test(<name> SOURCES <files...> DEPENDS <targets...>)
# One executable per test file. ctest sees each GoogleTest case; under a sanitizer, where a process
# takes long to start, each executable.
function(bitbudget_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  if(BITBUDGET_SANITIZE)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 1800)
  else()
    gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600)
  endif()
endfunction()
