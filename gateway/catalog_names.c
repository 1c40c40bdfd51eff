/* See catalog.h: public names and URIs, and the way back from them. The forms are decided by names
 * alone, so that two replicas, or one before and after a restart, agree. */
#include "gateway/catalog.h"

#include <stdlib.h>

enum { HASH_BYTES = 4, HASH_SUFFIX = 1 + 2 * HASH_BYTES };

/* ---- names ---- */

static const char *renamed(const struct mount_config *m, struct str name)
{
    for (size_t i = 0; i < m->renames; i++)
        if (str_eq(str_of(m->rename[i].name), name))
            return m->rename[i].value;
    return NULL;
}

/* The longest cut of s to at most n bytes that splits no UTF-8 character. */
static size_t cut_utf8(struct str s, size_t n)
{
    if (s.n <= n)
        return s.n;
    while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static void add_hashed(const struct config *cfg, const struct mount_config *m, struct str plain,
                       struct str name, struct buf *out)
{
    size_t max = cfg->max_name > HASH_SUFFIX ? (size_t)cfg->max_name - HASH_SUFFIX : 0;
    uint8_t digest[32];
    crypto_sha256((struct str[]){str_of(m->name), {"", 1}, name}, 3, digest);
    buf_add(out, plain.p, cut_utf8(plain, max));
    buf_addc(out, '_');
    crypto_hex(out, digest, HASH_BYTES);
}

void catalog_public_name(const struct config *cfg, const struct mount_config *m,
                         enum catalog_kind kind, struct str name, bool force_hash, struct buf *out)
{
    const char *given = kind == KIND_TOOLS ? renamed(m, name) : NULL;
    struct buf plain = {0};
    if (given)
        buf_adds(&plain, given);
    else if (m->prefix[0])
        buf_addf(&plain, "%s%s", m->prefix, cfg->separator);
    if (!given)
        buf_add_str(&plain, name);
    if (force_hash || (!given && plain.n > (size_t)cfg->max_name))
        add_hashed(cfg, m, buf_str(&plain), name, out);
    else
        buf_add_str(out, buf_str(&plain));
    buf_fini(&plain);
}

static bool any_glob(char *const *globs, struct str name)
{
    for (; globs && *globs; globs++)
        if (str_glob(str_of(*globs), name))
            return true;
    return false;
}

bool catalog_tool_allowed(const struct mount_config *m, struct str name)
{
    if (m->tools_allow && m->tools_allow[0] && !any_glob(m->tools_allow, name))
        return false;
    return !any_glob(m->tools_deny, name);
}

/* ---- URIs ---- */

#define OWN_SCHEME "headgate"

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of the scheme when s starts with "scheme://" (RFC 3986 §3.1), else 0. */
static size_t scheme_len(struct str s)
{
    size_t n = 0;
    while (n < s.n &&
           (is_alpha(s.p[n]) || (n > 0 && (is_digit(s.p[n]) || (s.p[n] && strchr("+-.", s.p[n]))))))
        n++;
    return n > 0 && str_starts((struct str){s.p + n, s.n - n}, STR("://")) ? n : 0;
}

/* May the mount's name be put in front as an authority? Clients give these schemes a meaning of
 * their own, and ours is taken. */
static bool takes_authority(struct str scheme)
{
    static const char *const fixed[] = {"http", "https", "ui", OWN_SCHEME};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (str_ieq(scheme, str_of(fixed[i])))
            return false;
    return true;
}

/* Length of the template expression that starts s with its braces, or 0. */
static size_t expression_len(struct str s)
{
    const char *end = s.n && s.p[0] == '{' ? memchr(s.p, '}', s.n) : NULL;
    if (!end || memchr(s.p + 1, '{', (size_t)(end - s.p) - 1))
        return 0;
    return (size_t)(end - s.p) + 1;
}

/* Percent-encodes all but the unreserved (RFC 3986 §2.3) and template expressions. A '%' is
 * encoded everywhere, so that decoding is the exact inverse. */
static void percent_encode(struct str s, struct buf *out)
{
    size_t expression_end = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (i >= expression_end)
            expression_end = i + expression_len((struct str){s.p + i, s.n - i});
        bool plain = is_alpha(c) || is_digit(c) || (c && strchr("-._~", c));
        if (plain || (i < expression_end && c != '%'))
            buf_addc(out, c);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)c);
    }
}

