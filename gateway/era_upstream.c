/* The codec towards servers of both eras. Params go through as they came; only the target's name,
 * reserved members of _meta and our own state are replaced. */
#include "base/clock.h"
#include "gateway/approval.h"
#include "gateway/catalog.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/session.h"
#include "gateway/usession.h"

#include <stdio.h>

/* ---- building ---- */

static bool is_reserved(const struct json_doc *d, uint32_t name)
{
    static const char *const drop[] = {META_VERSION, META_CLIENT, META_CAPS, META_LOG};
    for (size_t i = 0; i < sizeof drop / sizeof *drop; i++)
        if (json_str_eq(d, name, str_of(drop[i])))
            return true;
    return false;
}

static bool is_foreign(const struct json_doc *d, uint32_t name)
{
    return json_str_eq(d, name, STR(META_SERVER)) || json_str_eq(d, name, STR(META_SUBSCRIPTION)) ||
           json_str_eq(d, name, STR(META_TASK));
}

/* The members that a modern server needs in _meta, for a client that does not speak them. */
static void modern_members(const struct call *c, struct buf *out)
{
    buf_addf(out, "\"" META_VERSION "\":\"%s\",\"" META_CLIENT "\":", era_modern());
    buf_add_str(out, c->client_info.n ? c->client_info
                                      : STR("{\"name\":\"headgate\",\"version\":\"0\"}"));
    buf_adds(out, ",\"" META_CAPS "\":");
    convert_write_caps(c->caps, out);
    if (c->log_level != LOG_LEVEL_NONE)
        buf_addf(out, ",\"" META_LOG "\":\"%s\"", era_log_name(c->log_level));
}

/* A task that a server would make for this request could not be found again: the extension is not
 * declared. */
static void hide_tasks(struct json_edits *es, const struct json_doc *d, uint32_t meta)
{
    uint32_t ext = json_get(d, json_get(d, meta, STR(META_CAPS)), STR("extensions"));
    for (uint32_t k = json_first(d, ext); ext != JSON_NONE && k != JSON_NONE;
         k = json_next(d, ext, k))
        if (json_str_eq(d, k, STR("io.modelcontextprotocol/tasks")))
            json_edit_remove(es, d, ext, k);
}

/* What a local tool may know of its caller. */
static void caller_members(const struct call *c, struct buf *out)
{
    char name[65];
    int64_t left = c->ureq ? c->ureq->max_at_ms - clock_ms() : 0;
    local_session_name(c, name);
    buf_addf(out, "\"" META_CALLER "\":{\"session\":\"%s\",\"principal\":", name);
    json_write_str(out, principal_key(c->principal));
    buf_adds(out, ",\"tenant\":");
    json_write_str(out, str_of(c->principal->tenant));
    buf_addf(out, ",\"deadlineMs\":%lld}", (long long)(left > 0 ? left : 0));
}

static void edit_meta(const struct call *c, bool to_modern, struct str id, uint32_t meta,
                      struct json_edits *es, struct str insert)
{
    const struct json_doc *d = c->doc;
    for (uint32_t k = json_first(d, meta); k != JSON_NONE; k = json_next(d, meta, k)) {
        if (json_str_eq(d, k, STR("progressToken")))
            json_edit_replace(es, d, k + 1, id);
        else if (is_foreign(d, k) || json_str_eq(d, k, STR(META_CALLER)) ||
                 json_str_eq(d, k, STR(META_APPROVAL)) ||
                 ((!to_modern || c->legacy_client) && is_reserved(d, k)))
            json_edit_remove(es, d, meta, k);
    }
    if (insert.n)
        json_edit_insert(es, d, meta, insert);
    else if (to_modern)
        hide_tasks(es, d, meta);
}

