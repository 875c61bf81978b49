# SPDX-License-Identifier: MIT
#
# The Criterion programs: unit_<folder> of tests/unit/<folder>/*.c, and one flow_<name> or e2e_<name>
# per file of tests/flow and tests/e2e; replay_<name> of each fuzz target. tests/run runs them all.
find_package(PkgConfig REQUIRED)
pkg_check_modules(criterion REQUIRED IMPORTED_TARGET criterion)

# What all of them share. tests/ is on the include path as "kit/x.h" and "provider/x.h"; the two
# directories are known to the code so that a program can be run from anywhere.
add_library(lk_testing INTERFACE)
target_include_directories(lk_testing INTERFACE ${PROJECT_SOURCE_DIR}/tests)
target_compile_definitions(lk_testing INTERFACE TEST_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                                TEST_BUILD_DIR="${PROJECT_BINARY_DIR}")
target_link_libraries(lk_testing INTERFACE lk_flags PkgConfig::criterion)

file(GLOB kit CONFIGURE_DEPENDS tests/kit/*.c)
if(kit)
  add_library(kit STATIC ${kit})
  target_link_libraries(kit PUBLIC lk_testing lk_app redis::client)
  include(tests/kit/faults.cmake)
else()
  add_library(kit INTERFACE)
  target_link_libraries(kit INTERFACE lk_testing lk_app)
endif()

file(GLOB folders CONFIGURE_DEPENDS tests/unit/*)
foreach(folder IN LISTS folders)
  cmake_path(GET folder FILENAME name)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c)
  if(sources)
    set(tested)
    if(TARGET lk_${name})
      set(tested lk_${name})
    endif()
    lk_program(unit_${name} "${sources}" kit ${tested})
  endif()
endforeach()

# Programs that stand in for others in the tests of what starts them: standin_<name>.
file(GLOB sources CONFIGURE_DEPENDS tests/standin/*.c)
foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  lk_program(standin_${name} ${source} lk_app)
  list(APPEND standins standin_${name})
endforeach()

foreach(kind flow e2e)
  file(GLOB sources CONFIGURE_DEPENDS tests/${kind}/*.c)
  foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    lk_program(${kind}_${name} ${source} kit lk_simprovider)
    add_dependencies(${kind}_${name} ${standins})
    if(kind STREQUAL e2e AND TARGET latchkey)
      add_dependencies(${kind}_${name} latchkey) # some run it
    endif()
  endforeach()
endforeach()

# The fuzz targets over their seeds. Without the kit: what it wraps is real here.
file(GLOB sources CONFIGURE_DEPENDS tests/fuzz/*.c)
foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  lk_program(replay_${name} "tests/fuzz/replay/replay.c;tests/kit/leaks.c;${source}" lk_testing lk_app)
  target_compile_definitions(replay_${name}
                             PRIVATE FUZZ_CORPUS="${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
endforeach()