void catalog_public_uri(const struct mount_config *m, struct str uri, bool prefixed,
                        struct buf *out)
{
    size_t scheme = scheme_len(uri);
    if (!prefixed) {
        buf_add_str(out, uri);
    } else if (scheme && takes_authority((struct str){uri.p, scheme})) {
        buf_add(out, uri.p, scheme + 3);
        buf_addf(out, "%s/", m->name);
        buf_add(out, uri.p + scheme + 3, uri.n - scheme - 3);
    } else {
        buf_addf(out, OWN_SCHEME "://%s/", m->name);
        percent_encode(uri, out);
    }
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent_encode; false on a broken escape, a NUL or nothing at all. */
static bool percent_decode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int c = (unsigned char)s.p[i];
        if (c == '%') {
            int hi = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
            int lo = hi >= 0 ? hex_digit(s.p[i + 2]) : -1;
            if (lo < 0 || hi * 16 + lo == 0)
                return false;
            c = hi * 16 + lo;
            i += 2;
        }
        buf_addc(out, (char)c);
    }
    return s.n > 0;
}

static bool is_mount_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_digit(s.p[i]) && !(s.p[i] >= 'a' && s.p[i] <= 'z') && s.p[i] != '-')
            return false;
    return s.n > 0;
}

bool catalog_split_uri(struct str uri, struct str *mount, struct buf *original)
{
    size_t scheme = scheme_len(uri), start = original->n;
    if (!scheme)
        return false;
    struct str rest = {uri.p + scheme + 3, uri.n - scheme - 3};
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    if (!slash)
        return false;
    struct str name = {rest.p, (size_t)(slash - rest.p)};
    if (!is_mount_name(name))
        return false;
    rest = (struct str){slash + 1, rest.n - name.n - 1};
    if (str_ieq((struct str){uri.p, scheme}, STR(OWN_SCHEME))) {
        if (!percent_decode(rest, original)) {
            original->n = start;
            return false;
        }
    } else if (takes_authority((struct str){uri.p, scheme})) {
        buf_add(original, uri.p, scheme + 3);
        buf_add_str(original, rest);
    } else {
        return false;
    }
    *mount = name;
    return true;
}

/* ---- templates (RFC 6570) ----
 * A template becomes pieces: literals, and runs of bytes that an expression may expand to. Which
 * places of the URI the first k pieces can reach is computed piece by piece, in time linear in the
 * URI, so that no template makes matching slow. */

enum { MAX_PIECES = 64, MAX_URI = 8192 };

struct piece {
    struct str literal; /* p NULL: an expression's */
    char first;         /* what a run that is not empty starts with; 0: anything allowed */
    const char *stop;   /* bytes that end a run */
    size_t expression;  /* which expression it belongs to */
};

struct pattern {
    struct piece at[MAX_PIECES];
    size_t n, expressions;
};

static bool add_piece(struct pattern *t, struct piece p)
{
    if (t->n == MAX_PIECES)
        return false;
    t->at[t->n++] = p;
    return true;
}

/* {/a,b} is up to two segments: values have their slashes encoded. Exploded it is any number. */
static bool add_segments(struct pattern *t, struct str names)
{
    bool exploded = names.n && memchr(names.p, '*', names.n);
    struct piece p = {.first = '/', .stop = exploded ? "?#" : "/?#", .expression = t->expressions};
    size_t segments = 1;
    for (size_t i = 0; i < names.n && !exploded; i++)
        segments += names.p[i] == ',';
    for (size_t i = 0; i < segments; i++)
        if (!add_piece(t, p))
            return false;
    return true;
}

/* inner: what stands between the braces. */
static bool add_expression(struct pattern *t, struct str inner)
{
    static const struct {
        char op, first;
        const char *stop;
    } ops[] = {{'+', 0, ""},      {'#', '#', ""},  {'.', '.', "/?#"},
               {';', ';', "/?#"}, {'?', '?', "#"}, {'&', '&', "#"}};
    struct piece p = {.stop = "/?#", .expression = t->expressions};
    bool ok;
    if (inner.n == 0)
        return false;
    if (inner.p[0] == '/') {
        ok = add_segments(t, (struct str){inner.p + 1, inner.n - 1});
    } else {
        for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
            if (ops[i].op == inner.p[0])
                p = (struct piece){
                    .first = ops[i].first, .stop = ops[i].stop, .expression = t->expressions};
        }
        ok = add_piece(t, p);
    }
    t->expressions++;
    return ok;
}

