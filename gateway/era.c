/* See era.h. */
#include "gateway/era.h"

#include "base/crypto.h"

#include <string.h>

#define MODERN "2026-07-28"

static const struct era_features legacy_rows[] = {
    {.version = "2024-11-05"},
    {.version = "2025-03-26", .audio = true, .batches = true},
    {.version = "2025-06-18", .audio = true, .resource_link = true},
    {.version = "2025-11-25", .audio = true, .resource_link = true, .priming = true, .url = true},
};
enum { LEGACY_ROWS = sizeof legacy_rows / sizeof *legacy_rows };

const struct era_features *era_legacy(struct str version)
{
    for (size_t i = 0; i < LEGACY_ROWS; i++)
        if (str_eq(version, str_of(legacy_rows[i].version)))
            return &legacy_rows[i];
    return NULL;
}

bool era_batches(const char *version)
{
    const struct era_features *f = era_legacy(str_of(version));
    return f && f->batches;
}

const char *era_latest_legacy(void)
{
    return legacy_rows[LEGACY_ROWS - 1].version;
}

const char *era_modern(void)
{
    return MODERN;
}

bool era_is_modern_or_later(struct str version)
{
    return version.n == strlen(MODERN) && str_cmp(version, STR(MODERN)) >= 0;
}

static const char *const levels[] = {"debug", "info",     "notice", "warning",
                                     "error", "critical", "alert",  "emergency"};

const char *era_log_name(int level)
{
    return levels[level];
}

int era_log_level(struct str name)
{
    for (int i = 0; i < 8; i++)
        if (str_eq(name, str_of(levels[i])))
            return i;
    return -1;
}

#define B64_OPEN  "=?base64?"
#define B64_CLOSE "?="

static bool is_sentinel(struct str v)
{
    return v.n >= sizeof B64_OPEN - 1 + sizeof B64_CLOSE - 1 && str_starts(v, STR(B64_OPEN)) &&
           memcmp(v.p + v.n - 2, B64_CLOSE, 2) == 0;
}

void era_header_encode(struct buf *out, struct str v)
{
    bool plain = !is_sentinel(v) && str_trim(v).n == v.n;
    for (size_t i = 0; i < v.n && plain; i++) {
        unsigned char c = (unsigned char)v.p[i];
        plain = c == '\t' || (c >= 0x20 && c < 0x7f);
    }
    if (plain) {
        buf_add_str(out, v);
        return;
    }
    buf_adds(out, B64_OPEN);
    crypto_b64(out, v.p, v.n);
    buf_adds(out, B64_CLOSE);
}

bool era_header_decode(struct buf *out, struct str v)
{
    if (is_sentinel(v)) {
        return crypto_b64_decode(
            out, (struct str){v.p + sizeof B64_OPEN - 1,
                              v.n - (sizeof B64_OPEN - 1) - (sizeof B64_CLOSE - 1)});
    }
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] >= 0x7f)
            return false;
    buf_add_str(out, v);
    return true;
}
