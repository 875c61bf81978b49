// SPDX-License-Identifier: MIT
#include <stdio.h>

#include "provider/sim_books.h"
#include "provider/sim_page.h"

/* A cover from a book's dice: a pair of colours, one of a few compositions, the title set large. */
static const struct palette {
    const char *ground;
    const char *shape;
    const char *accent;
    const char *text;
} palettes[] = {
    {"#1f3a4d", "#2f5d73", "#f2b661", "#f8f1e4"}, {"#f0e3cd", "#d9a566", "#a8442f", "#33241b"},
    {"#2d2440", "#51406f", "#e98a7b", "#f6ecf2"}, {"#dfe7dc", "#8fae93", "#2f5a49", "#1c2f27"},
    {"#7c2f2a", "#a64a3c", "#f3c77c", "#fbeee0"}, {"#e8eaf1", "#8d9cc4", "#e0693f", "#222a45"},
    {"#0f4644", "#1b6a63", "#f0d9a0", "#f3f6ee"}, {"#f6ddd2", "#e39a83", "#3b3f72", "#2b2340"},
};
enum { LINE_CHARS = 13, LINES_MAX = 4, TITLE_SIZE = 58, TITLE_STEP = 62 };

static void element(struct buf *out, const char *format, int a, int b, int c, const char *colour) {
    char text[256];
    int n = snprintf(text, sizeof text, format, a, b, c, colour);
    buf_append(out, slice_make(text, n > 0 ? (size_t)n : 0));
}

#define CIRCLE "<circle cx=\"%d\" cy=\"%d\" r=\"%d\" fill=\"%s\"/>"

/* Hills under a sun. */
static void draw_hills(struct buf *out, const struct palette *palette, uint64_t dice) {
    int sun = 120 + (int)(dice % 260);
    element(out, CIRCLE, sun, 330, 74, palette->accent);
    element(out, "<path d=\"M0 %dC120 %d 220 %d 500 400V500H0z\" fill=\"%s\"/>", 420, 330, 400,
            palette->shape);
    element(out, "<path d=\"M0 %dC180 %d 320 %d 500 452V500H0z\" fill=\"%s\" opacity=\".65\"/>",
            470, 470, 390, palette->accent);
}

/* Rings, like a pond's or a record's. */
static void draw_rings(struct buf *out, const struct palette *palette, uint64_t dice) {
    int x = 300 + (int)(dice % 140);
    for (int r = 230; r > 20; r -= 42) {
        element(out, CIRCLE, x, 420, r, (r / 42) % 2 == 0 ? palette->ground : palette->shape);
    }
    element(out, CIRCLE, x, 420, 22, palette->accent);
}

/* Spines on a shelf. */
static void draw_spines(struct buf *out, const struct palette *palette, uint64_t dice) {
    for (int i = 0; i < 8; i++) {
        int height = 70 + (int)((dice >> (i * 5)) & 31) * 3;
        element(out, "<rect x=\"%d\" y=\"%d\" width=\"44\" height=\"%d\" rx=\"4\" fill=\"%s\"/>",
                48 + i * 51, 462 - height, height,
                (dice >> i) % 3 == 0 ? palette->accent : palette->shape);
    }
    element(out, "<path d=\"M%d %dh%d\" stroke=\"%s\" stroke-width=\"6\"/>", 36, 465, 428,
            palette->text);
}

/* Waves. */
static void draw_waves(struct buf *out, const struct palette *palette, uint64_t dice) {
    element(out, CIRCLE, 380, 300 + (int)(dice % 60), 58, palette->accent);
    for (int i = 0; i < 4; i++) {
        int y = 350 + i * 40;
        element(out, "<path d=\"M0 %dq62-%d 125 0t125 0t125 0t125 0V%dH0z\" fill=\"%s\"/>", y, 44,
                500, i % 2 == 0 ? palette->shape : palette->ground);
    }
}

/* An arch with a star in it. */
static void draw_arch(struct buf *out, const struct palette *palette, uint64_t dice) {
    int x = 150 + (int)(dice % 200);
    element(out, "<path d=\"M%d 500V410a%d %d 0 0 1 220 0V500z\" fill=\"%s\"/>", x - 110, 110, 110,
            palette->shape);
    element(out, "<path d=\"M%d 500V420a%d %d 0 0 1 140 0V500z\" fill=\"%s\"/>", x - 70, 70, 70,
            palette->accent);
    element(out, CIRCLE, x, 430, 16, palette->ground);
}

/* Takes up to LINE_CHARS bytes of whole words. */
static struct slice take_line(struct slice *rest) {
    size_t end = slice_find(*rest, ' ');
    while (end < rest->len) {
        size_t next = end + 1 + slice_find(slice_from(*rest, end + 1), ' ');
        if (next > LINE_CHARS) {
            break;
        }
        end = next;
    }
    struct slice line = slice_head(*rest, end);
    *rest = slice_from(*rest, end + 1);
    return line;
}

static void write_text(struct buf *out, int y, int size, const char *colour, struct slice text) {
    element(out,
            "<text x=\"40\" y=\"%d\" font-size=\"%d\" font-weight=\"%d\" fill=\"%s\" "
            "font-family=\"Georgia,'DejaVu Serif',serif\">",
            y, size, size == TITLE_SIZE ? 700 : 400, colour);
    sim_page_escape(out, text);
    BUF_LIT(out, "</text>");
}

void sim_cover_write(const struct sim_book *book, struct buf *out) {
    static void (*const drawings[])(struct buf *, const struct palette *, uint64_t) = {
        draw_hills, draw_rings, draw_spines, draw_waves, draw_arch};
    uint64_t dice = book->dice;
    const struct palette *palette = &palettes[dice % (sizeof palettes / sizeof *palettes)];
    struct slice title = slice_str(book->title);
    BUF_LIT(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 500 500\" "
                 "width=\"500\" height=\"500\">");
    element(out, "<path d=\"M%d %dh500v500h-500z\" opacity=\"%d\" fill=\"%s\"/>", 0, 0, 1,
            palette->ground);
    drawings[(dice >> 8) % (sizeof drawings / sizeof *drawings)](out, palette, dice >> 16);
    write_text(out, 52, 21, palette->text, slice_str(book->author));
    for (int i = 0; i < LINES_MAX && title.len > 0; i++) {
        write_text(out, 122 + i * TITLE_STEP, TITLE_SIZE, palette->text, take_line(&title));
    }
    BUF_LIT(out, "</svg>\n");
}
