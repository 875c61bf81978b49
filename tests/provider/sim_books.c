// SPDX-License-Identifier: MIT
#include "provider/sim_books.h"

#include <stdio.h>
#include <string.h>

/* ASINs are these five letters and the book's number in base 36. */
static const struct slice asin_head = {"B0SIM", 5};
static const char base36[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
enum { ASIN_DIGITS = 5 };

static const char *const adjectives[] = {
    "Quiet",  "Amber",    "Hollow",  "Distant", "Paper",  "Winter",    "Restless", "Salted",
    "Second", "Unsent",   "Tender",  "Crooked", "Last",   "Luminous",  "Borrowed", "Slow",
    "Gilded", "Northern", "Patient", "Wild",    "Silver", "Forgotten", "Honest",   "Midnight",
};
static const char *const nouns[] = {
    "Harbour",  "Orchard", "Cartographer", "Lantern", "Tide",    "Clockmaker",  "Garden",
    "Letters",  "River",   "Beekeeper",    "House",   "Archive", "Swallows",    "Weather",
    "Ferryman", "Atlas",   "Kitchen",      "Comet",   "Bridge",  "Library",     "Meadow",
    "Signal",   "Café",    "Mountain",     "Choir",   "Island",  "Inheritance", "Window",
};
static const char *const places[] = {
    "Lisbon",   "Tromsø",    "the Fens",    "Marrakesh", "Whitby", "Málaga",
    "the Moor", "Lake Como", "Saint-Malo",  "Osaka",     "Galway", "Valparaíso",
    "the Deep", "Ljubljana", "Hyde Street", "Thessaly",
};
static const char *const first_names[] = {
    "Amara", "Benedikt", "Clara", "Dmitri", "Eleni",  "Farid", "Greta",   "Hugo",
    "Inês",  "Jonas",    "Keiko", "Lucía",  "Marius", "Nadia", "Oisín",   "Priya",
    "Quinn", "Rosalind", "Søren", "Tamsin", "Uma",    "Viola", "Wilfred", "Zora",
};
static const char *const last_names[] = {
    "Ashdown",   "Bergström", "Castellan", "Dufour",    "Everley", "Fairweather",
    "Grünwald",  "Holloway",  "Ibarra",    "Jansen",    "Kestrel", "Lockwood",
    "Marchetti", "Novak",     "Okonkwo",   "Pemberton", "Quill",   "Ravenel",
    "Sato",      "Thorne",    "Umarov",    "Vasquez",   "Winslow", "Yates",
};
static const char *const openings[] = {
    "A letter arrives forty years late",
    "In the winter that the sea froze, a stranger comes ashore",
    "Two sisters inherit a house that neither of them wanted",
    "She has mapped every coast but her own",
    "The town has one clock, and one morning it is wrong",
    "He came for a weekend and stayed for a lifetime",
};
static const char *const endings[] = {
    "and what begins as a small kindness becomes the secret that holds a whole street together.",
    "and the only person who can explain it hasn’t spoken since spring.",
    "but some doors, once opened, are polite enough to wait.",
    "and the answer is written in the margins of a cookery book.",
    "until the summer when everybody’s luck changes hands.",
};
#define PICK(list, dice) (list)[(dice) % (sizeof(list) / sizeof *(list))]

/* splitmix64: the next of a book's dice. */
static uint64_t roll(uint64_t *dice) {
    uint64_t z = (*dice += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

static void make_title(uint64_t *dice, char *out, size_t bytes) {
    const char *adjective = PICK(adjectives, roll(dice));
    const char *noun = PICK(nouns, roll(dice));
    const char *place = PICK(places, roll(dice));
    switch (roll(dice) % 5) {
    case 0:
        snprintf(out, bytes, "The %s %s", adjective, noun);
        break;
    case 1:
        snprintf(out, bytes, "The %s of %s", noun, place);
        break;
    case 2:
        snprintf(out, bytes, "%s %s", adjective, noun);
        break;
    case 3:
        snprintf(out, bytes, "A %s %s in %s", strcmp(adjective, "Amber") == 0 ? "Pale" : adjective,
                 noun, place);
        break;
    default:
        snprintf(out, bytes, "%s’s %s", PICK(first_names, roll(dice)), noun);
    }
}

static void make_name(uint64_t *dice, char *out, size_t bytes) {
    const char *first = PICK(first_names, roll(dice));
    snprintf(out, bytes, "%s %s", first, PICK(last_names, roll(dice)));
}

static void write_asin(size_t n, char out[SIM_ASIN_BYTES]) {
    memcpy(out, asin_head.at, asin_head.len);
    for (size_t i = SIM_ASIN_BYTES - 1; i-- > asin_head.len; n /= 36) {
        out[i] = base36[n % 36];
    }
    out[SIM_ASIN_BYTES - 1] = '\0';
}

void sim_books_make(size_t n, struct sim_book *out) {
    uint64_t dice = n * 0x632BE59BD9B4E019U + 1;
    *out = (struct sim_book){.dice = roll(&dice)};
    write_asin(n, out->asin);
    make_title(&dice, out->title, sizeof out->title);
    make_name(&dice, out->author, sizeof out->author);
    if (n % 17 != 16) {
        make_name(&dice, out->narrator, sizeof out->narrator);
    }
    if (n % 29 != 28) {
        snprintf(out->description, sizeof out->description, "%s, %s", PICK(openings, roll(&dice)),
                 PICK(endings, roll(&dice)));
    }
    out->runtime_ms = (int64_t)(90 + roll(&dice) % 1100) * 60000 + (int64_t)(roll(&dice) % 60000);
    out->rating_tenths = n % 23 != 22 ? (int)(31 + roll(&dice) % 19) : 0;
}

bool sim_books_find(struct slice asin, size_t count, size_t *n) {
    size_t value = 0;
    if (asin.len != asin_head.len + ASIN_DIGITS || !slice_starts(asin, asin_head)) {
        return false;
    }
    for (size_t i = asin_head.len; i < asin.len; i++) {
        const char *digit = memchr(base36, asin.at[i], sizeof base36 - 1);
        if (digit == NULL) {
            return false;
        }
        value = value * 36 + (size_t)(digit - base36);
    }
    *n = value;
    return value < count;
}

static bool holds(struct slice text, struct slice word) {
    for (size_t i = 0; i + word.len <= text.len; i++) {
        if (slice_ieq(slice_head(slice_from(text, i), word.len), word)) {
            return true;
        }
    }
    return false;
}

bool sim_books_match(const struct sim_book *book, struct slice query) {
    struct slice word;
    while (slice_split(&query, ' ', &word)) {
        if (!holds(slice_str(book->title), word) && !holds(slice_str(book->author), word) &&
            !holds(slice_str(book->narrator), word)) {
            return false;
        }
    }
    return true;
}

void sim_books_write(const struct sim_book *book, const char *url, struct jsonw *w) {
    char cover[256];
    snprintf(cover, sizeof cover, "%s/covers/%s.svg", url, book->asin);
    jsonw_open(w, '{');
    jsonw_member(w, "asin", slice_str(book->asin));
    jsonw_member(w, "title", slice_str(book->title));
    jsonw_member(w, "author_name", slice_str(book->author));
    jsonw_name(w, "narrators");
    jsonw_open(w, '[');
    if (book->narrator[0] != '\0') {
        jsonw_open(w, '{');
        jsonw_member(w, "name", slice_str(book->narrator));
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    jsonw_name(w, "product_images");
    jsonw_open(w, '{');
    jsonw_member(w, "500", slice_str(cover));
    jsonw_close(w, '}');
    jsonw_member(w, "product_desc",
                 book->description[0] != '\0' ? slice_str(book->description) : SLICE_NULL);
    jsonw_name(w, "runtime_length_ms");
    jsonw_i64(w, book->runtime_ms);
    if (book->rating_tenths > 0) {
        jsonw_name(w, "rating");
        jsonw_double(w, book->rating_tenths / 10.0);
    }
    jsonw_close(w, '}');
}
