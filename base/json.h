/* The one-pass validating JSON scanner (RFC 8259): a flat table of tokens with byte spans, no tree,
 * no copies. Strict: UTF-8, no BOM, no NaN, one value, no trailing bytes; lone surrogates as \u
 * escapes are legal and pass. Edits are spans to replace; all other bytes stay as they came. No
 * I/O; fuzzed. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/err.h"
#include "base/str.h"

#include <assert.h>

enum json_type {
    JSON_NULL,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* A value or a member name, in document order. An object's children are name, value, name, value,
 * … */
struct json_tok {
    uint32_t off, len; /* bytes in the text; strings include their quotes */
    uint32_t next;     /* index of the first token after this one's whole subtree */
    uint32_t count;    /* array: elements; object: members; else 0 */
    uint8_t type;      /* enum json_type; a member name is a JSON_STRING */
    uint8_t escaped;   /* string holds a backslash */
};

struct json_limits {
    uint32_t max_depth;  /* containers within containers; 0 = 64 */
    uint32_t max_tokens; /* 0 = 100000 */
};

/* A scan in progress and its result. Zero-initialised is valid; reuse keeps the token array. */
struct json_doc {
    const char *text; /* borrowed; set by json_parse/json_feed */
    size_t len;
    struct json_tok *tok; /* owned */
    uint32_t n, cap;
    struct json_limits limits;
    /* scanner state (private) */
    size_t pos;
    uint32_t open; /* the innermost open container; its len says which is the next one out */
    uint32_t depth;
    uint8_t state;
};

/* "No token": what lookups return when there is none. Token 0 is the root. */
#define JSON_NONE UINT32_MAX

/* Scans text[0..len) as one JSON text. text is borrowed and must outlive the use of the doc. len <
 * 4 GiB. Errors: ERR_BAD_REQUEST with the byte offset and what was expected, ERR_TOO_LARGE for
 * depth or tokens. */
bool json_parse(struct json_doc *d, const char *text, size_t len, struct err *e) MUST_USE;

/* The same, resumable: scans as far as the len bytes that are there now allow (text may have moved
 * since the last call; the bytes already seen are the same). Call json_reset first. last: nothing
 * follows. Returns false on an error; true otherwise; after last and true the doc is complete. */
bool json_feed(struct json_doc *d, const char *text, size_t len, bool last, struct err *e) MUST_USE;
/* Forgets the tokens and starts anew; keeps memory and limits. */
void json_reset(struct json_doc *d);
/* Frees the token array. */
void json_fini(struct json_doc *d);

/* The raw bytes of a token, quotes included. Empty for JSON_NONE. */
static inline struct str json_raw(const struct json_doc *d, uint32_t tok)
{
    if (tok == JSON_NONE)
        return (struct str){0};
    assert(tok < d->n);
    return (struct str){d->text + d->tok[tok].off, d->tok[tok].len};
}
/* The value of member name of object obj (name compared after unescaping), the first one if there
 * are several. JSON_NONE when obj is JSON_NONE, not an object, or has no such member. */
uint32_t json_get(const struct json_doc *d, uint32_t obj, struct str name);
/* Follows member names given as a dotless path: json_path(d, 0, (const char *[]){"params", "name",
 * NULL}). */
uint32_t json_path(const struct json_doc *d, uint32_t from, const char *const *names);
/* True when object obj has two members of one name (after unescaping). Linear for up to 16 members,
 * hashed above. */
bool json_has_duplicates(const struct json_doc *d, uint32_t obj);
/* Type of a token; JSON_NULL for JSON_NONE is not returned: asserts tok is valid. */
static inline enum json_type json_type(const struct json_doc *d, uint32_t tok)
{
    assert(tok < d->n);
    return d->tok[tok].type;
}
static inline bool json_is(const struct json_doc *d, uint32_t tok, enum json_type type)
{
    return tok != JSON_NONE && json_type(d, tok) == type; /* false for JSON_NONE */
}
/* First child of a container and the one after it; JSON_NONE at the end. For objects: the member
 * names; the value of name token k is token k + 1, and json_next(d, obj, k) steps to the next
 * name. */
