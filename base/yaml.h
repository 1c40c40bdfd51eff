/* YAML (and so JSON) text as a tree with line numbers, for configuration. One document; duplicate
 * keys, anchors, aliases and tags are refused; size, depth and number of nodes are capped. On
 * libyaml. */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include "base/err.h"
#include "base/str.h"

enum { YAML_MAX_BYTES = 1024 * 1024, YAML_MAX_DEPTH = 32, YAML_MAX_NODES = 50000 };

/* What a node is. Scalars stay text: what they mean is the reader's to say. */
enum yaml_kind {
    YAML_NULL, /* nothing, "~" or "null" without quotes */
    YAML_TEXT,
    YAML_LIST,
    YAML_MAP,
};

/* A value. Members of a list or a map hang from first, linked by next, in the order of the text. */
struct yaml_node {
    enum yaml_kind kind;
    int line;          /* from 1; of the key when there is one */
    const char *key;   /* in a map: its name; elsewhere NULL */
    const char *text;  /* never NULL, holds no NUL; "" when not YAML_TEXT */
    const char *shown; /* what messages may show of text; the reader may set another */
    struct yaml_node *first, *next;
    size_t count; /* members */
    bool quoted;  /* a text in quotes or as a block: a string, whatever it looks like */
};

/* A parsed text; zero-initialised is empty. Nodes live until yaml_doc_fini. */
struct yaml_doc {
    struct arena arena;
    struct yaml_node *root; /* YAML_NULL when the text is empty */
    int error_line;         /* where a failed parse stopped; 0 when that is not known */
};

/* Parses text, which may go afterwards. Errors: ERR_TOO_LARGE, ERR_CONFIG (the message does not
 * name the line). Call yaml_doc_fini in either case. */
bool yaml_parse(struct yaml_doc *d, struct str text, struct err *e) MUST_USE;
/* The member of that name, or NULL; also NULL when map is NULL or not a map. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* "a list", for messages. */
const char *yaml_kind_name(enum yaml_kind kind);
/* Wipes (the text may hold secrets) and frees; empty and usable afterwards. */
void yaml_doc_fini(struct yaml_doc *d);

#endif
