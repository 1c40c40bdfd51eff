/* See rate.h. */
#include "gateway/rate.h"

static const struct {
    const char *name;
    int ms;
} units[] = {
    {"s", 1000},       {"sec", 1000},     {"second", 1000},  {"min", 60000},
    {"m", 60000},      {"minute", 60000}, {"h", 3600000},    {"hr", 3600000},
    {"hour", 3600000}, {"d", 86400000},   {"day", 86400000},
};

static int unit_ms(struct str name)
{
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (str_ieq(name, str_of(units[i].name)))
            return units[i].ms;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct str trim(struct str s)
{
    while (s.n && is_blank(s.p[0]))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool rate_parse(struct str s, struct rate *out, struct err *e)
{
    struct str rest = s, count;
    uint64_t n;
    *out = (struct rate){0};
    bool split = memchr(s.p ? s.p : "", '/', s.n) && str_split(&rest, '/', &count);
    if (!split)
        return err_set(e, ERR_CONFIG, "is not a rate: write it as 100/min");
    count = trim(count);
    bool negative = count.n > 1 && count.p[0] == '-';
    if (negative)
        count = (struct str){count.p + 1, count.n - 1};
    if (!str_to_u64(count, &n) || n > RATE_MAX) {
        return err_set(e, ERR_CONFIG,
                       "is not a rate: before '/' stands a whole number up to %d, as 100/min",
                       (int)RATE_MAX);
    }
    int ms = unit_ms(trim(rest));
    if (ms == 0)
        return err_set(e, ERR_CONFIG,
                       "is not a rate: after '/' stands s, min, h or day, as 100/min");
    *out = (struct rate){negative ? 0 : (uint32_t)n, ms};
    return true;
}

void rate_format(struct rate r, struct buf *out)
{
    const char *unit = "";
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (units[i].ms == r.window_ms && !*unit)
            unit = units[i].name;
    buf_addf(out, "%u/%s", r.limit, str_eq(str_of(unit), STR("d")) ? "day" : unit);
}