static void add_params(const struct call *c, bool to_modern, bool to_worker, uint64_t id,
                       struct buf *body)
{
    const struct json_doc *d = c->doc;
    struct json_edits es = {0};
    struct buf members = {0}, target = {0}, wrapped = {0};
    char idz[24];
    struct str ids = {idz, (size_t)snprintf(idz, sizeof idz, "%llu", (unsigned long long)id)};
    if (to_modern && c->legacy_client)
        modern_members(c, &members);
    if (to_worker)
        caller_members(c, &members);
    if (members.n)
        buf_addf(&wrapped, "\"_meta\":{%.*s}", (int)members.n, members.p);
    if (c->params == JSON_NONE) {
        buf_addf(body, "{%.*s}", (int)wrapped.n, wrapped.p ? wrapped.p : "");
        goto out;
    }
    uint32_t meta = json_get(d, c->params, STR("_meta"));
    if (json_is(d, meta, JSON_OBJECT)) {
        edit_meta(c, to_modern, ids, meta, &es, buf_str(&members));
        wrapped.n = 0;
    }
    if (c->retry.n) {
        buf_adds(&wrapped, wrapped.n ? "," : "");
        buf_add_str(&wrapped, c->retry);
    }
    if (wrapped.n)
        json_edit_insert(&es, d, c->params, buf_str(&wrapped));
    if (c->target_tok != JSON_NONE && !str_eq(c->target, c->public_target)) {
        json_write_str(&target, c->target);
        json_edit_replace(&es, d, c->target_tok, buf_str(&target));
    }
    if (c->state_tok != JSON_NONE)
        json_edit_replace(&es, d, c->state_tok, c->upstream_state);
    for (uint32_t k = json_first(d, c->params); !to_modern && k != JSON_NONE;
         k = json_next(d, c->params, k))
        if (json_str_eq(d, k, STR("inputResponses")) || json_str_eq(d, k, STR("requestState")))
            json_edit_remove(&es, d, c->params, k);
    if (approval_needed(c))
        approval_edit(c, to_modern, &es);
    json_edit_apply(&es, d, d->tok[c->params].off, d->tok[c->params].len, body);
out:
    json_edits_fini(&es);
    buf_fini(&members);
    buf_fini(&target);
    buf_fini(&wrapped);
}

/* The text of a mirrored argument; false when there is none to mirror. */
static bool param_text(const struct call *c, const struct header_param *p, struct str *out)
{
    uint32_t tok = json_get(c->doc, c->params, STR("arguments"));
    for (char **name = p->path; *name; name++)
        tok = json_get(c->doc, tok, str_of(*name));
    if (tok == JSON_NONE || json_is(c->doc, tok, JSON_NULL) || json_is(c->doc, tok, JSON_OBJECT) ||
        json_is(c->doc, tok, JSON_ARRAY))
        return false;
    *out = json_is(c->doc, tok, JSON_STRING)
               ? json_str(c->doc, tok, (struct arena *)(uintptr_t)&c->arena)
               : json_raw(c->doc, tok);
    return true;
}

static void add_encoded(struct buf *fields, struct str name, struct str value)
{
    char stack[512];
    struct buf enc = {.p = stack, .cap = sizeof stack};
    if (value.n > sizeof stack / 2)
        enc = (struct buf){0};
    era_header_encode(&enc, value);
    (void)!http1_add_field(fields, name, buf_str(&enc));
    if (enc.p != stack)
        buf_fini(&enc);
}

static void modern_fields(const struct call *c, struct buf *fields)
{
    buf_adds(fields, "MCP-Protocol-Version: ");
    buf_adds(fields, era_modern());
    buf_add_str(fields, STR("\r\nMcp-Method: "));
    buf_add_str(fields, c->method->name);
    buf_add_str(fields, STR("\r\n"));
    if (c->method->route == ROUTE_TOOL || c->method->route == ROUTE_PROMPT ||
        c->method->route == ROUTE_URI)
        add_encoded(fields, STR("Mcp-Name"), c->target);
    for (size_t i = 0; c->entry && i < c->entry->param_count; i++) {
        struct str value;
        if (param_text(c, &c->entry->params[i], &value))
            add_encoded(fields, str_of(c->entry->params[i].header), value);
    }
    buf_add_str(fields, c->param_fields);
}