static inline uint32_t json_first(const struct json_doc *d, uint32_t parent)
{
    if (!json_is(d, parent, JSON_OBJECT) && !json_is(d, parent, JSON_ARRAY))
        return JSON_NONE;
    return d->tok[parent].next > parent + 1 ? parent + 1 : JSON_NONE;
}
static inline uint32_t json_next(const struct json_doc *d, uint32_t parent, uint32_t child)
{
    uint32_t held = json_type(d, parent) == JSON_OBJECT ? child + 1 : child;
    uint32_t next = held < d->n ? d->tok[held].next : 0;
    return next && next < d->tok[parent].next ? next : JSON_NONE;
}

/* The unescaped bytes of a string token: borrowed from the text when nothing was escaped, else from
 * the arena. Lone surrogates become U+FFFD. Empty for JSON_NONE and other types. May contain
 * NUL. */
struct str json_str(const struct json_doc *d, uint32_t tok, struct arena *a);
/* json_str_eq for a token that is known to hold a backslash. */
bool json_escaped_eq(const struct json_doc *d, uint32_t tok, struct str s);
/* True when the string token equals s after unescaping. */
static inline bool json_str_eq(const struct json_doc *d, uint32_t tok, struct str s)
{
    if (!json_is(d, tok, JSON_STRING))
        return false;
    if (d->tok[tok].escaped)
        return json_escaped_eq(d, tok, s);
    return str_eq((struct str){d->text + d->tok[tok].off + 1, d->tok[tok].len - 2}, s);
}
/* Integer value of a number token without fraction or exponent, within int64; false otherwise. */
bool json_int(const struct json_doc *d, uint32_t tok, int64_t *out);
/* Value of a number token as a double (for comparing progress values). 0 for other types. */
double json_double(const struct json_doc *d, uint32_t tok);

/* Writes s as a JSON string with quotes. Escapes what RFC 8259 §7 demands and U+2028/2029; invalid
 * UTF-8 becomes U+FFFD. */
void json_write_str(struct buf *out, struct str s);

/* One replacement: bytes [off, off+len) of a text become with (borrowed). Made by the json_edit_…
 * functions only. */
struct json_edit {
    uint32_t off, len;
    struct str with;
    uint32_t obj,
        name; /* private: the object of an insert or removal, the name removed; else JSON_NONE */
    uint32_t seq; /* private: order of adding */
};
/* A growing list of edits against one text; zero-initialised is empty. Entries may be added in any
 * order. Of two that overlap the one that starts first is applied (an edit inside a removed member
 * is gone with it). */
struct json_edits {
    struct json_edit *at;
    uint32_t n, cap;
    bool sorted; /* private */
};
void json_edit_add(struct json_edits *es, uint32_t off, uint32_t len, struct str with);
/* Replaces a whole token. */
void json_edit_replace(struct json_edits *es, const struct json_doc *d, uint32_t tok,
                       struct str with);
/* Removes a member with its name and one comma. name_tok is the token of the name inside object
 * obj. Removing several members of one object is right too, all of them included. Inserts into the
 * same object go through json_edit_insert. */
void json_edit_remove(struct json_edits *es, const struct json_doc *d, uint32_t obj,
                      uint32_t name_tok);
/* Adds members (raw `"k":v` or `"k":v,"k2":v2`, without outer commas) at the start of object obj.
 * At most one insert an object; commas are right also when all other members are removed. */
void json_edit_insert(struct json_edits *es, const struct json_doc *d, uint32_t obj,
                      struct str members);
/* Appends the bytes of [off, off+len) of d's text to out with the edits that lie inside applied; an
 * insert lies where its object's brace does, a removal takes its comma along. The range is the
 * whole text or a token. Sorts the list. */
void json_edit_apply(struct json_edits *es, const struct json_doc *d, uint32_t off, uint32_t len,
                     struct buf *out);
void json_edits_fini(struct json_edits *es);

#endif
