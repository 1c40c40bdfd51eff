/* The option-table engine: one row is parser, bounds, default, help, documentation and dump of one
 * option, whether it comes from a file, the environment or a flag. Knows no option of its own. */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "base/err.h"
#include "base/str.h"
#include "base/yaml.h"

/* A pair of owned strings: an environment variable, a header, a renaming. */
struct name_value {
    char *name, *value;
};

/* The type of the field that a row describes. */
enum option_type {
    OPT_STRING, /* char *; min and max bound its length (max 0: 4096) */
    OPT_CHARS,  /* char[]; min bounds its length */
    OPT_LIST, /* char **, NULL-terminated; NULL when empty. Comma-separated in environment and flags
               */
    OPT_PAIRS,   /* struct name_value * and a size_t at count_offset; file only */
    OPT_BOOL,    /* bool */
    OPT_INT,     /* int */
    OPT_MSEC,    /* int, written as 500ms, 60s, 5m, 1h, 1m30s */
    OPT_BYTES,   /* size_t, written as 4MiB, 512KiB, 10MB, 4096 */
    OPT_CHOICE,  /* int, enum or bool: a word of choices */
    OPT_SUBTREE, /* no field: its owner reads it from the file; here for documentation and unknown
                    keys */
};

enum option_flags {
    OPT_RELOAD = 1, /* may change while running */
    OPT_SECRET = 2, /* never shown, wiped before it is freed */
    OPT_INPUT = 4,  /* not part of a dump */
    OPT_ALIAS = 8,  /* another spelling of the row with the same field: file only, not documented */
};

/* A word and what it stores. Those after an empty word are understood but not offered. */
struct option_choice {
    const char *name;
    int value;
};

enum { OPTION_MAX_ENVS = 3 };

/* Where the name is NULL, only the environment sets the field. In choices the first word of a value
 * is the one shown. */
struct option {
    const char *name; /* "timeouts.header": the path in the file, the flag */
    enum option_type type;
    unsigned flags; /* enum option_flags */
    size_t offset, size, count_offset;
    const char *def;                     /* as text; NULL: the field keeps what it held */
    const char *def_text;                /* for people, when def is NULL */
    int64_t min, max;                    /* both 0: any that fits */
    const struct option_choice *choices; /* ends with a NULL name */
    const char *env[OPTION_MAX_ENVS];    /* the first that is set and not empty counts */
    const char *help;                    /* one sentence */
};

/* For a row: where the field is. */
#define OPT_AT(type, field)                                                                        \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)NULL)->field)

/* Rows of one struct; rows of one group ("timeouts.") stand together. */
struct option_table {
    const struct option *rows;
    size_t n;
};

/* Receives a problem: where ("headgate.yaml:12 timeouts.header"), what is wrong and how to write
 * it. Both borrowed. */
typedef void (*option_problem_fn)(void *arg, bool warning, const char *where, const char *what);

/* One reading: which rows, into which struct, and what to call the places. */
struct option_reader {
    const struct option_table *table;
    void *base;
    const char *file; /* of the tree, for messages; NULL: none */
    bool lines;       /* messages name lines of it */
    const char *path; /* of the tree's root: "upstreams.files"; "" or NULL for none */
    bool lenient;     /* unknown keys are warnings */
    char **origins;   /* NULL, or a string a row: where its value was last written, owned by the
                         caller */
    option_problem_fn problem;
    void *arg;
};

/* Sets every field that has a default. */
void options_defaults(const struct option_table *t, void *base);
/* Reads a map; fields whose keys are not in it (or are null) keep their values. OPT_SUBTREE keys
 * are passed over. */
void options_read_tree(const struct option_reader *r, const struct yaml_node *map);
/* Reads the rows' environment variables; an empty one counts as not set. */
void options_read_env(const struct option_reader *r, char *const *environ);
/* Reads "--name=value", "--name value" and, for booleans, "--name". Case, '-' and '.' of the name
 * do not matter. A list replaces what file and environment gave; given again, it appends. flags may
 * be NULL. */
void options_read_flags(const struct option_reader *r, const char *const *flags);
/* Frees (and wipes) the fields of the rows that have all these flags (0: every row) and zeroes
 * them. */
void options_fini(const struct option_table *t, void *base, unsigned flags);

/* Reports a problem at a node (NULL: no line) and path (a dotted name below r->path; NULL: r->path
 * itself). */
void option_report(const struct option_reader *r, bool warning, const struct yaml_node *node,
                   const char *path, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The value of a variable in "NAME=value" strings, or NULL. environ may be NULL. */
const char *option_getenv(char *const *environ, const char *name);

/* Sets one scalar field from text. The message (ERR_CONFIG) begins after the value: "is not a
 * number". */
bool option_set(const struct option *o, void *base, const char *text, struct err *e) MUST_USE;
/* Appends to an OPT_LIST field. False when it is full. */
bool option_list_add(const struct option *o, void *base, struct str text) MUST_USE;
/* Appends to an OPT_PAIRS field. False when it is full. */
bool option_pairs_add(const struct option *o, void *base, const char *name,
                      const char *value) MUST_USE;
/* Frees and zeroes a field that owns memory. */
void option_clear(const struct option *o, void *base);
/* Appends a scalar field as it is written in a file, without quotes; empty for a NULL string. */
void option_format(const struct option *o, const void *base, struct buf *out);

/* true/false, yes/no, on/off, 1/0, enabled/disabled and their short forms, in any case. */
bool option_parse_bool(struct str s, bool *out);
/* Milliseconds of "500ms", "60s", "5m", "1h", "1d", "1m30s" or "0". */
bool option_parse_msec(struct str s, int64_t *out);
/* Bytes of "4MiB", "512Ki", "10MB" or "4096". */
bool option_parse_bytes(struct str s, uint64_t *out);
/* Among n candidates, the one that s was probably meant to be (by edit distance, case and '-', '_'
 * aside), or NULL. */
const char *option_suggest(struct str s, const char *const *candidates, size_t n);

/* Appends the rows for --help. */
void options_help(const struct option_table *t, struct buf *out);
/* Appends the rows as a markdown table; keys are shown below prefix ("upstreams.NAME."; "" for
 * none). */
void options_markdown(const struct option_table *t, const char *prefix, struct buf *out);
/* Appends the fields as members of a JSON object, without its braces; secrets as "[redacted]". */
void options_dump(const struct option_table *t, const void *base, struct buf *out);

#endif