void era_upstream_call(const struct call *c, const struct usession *us, uint64_t id,
                       struct buf *fields, struct buf *body)
{
    bool modern = !us || us->info.era == UP_MODERN;
    if (!us || !us->pipe) {
        if (modern)
            modern_fields(c, fields);
        else
            usession_fields(us, fields);
    }
    buf_add_str(body, STR("{\"jsonrpc\":\"2.0\",\"id\":"));
    buf_add_u64(body, id);
    buf_add_str(body, STR(",\"method\":\""));
    buf_add_str(body, c->method->name);
    buf_add_str(body, STR("\",\"params\":"));
    add_params(c, modern, us && us->worker, id, body);
    buf_addc(body, '}');
}

/* What the gateway can carry itself: lists are fetched as the most able client would see them. */
#define OWN_CAPS "{\"sampling\":{},\"elicitation\":{\"form\":{},\"url\":{}},\"roots\":{}}"
#define OWN_INFO "{\"name\":\"headgate\",\"version\":\"0.1.0\"}"

void era_upstream_own(enum up_era era, uint64_t id, struct str method, struct str params,
                      struct buf *fields, struct buf *body)
{
    struct buf full = {0};
    if (era == UP_MODERN) {
        buf_addf(fields, "MCP-Protocol-Version: %s\r\nMcp-Method: %.*s\r\n", era_modern(),
                 STR_FMT(method));
        buf_addf(&full,
                 "{\"_meta\":{\"" META_VERSION "\":\"%s\",\"" META_CLIENT "\":" OWN_INFO
                 ",\"" META_CAPS "\":" OWN_CAPS "}",
                 era_modern());
        if (params.n > 2) {
            buf_addc(&full, ',');
            buf_add(&full, params.p + 1, params.n - 1); /* without its opening brace */
        } else {
            buf_addc(&full, '}');
        }
        params = buf_str(&full);
    }
    rpc_request(body, id, method, params);
    buf_fini(&full);
}

/* The client's capabilities without what is not carried (tasks). */
static void add_client_caps(struct str caps, struct buf *out)
{
    struct json_doc d = {0};
    struct json_edits es = {0};
    struct err e;
    if (json_parse(&d, caps.p, caps.n, &e) && json_is(&d, 0, JSON_OBJECT)) {
        for (uint32_t k = json_first(&d, 0); k != JSON_NONE; k = json_next(&d, 0, k))
            if (json_str_eq(&d, k, STR("tasks")))
                json_edit_remove(&es, &d, 0, k);
        json_edit_apply(&es, &d, 0, (uint32_t)caps.n, out);
    } else {
        buf_adds(out, "{}");
    }
    json_edits_fini(&es);
    json_fini(&d);
}

void era_upstream_initialize(const struct usession *us, struct buf *params)
{
    /* Lists of servers that serve each client by itself are fetched as the most able client would
     * see them. */
    const struct mount_config *m = us->up->cfg;
    const struct shard *watcher = us->up->home ? us->up->home : &us->up->shard->gw->control;
    bool watch = us->up->shard == watcher && (m->session == SESSION_PER_CLIENT ||
                                              (m->session == SESSION_AUTO && mount_is_http(m)));
    buf_addf(params, "{\"protocolVersion\":\"%s\",\"capabilities\":",
             us->owner ? session_version(us->owner) : era_latest_legacy());
    if (us->owner)
        add_client_caps(session_caps(us->owner), params);
    else if (us->pooled || m->superset_caps)
        convert_write_caps(us->pooled ? us->caps : CAP_ALL, params);
    else
        buf_adds(params, watch ? OWN_CAPS : "{}");
    if (us->worker) { /* and what nobody but the gateway has */
        params->n--;
        buf_adds(params, ",\"experimental\":{\"" META_STATE "\":{}}}");
    }
    buf_adds(params, ",\"clientInfo\":");
    buf_add_str(params, us->owner ? session_client_info(us->owner) : STR(OWN_INFO));
    buf_addc(params, '}');
}

