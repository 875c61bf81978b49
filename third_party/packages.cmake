# SPDX-License-Identifier: MIT
#
# Finds what the distribution packages (third_party/install puts it there, README.md lists it). All
# come as imported targets, whose headers the compilers treat as system headers: our warnings are
# not theirs.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(uv REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(curl REQUIRED IMPORTED_TARGET libcurl>=7.87)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3>=3.37)
pkg_check_modules(mongoc REQUIRED IMPORTED_TARGET libmongoc-1.0>=1.23)
pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET hiredis>=0.14)

# hiredis speaks TLS from 1.0 on, over OpenSSL. redis::client is all that there is.
pkg_check_modules(hiredis_ssl IMPORTED_TARGET hiredis_ssl openssl)
add_library(redis::client INTERFACE IMPORTED)
target_link_libraries(redis::client INTERFACE PkgConfig::hiredis)
if(hiredis_ssl_FOUND)
  target_link_libraries(redis::client INTERFACE PkgConfig::hiredis_ssl)
  target_compile_definitions(redis::client INTERFACE LATCHKEY_REDIS_TLS)
endif()

# Debian 12's mbedTLS has no pkg-config files.
find_path(MBEDTLS_INCLUDE_DIR mbedtls/version.h REQUIRED)
find_library(MBEDCRYPTO_LIBRARY mbedcrypto REQUIRED)
add_library(mbedtls::crypto UNKNOWN IMPORTED)
set_target_properties(mbedtls::crypto PROPERTIES IMPORTED_LOCATION "${MBEDCRYPTO_LIBRARY}"
                      INTERFACE_INCLUDE_DIRECTORIES "${MBEDTLS_INCLUDE_DIR}")
find_library(MBEDX509_LIBRARY mbedx509 REQUIRED)
find_library(MBEDTLS_LIBRARY mbedtls REQUIRED)
add_library(mbedtls::x509 UNKNOWN IMPORTED)
set_target_properties(mbedtls::x509 PROPERTIES IMPORTED_LOCATION "${MBEDX509_LIBRARY}"
                      INTERFACE_LINK_LIBRARIES mbedtls::crypto)
add_library(mbedtls::tls UNKNOWN IMPORTED)
set_target_properties(mbedtls::tls PROPERTIES IMPORTED_LOCATION "${MBEDTLS_LIBRARY}"
                      INTERFACE_LINK_LIBRARIES mbedtls::x509)

include(${CMAKE_CURRENT_LIST_DIR}/llhttp.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/yyjson.cmake)