static bool read_template(struct str s, struct pattern *t)
{
    t->n = t->expressions = 0;
    while (s.n > 0) {
        const char *brace = memchr(s.p, '{', s.n);
        size_t len = brace ? (size_t)(brace - s.p) : s.n;
        if (len > 0 && !add_piece(t, (struct piece){.literal = {s.p, len}}))
            return false;
        s = (struct str){s.p + len, s.n - len};
        if (s.n == 0)
            break;
        len = expression_len(s);
        if (len == 0 || !add_expression(t, (struct str){s.p + 1, len - 2}))
            return false;
        s = (struct str){s.p + len, s.n - len};
    }
    return true;
}

static bool in_run(const struct piece *p, char c)
{
    return (unsigned char)c > ' ' && !strchr(p->stop, c);
}

/* Marks in to[] where piece p can end, given in from[] where it can begin. Returns whether any. */
static bool reach(const struct piece *p, struct str uri, const bool *from, bool *to)
{
    bool any = false, running = false;
    for (size_t i = 0; i <= uri.n; i++) {
        if (p->literal.p) {
            size_t n = p->literal.n;
            if (from[i] && uri.n - i >= n && memcmp(uri.p + i, p->literal.p, n) == 0)
                to[i + n] = any = true;
            continue;
        }
        running =
            i > 0 &&
            ((running && in_run(p, uri.p[i - 1])) ||
             (from[i - 1] && (p->first ? uri.p[i - 1] == p->first : in_run(p, uri.p[i - 1]))));
        to[i] = from[i] || running;
        any = any || to[i];
    }
    return any;
}

/* Where piece p that ends at end began; to be called only for an end that it reaches. */
static size_t began(const struct piece *p, struct str uri, const bool *from, size_t end)
{
    if (p->literal.p)
        return end - p->literal.n;
    size_t i = end;
    while (!from[i] || (i < end && p->first && uri.p[i] != p->first))
        i--;
    return i;
}

/* Matches; captures[k] becomes the text of expression k. */
static bool match(const struct pattern *t, struct str uri, struct str *captures)
{
    if (uri.n > MAX_URI || (t->n && t->at[0].literal.p && !str_starts(uri, t->at[0].literal)))
        return false;
    size_t row = uri.n + 1, k = 0, end = uri.n;
    bool *reached = xcalloc((t->n + 1) * row, sizeof *reached);
    reached[0] = true;
    while (k < t->n && reach(&t->at[k], uri, reached + k * row, reached + (k + 1) * row))
        k++;
    bool ok = k == t->n && reached[k * row + uri.n];
    while (ok && k-- > 0) {
        const struct piece *p = &t->at[k];
        size_t start = began(p, uri, reached + k * row, end);
        if (!p->literal.p && captures[p->expression].p)
            captures[p->expression].n += end - start; /* goes before the part that is there */
        else if (!p->literal.p)
            captures[p->expression].n = end - start;
        if (!p->literal.p)
            captures[p->expression].p = uri.p + start;
        end = start;
    }
    free(reached);
    return ok;
}

bool catalog_template_match(struct str tmpl, struct str uri)
{
    struct pattern t;
    struct str captures[MAX_PIECES] = {0};
    return read_template(tmpl, &t) && match(&t, uri, captures);
}

bool catalog_template_map(struct str from, struct str uri, struct str to, struct buf *out)
{
    struct pattern f, t;
    struct str captures[MAX_PIECES] = {0};
    if (!read_template(from, &f) || !read_template(to, &t) || f.expressions != t.expressions ||
        !match(&f, uri, captures))
        return false;
    for (size_t i = 0, done = 0; i < t.n; i++) {
        if (t.at[i].literal.p) {
            buf_add_str(out, t.at[i].literal);
        } else if (t.at[i].expression >= done) { /* several pieces may be one expression */
            buf_add_str(out, captures[t.at[i].expression]);
            done = t.at[i].expression + 1;
        }
    }
    return true;
}

/* ---- resolving ---- */

static bool listed(const struct catalog *c, enum catalog_kind kind, struct str name,
                   struct target *out)
{
    const struct catalog_entry *e = map_get(&c->list[kind].by_public, name);
    if (!e)
        return false;
    *out = (struct target){e, e->mount, e->name};
    return true;
}

/* The only mount without a prefix, or -1. */
static int plain_mount(const struct catalog *c)
{
    int found = -1;
    for (size_t m = 0; m < c->mount_count; m++) {
        if (c->config->mounts[m].prefix[0])
            continue;
        if (found >= 0)
            return -1;
        found = (int)m;
    }
    return found;
}

