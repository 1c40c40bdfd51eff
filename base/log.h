/* Typed logging: one event name and typed fields, as text or JSON lines, to stderr. A client's
 * bytes cannot forge a line. log_info("upstream.connected", L_STR("upstream", name), L_INT("ms",
 * took)); */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/str.h"

enum log_level { LV_DEBUG, LV_INFO, LV_WARN, LV_ERROR };
enum log_field_type { LOG_F_NONE, LOG_F_STR, LOG_F_INT, LOG_F_SECRET };

struct log_field {
    enum log_field_type type;
    const char *key;
    struct str s;
    int64_t i;
};

#define L_STR(k, v) ((struct log_field){.type = LOG_F_STR, .key = (k), .s = str_of(v)})
#define L_S(k, v)   ((struct log_field){.type = LOG_F_STR, .key = (k), .s = (v)})
#define L_INT(k, v) ((struct log_field){.type = LOG_F_INT, .key = (k), .i = (int64_t)(v)})
/* Prints as "[redacted]", whatever it is. */
#define L_SECRET(k, v) ((struct log_field){.type = LOG_F_SECRET, .key = (k)})
#define L_ERR(e)       L_STR("error", (e)->msg)

#define LOG_FIELDS(...)                                                                            \
    ((const struct log_field[]){{0}, ##__VA_ARGS__}) /* row 0 is empty and skipped */
#define LOG_AT(lv, ev, ...)                                                                        \
    do {                                                                                           \
        if (log_enabled(lv))                                                                       \
            log_write(lv, ev, LOG_FIELDS(__VA_ARGS__),                                             \
                      sizeof LOG_FIELDS(__VA_ARGS__) / sizeof(struct log_field));                  \
    } while (0)
#define log_debug(ev, ...) LOG_AT(LV_DEBUG, ev, ##__VA_ARGS__)
#define log_info(ev, ...)  LOG_AT(LV_INFO, ev, ##__VA_ARGS__)
#define log_warn(ev, ...)  LOG_AT(LV_WARN, ev, ##__VA_ARGS__)
#define log_error(ev, ...) LOG_AT(LV_ERROR, ev, ##__VA_ARGS__)

/* Sets level and format ("text" or "json"); callable at any time. */
void log_configure(enum log_level level, bool json);
bool log_level_parse(struct str name, enum log_level *out);
bool log_enabled(enum log_level level);
/* The function behind the macros: formats one line and hands it to the writer thread, or writes it
 * at once when that is not running. Never blocks: a full ring drops the line and counts it. */
void log_write(enum log_level level, const char *event, const struct log_field *f, size_t n);
/* Starts the writer thread (a full pipe never blocks a loop), and stops it after draining. */
void log_start(void);
void log_stop(void);
/* Lines dropped so far because the writer could not keep up. */
uint64_t log_dropped(void);

#endif
