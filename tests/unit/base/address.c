// SPDX-License-Identifier: MIT
#include "base/address.h"

#include <criterion/criterion.h>
#include <string.h>

Test(address, reads_the_three_forms) {
    struct address address;
    char problem[ADDRESS_PROBLEM_BYTES];
    cr_assert(address_parse(SLICE("127.0.0.1:8090"), &address, problem));
    cr_assert_eq(address.kind, ADDRESS_V4);
    cr_assert_eq(address.port, 8090);
    cr_assert(address_is_local(&address));
    cr_assert(address_parse(SLICE("[::1]:0"), &address, problem));
    cr_assert_eq(address.kind, ADDRESS_V6);
    cr_assert_eq(address.port, 0);
    cr_assert(address_is_local(&address));
    cr_assert(address_parse(SLICE("unix:/run/a.sock"), &address, problem));
    cr_assert_eq(address.kind, ADDRESS_UNIX);
    cr_assert(slice_eq(address.path, SLICE("/run/a.sock")));
    cr_assert(address_is_local(&address));
}

Test(address, tells_which_are_reachable_from_other_machines) {
    const char *const public[] = {"0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"};
    for (size_t i = 0; i < sizeof public / sizeof public[0]; i++) {
        struct address address;
        char problem[ADDRESS_PROBLEM_BYTES];
        cr_assert(address_parse(slice_str(public[i]), &address, problem), "%s", public[i]);
        cr_assert_not(address_is_local(&address), "%s", public[i]);
    }
}

Test(address, refuses_everything_else_and_says_what_would_be_right) {
    const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "127.0.0.1:8090"},
        {"8090", "127.0.0.1:8090"},
        {":8090", "not a numeric address"},
        {"127.0.0.1", "no port"},
        {"127.0.0.1:", "no port from 0 to 65535"},
        {"127.0.0.1:65536", "no port from 0 to 65535"},
        {"127.0.0.1:80x", "no port from 0 to 65535"},
        {"127.0.0.1:-1", "no port from 0 to 65535"},
        {"127.0.0.256:80", "not a numeric address"},
        {"127.1:80", "not a numeric address"},
        {"localhost:80", "names are not resolved"},
        {"::1:8090", "[::1]:8090"},
        {"[::1]8090", "127.0.0.1:8090"},
        {"[127.0.0.1]:80", "not a numeric address"},
        {"unix:", "absolute path"},
        {"unix:run/a", "absolute path"},
        {"unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
         "23456789012345678901234567890",
         "107 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        char problem[ADDRESS_PROBLEM_BYTES] = "";
        cr_assert_not(address_parse(slice_str(cases[i].text), &address, problem), "%s",
                      cases[i].text);
        cr_assert_not_null(strstr(problem, cases[i].says), "%s: %s", cases[i].text, problem);
    }
}

Test(address, reads_blocks) {
    const struct {
        const char *text;
        enum address_kind kind;
        unsigned bits;
    } cases[] = {
        {"10.0.0.0/8", ADDRESS_V4, 8},     {"192.0.2.7", ADDRESS_V4, 32},
        {"0.0.0.0/0", ADDRESS_V4, 0},      {"192.0.2.128/25", ADDRESS_V4, 25},
        {"fd00::/8", ADDRESS_V6, 8},       {"::1", ADDRESS_V6, 128},
        {"2001:db8::/33", ADDRESS_V6, 33},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address_block block;
        char problem[ADDRESS_PROBLEM_BYTES] = "";
        cr_assert(address_parse_block(slice_str(cases[i].text), &block, problem), "%s: %s",
                  cases[i].text, problem);
        cr_assert_eq(block.kind, cases[i].kind, "%s", cases[i].text);
        cr_assert_eq(block.bits, cases[i].bits, "%s", cases[i].text);
    }
}

Test(address, refuses_blocks_that_are_none) {
    const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "10.0.0.0/8"},
        {"10/8", "10.0.0.0/8"},
        {"10.0.0.0/33", "from 0 to 32"},
        {"10.0.0.0/", "from 0 to 32"},
        {"10.0.0.0/+8", "from 0 to 32"},
        {"::/129", "from 0 to 128"},
        {"10.0.0.1/8", "behind its first 8"},
        {"192.0.2.128/24", "behind its first 24"},
        {"fd00::1/8", "behind its first 8"},
        {"example.org/8", "10.0.0.0/8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address_block block;
        char problem[ADDRESS_PROBLEM_BYTES] = "";
        cr_assert_not(address_parse_block(slice_str(cases[i].text), &block, problem), "%s",
                      cases[i].text);
        cr_assert_not_null(strstr(problem, cases[i].says), "%s: %s", cases[i].text, problem);
    }
}

Test(address, ip_with_a_port_and_without) {
    static const struct {
        const char *text;
        const char *written; /* NULL: refused */
    } cases[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1:8080", "192.0.2.1"},
        {"2001:DB8::1", "2001:db8::1"},
        {"[2001:db8::1]", NULL},
        {"[2001:db8::1]:443", "2001:db8::1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"unknown", NULL},
        {"", NULL},
        {"192.0.2.1, 192.0.2.2", NULL},
        {"192.0.2.300", NULL},
        {"_hidden", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        char written[ADDRESS_TEXT_BYTES];
        bool good = address_parse_ip(slice_str(cases[i].text), &address);
        cr_assert_eq(good, cases[i].written != NULL, "%s", cases[i].text);
        if (good) {
            address_write_ip(&address, written);
            cr_assert_str_eq(written, cases[i].written);
        }
    }
}

Test(address, block_holds) {
    static const struct {
        const char *block;
        const char *ip;
        bool holds;
    } cases[] = {
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "203.0.113.7", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char problem[ADDRESS_PROBLEM_BYTES];
        struct address_block block;
        struct address ip;
        cr_assert(address_parse_block(slice_str(cases[i].block), &block, problem), "%s", problem);
        cr_assert(address_parse_ip(slice_str(cases[i].ip), &ip));
        cr_assert_eq(address_block_holds(&block, &ip), cases[i].holds, "%s %s", cases[i].block,
                     cases[i].ip);
    }
}
