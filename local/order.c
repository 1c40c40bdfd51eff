/* See order.h. */
#include "local/order.h"

static int number(const struct json_doc *d, const char *name)
{
    int64_t v = 0;
    uint32_t tok = json_get(d, 0, str_of(name));
    if (tok == JSON_NONE || !json_int(d, tok, &v) || v < 0 || v > INT32_MAX)
        return 0;
    return (int)v;
}

static bool flag(const struct json_doc *d, const char *name)
{
    return json_is(d, json_get(d, 0, str_of(name)), JSON_TRUE);
}

static void strings(const struct json_doc *d, const char *name, const char **out, struct arena *a)
{
    uint32_t list = json_get(d, 0, str_of(name));
    size_t n = 0;
    if (!json_is(d, list, JSON_ARRAY))
        return;
    for (uint32_t k = json_first(d, list); k != JSON_NONE && n < SANDBOX_MAX_PATHS - 1;
         k = json_next(d, list, k)) {
        struct str s = json_str(d, k, a);
        out[n++] = arena_dup(a, s.p, s.n);
    }
}

static void port_numbers(const struct json_doc *d, uint16_t *out)
{
    uint32_t list = json_get(d, 0, STR("ports"));
    size_t n = 0;
    int64_t v;
    if (!json_is(d, list, JSON_ARRAY))
        return;
    for (uint32_t k = json_first(d, list); k != JSON_NONE && n < SANDBOX_MAX_PATHS - 1;
         k = json_next(d, list, k))
        if (json_int(d, k, &v) && v > 0 && v < 65536)
            out[n++] = (uint16_t)v;
}

bool order_parse(struct str text, struct order *out, struct arena *a, struct err *e)
{
    struct json_doc d = {0};
    bool ok = json_parse(&d, text.p, text.n, e);
    *out = (struct order){.text = text};
    if (ok && !sandbox_profile_parse(json_str(&d, json_get(&d, 0, STR("profile")), a),
                                     &out->sandbox.profile))
        ok = err_set(e, ERR_BAD_REQUEST, "the order names no profile");
    if (ok) {
        struct sandbox *s = &out->sandbox;
        out->describe = flag(&d, "describe");
        s->required = flag(&d, "required");
        s->memory_mb = number(&d, "memoryMb");
        s->cpu_seconds = number(&d, "cpuSeconds");
        s->files = number(&d, "files");
        s->file_bytes = number(&d, "fileBytes");
        strings(&d, "read", s->read, a);
        strings(&d, "write", s->write, a);
        port_numbers(&d, s->ports);
    }
    json_fini(&d);
    return ok;
}
