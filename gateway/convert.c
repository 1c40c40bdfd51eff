/* See convert.h. */
#include "gateway/convert.h"

#include "gateway/upstream.h"

#define UI_EXTENSION "io.modelcontextprotocol/ui"

static uint32_t object(const struct json_doc *d, uint32_t parent, struct str name)
{
    uint32_t tok = json_is(d, parent, JSON_OBJECT) ? json_get(d, parent, name) : JSON_NONE;
    return json_is(d, tok, JSON_OBJECT) ? tok : JSON_NONE;
}

unsigned convert_caps(const struct json_doc *d, uint32_t caps)
{
    unsigned out = 0;
    uint32_t sampling = object(d, caps, STR("sampling"));
    uint32_t elicitation = object(d, caps, STR("elicitation"));
    if (sampling != JSON_NONE) {
        out |= CAP_SAMPLING;
        out |= object(d, sampling, STR("tools")) != JSON_NONE ? CAP_SAMPLING_TOOLS : 0;
        out |= object(d, sampling, STR("context")) != JSON_NONE ? CAP_SAMPLING_CONTEXT : 0;
    }
    if (elicitation != JSON_NONE) {
        bool url = object(d, elicitation, STR("url")) != JSON_NONE;
        out |= url ? CAP_URL : 0;
        /* {} means form (MCP 2025-11-25 client/elicitation) */
        out |= !url || object(d, elicitation, STR("form")) != JSON_NONE ? CAP_FORM : 0;
    }
    out |= object(d, caps, STR("roots")) != JSON_NONE ? CAP_ROOTS : 0;
    if (object(d, object(d, caps, STR("extensions")), STR(UI_EXTENSION)) != JSON_NONE)
        out |= CAP_UI;
    return out;
}

void convert_write_caps(unsigned caps, struct buf *out)
{
    const char *before = "{";
    if (caps & CAP_SAMPLING) {
        buf_adds(out, "{\"sampling\":{");
        buf_adds(out, caps & CAP_SAMPLING_TOOLS ? "\"tools\":{}" : "");
        if (caps & CAP_SAMPLING_CONTEXT)
            buf_adds(out, caps & CAP_SAMPLING_TOOLS ? ",\"context\":{}" : "\"context\":{}");
        buf_addc(out, '}');
        before = ",";
    }
    if (caps & (CAP_FORM | CAP_URL)) {
        buf_addf(out, "%s\"elicitation\":{%s%s%s}", before, caps & CAP_FORM ? "\"form\":{}" : "",
                 (caps & CAP_FORM) && (caps & CAP_URL) ? "," : "",
                 caps & CAP_URL ? "\"url\":{}" : "");
        before = ",";
    }
    if (caps & CAP_ROOTS) {
        buf_addf(out, "%s\"roots\":{}", before);
        before = ",";
    }
    if (caps & CAP_UI) {
        buf_addf(out,
                 "%s\"extensions\":{\"" UI_EXTENSION
                 "\":{\"mimeTypes\":[\"text/html;profile=mcp-app\"]}}",
                 before);
        before = ",";
    }
    buf_adds(out, *before == '{' ? "{}" : "}");
}

static const struct str questions[] = {
    {"sampling/createMessage", 22}, {"elicitation/create", 18}, {"roots/list", 10}};

struct str convert_method(const struct json_doc *d, uint32_t method)
{
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (json_str_eq(d, method, questions[i]))
            return questions[i];
    return (struct str){0};
}

unsigned convert_missing(const struct json_doc *d, uint32_t method, uint32_t params, unsigned caps,
                         bool *known)
{
    unsigned needs = 0;
    *known = true;
    if (json_str_eq(d, method, STR("sampling/createMessage"))) {
        needs = CAP_SAMPLING;
        if (json_is(d, params, JSON_OBJECT) && json_get(d, params, STR("tools")) != JSON_NONE)
            needs |= CAP_SAMPLING_TOOLS;
    } else if (json_str_eq(d, method, STR("elicitation/create"))) {
        uint32_t mode =
            json_is(d, params, JSON_OBJECT) ? json_get(d, params, STR("mode")) : JSON_NONE;
        needs = mode != JSON_NONE && json_str_eq(d, mode, STR("url")) ? CAP_URL : CAP_FORM;
    } else if (json_str_eq(d, method, STR("roots/list"))) {
        needs = CAP_ROOTS;
    } else {
        *known = false;
    }
    unsigned missing = needs & ~caps;
    return missing & -missing; /* the lowest */
}

void convert_write_required(enum client_cap cap, struct buf *out)
{
    switch (cap) {
    case CAP_SAMPLING_TOOLS: buf_adds(out, "{\"sampling\":{\"tools\":{}}}"); break;
    case CAP_SAMPLING_CONTEXT: buf_adds(out, "{\"sampling\":{\"context\":{}}}"); break;
    case CAP_FORM: buf_adds(out, "{\"elicitation\":{\"form\":{}}}"); break;
    case CAP_URL: buf_adds(out, "{\"elicitation\":{\"url\":{}}}"); break;
    case CAP_ROOTS: buf_adds(out, "{\"roots\":{}}"); break;
    case CAP_UI: buf_adds(out, "{\"extensions\":{\"" UI_EXTENSION "\":{}}}"); break;
    case CAP_SAMPLING:
    case CAP_ALL: buf_adds(out, "{\"sampling\":{}}"); break;
    }
}

static bool is_action(const struct json_doc *d, uint32_t tok)
{
    return json_is(d, tok, JSON_STRING) &&
           (json_str_eq(d, tok, STR("accept")) || json_str_eq(d, tok, STR("decline")) ||
            json_str_eq(d, tok, STR("cancel")));
}

bool convert_is_answer(struct str method, const struct json_doc *d, uint32_t result)
{
    if (!json_is(d, result, JSON_OBJECT))
        return false;
    if (str_eq(method, STR("elicitation/create")))
        return is_action(d, json_get(d, result, STR("action")));
    if (str_eq(method, STR("roots/list")))
        return json_is(d, json_get(d, result, STR("roots")), JSON_ARRAY);
    return json_get(d, result, STR("content")) != JSON_NONE &&
           json_is(d, json_get(d, result, STR("role")), JSON_STRING);
}