/* The mount whose prefix and separator start the name, the longest; -1: none. *len: theirs. */
static int prefix_mount(const struct catalog *c, struct str name, size_t *len)
{
    struct str separator = str_of(c->config->separator);
    int found = -1;
    *len = 0;
    for (size_t m = 0; m < c->mount_count; m++) {
        struct str prefix = str_of(c->config->mounts[m].prefix);
        size_t n = prefix.n + separator.n;
        if (prefix.n == 0 || n <= *len || name.n <= n || !str_starts(name, prefix) ||
            !str_starts((struct str){name.p + prefix.n, name.n - prefix.n}, separator))
            continue;
        found = (int)m;
        *len = n;
    }
    return found;
}

static bool has_tool_rules(const struct mount_config *m)
{
    return (m->tools_allow && m->tools_allow[0]) || (m->tools_deny && m->tools_deny[0]) ||
           m->renames > 0;
}

static bool is_hidden(const struct catalog *c, int mount, struct str name)
{
    struct buf key = {0};
    buf_addf(&key, "%s/", c->config->mounts[mount].name);
    buf_add_str(&key, name);
    bool hidden = map_get(&c->hidden, buf_str(&key)) != NULL;
    buf_fini(&key);
    return hidden;
}

/* A name that is not listed as it was written: servers answer names that they do not list. */
static bool resolve_unlisted(const struct catalog *c, enum catalog_kind kind, struct str name,
                             struct target *out)
{
    size_t len;
    int m = prefix_mount(c, name, &len);
    if (m < 0)
        m = plain_mount(c);
    if (m < 0 || (kind == KIND_TOOLS && has_tool_rules(&c->config->mounts[m])))
        return false;
    struct str rest = {name.p + len, name.n - len};
    if (kind == KIND_TOOLS && is_hidden(c, m, rest))
        return false;
    *out = (struct target){NULL, m, rest};
    /* It may be listed under its second name; then what is known of it counts. */
    const struct catalog_list *l = &c->list[kind];
    for (uint32_t i = 0; i < l->n && !out->entry; i++)
        if (l->entries[i].mount == m && str_eq(l->entries[i].name, rest))
            out->entry = &l->entries[i];
    return true;
}

/* A buffer's bytes, moved to the arena. */
static struct str keep(struct buf *b, struct arena *a)
{
    struct str s = {arena_dup(a, b->p, b->n), b->n};
    buf_fini(b);
    return s;
}

static bool resolve_template(const struct catalog *c, struct str uri, struct arena *a,
                             struct target *out)
{
    const struct catalog_list *l = &c->list[KIND_TEMPLATES];
    if (listed(c, KIND_TEMPLATES, uri, out)) /* the template itself, to be completed */
        return true;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct catalog_entry *e = &l->entries[i];
        struct buf original = {0};
        if (catalog_template_map(e->public_name, uri, e->name, &original)) {
            *out = (struct target){e, e->mount, keep(&original, a)};
            return true;
        }
    }
    return false;
}

static bool resolve_prefixed(const struct catalog *c, struct str uri, struct arena *a,
                             struct target *out)
{
    struct str mount;
    struct buf original = {0};
    if (!catalog_split_uri(uri, &mount, &original))
        return false;
    for (size_t m = 0; m < c->mount_count; m++) {
        if (str_eq(str_of(c->config->mounts[m].name), mount)) {
            *out = (struct target){NULL, (int)m, keep(&original, a)};
            return true;
        }
    }
    buf_fini(&original);
    return false;
}

static bool resolve_uri(const struct catalog *c, struct str uri, struct arena *a,
                        struct target *out)
{
    if (listed(c, KIND_RESOURCES, uri, out) || resolve_template(c, uri, a, out) ||
        resolve_prefixed(c, uri, a, out))
        return true;
    int m = c->resources_mount >= 0 ? c->resources_mount : plain_mount(c);
    *out = (struct target){NULL, m, uri};
    return m >= 0;
}

bool catalog_resolve(const struct catalog *c, enum method_route route, struct str public_name,
                     struct arena *a, struct target *out)
{
    enum catalog_kind kind = route == ROUTE_TOOL ? KIND_TOOLS : KIND_PROMPTS;
    *out = (struct target){.mount = -1};
    switch (route) {
    case ROUTE_TOOL:
    case ROUTE_PROMPT:
        return listed(c, kind, public_name, out) || resolve_unlisted(c, kind, public_name, out);
    case ROUTE_URI: return resolve_uri(c, public_name, a, out);
    case ROUTE_NONE:
    case ROUTE_REF: break;
    }
    return false;
}