/* ---- reading ---- */

static char *dup_raw(const struct json_doc *d, uint32_t tok)
{
    struct str s = json_raw(d, tok);
    return xmemdup0(s.p, s.n);
}

static void read_common(const struct json_doc *d, uint32_t result, struct server_info *info)
{
    uint32_t caps = json_get(d, result, STR("capabilities"));
    uint32_t text = json_get(d, result, STR("instructions"));
    info->capabilities = json_is(d, caps, JSON_OBJECT) ? dup_raw(d, caps) : xstrdup("{}");
    info->instructions = json_is(d, text, JSON_STRING) ? dup_raw(d, text) : NULL;
}

bool era_upstream_read_initialize(const struct json_doc *d, uint32_t result,
                                  struct server_info *info, struct err *e)
{
    struct arena a = {0};
    struct str version = json_str(d, json_get(d, result, STR("protocolVersion")), &a);
    bool ok = json_is(d, result, JSON_OBJECT) && era_legacy(version);
    if (ok) {
        info->era = UP_LEGACY;
        (void)snprintf(info->version, sizeof info->version, "%.*s", STR_FMT(version));
        read_common(d, result, info);
        uint32_t name = json_path(d, result, (const char *[]){"serverInfo", "name", NULL});
        info->name = json_is(d, name, JSON_STRING) ? dup_raw(d, name) : NULL;
    } else {
        (void)err_set(e, ERR_BAD_UPSTREAM,
                      "the server negotiated an unknown protocol version \"%.*s\"",
                      (int)(version.n < 40 ? version.n : 40), version.p ? version.p : "");
    }
    arena_fini(&a);
    return ok;
}

bool era_upstream_read_discover(const struct json_doc *d, uint32_t result, struct server_info *info,
                                struct err *e)
{
    if (!json_is(d, json_get(d, result, STR("supportedVersions")), JSON_ARRAY) ||
        !json_is(d, json_get(d, result, STR("capabilities")), JSON_OBJECT))
        return err_set(e, ERR_BAD_UPSTREAM, "the answer to server/discover is no DiscoverResult");
    info->era = UP_MODERN;
    (void)snprintf(info->version, sizeof info->version, "%s", era_modern());
    read_common(d, result, info);
    uint32_t meta = json_get(d, result, STR("_meta"));
    uint32_t name = json_get(d, json_get(d, meta, STR(META_SERVER)), STR("name"));
    info->name = json_is(d, name, JSON_STRING) ? dup_raw(d, name) : NULL;
    return true;
}

static bool list_has_modern(const struct json_doc *d, uint32_t list)
{
    if (!json_is(d, list, JSON_ARRAY))
        return false;
    for (uint32_t k = json_first(d, list); k != JSON_NONE; k = json_next(d, list, k))
        if (json_str_eq(d, k, str_of(era_modern())))
            return true;
    return false;
}

enum up_era era_upstream_judge(const struct rpc_msg *m)
{
    int64_t code = 0;
    if (m->result != JSON_NONE) {
        return list_has_modern(m->doc, json_get(m->doc, m->result, STR("supportedVersions")))
                   ? UP_MODERN
                   : UP_LEGACY;
    }
    (void)json_int(m->doc, json_get(m->doc, m->error, STR("code")), &code);
    uint32_t data = json_get(m->doc, m->error, STR("data"));
    if (code == RPC_UNSUPPORTED_VERSION &&
        list_has_modern(m->doc, json_get(m->doc, data, STR("supported"))))
        return UP_MODERN;
    return UP_LEGACY;
}
