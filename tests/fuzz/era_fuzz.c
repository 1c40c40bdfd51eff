/* Fuzzes the way of a POSTed message into the codec of its era: header lines, an empty line, the
 * body. Beyond not crashing: each message is answered once, or handed to the legacy codec; what is
 * taken for modern says so in header and body. */
#include "gateway/era.h"
#include "gateway/metrics_rows.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gateway gw;
static struct shard shard;
static struct config config;
static int answers;

static void on_reply(struct exchange *x, int status, struct str fields, struct str body)
{
    struct json_doc d = {0};
    (void)x;
    (void)fields;
    assert(status >= 200 && status < 600);
    if (status != 202)
        assert(json_parse(&d, body.p, body.n, NULL) && json_is(&d, 0, JSON_OBJECT));
    json_fini(&d);
    answers++;
}

static void on_stream_begin(struct exchange *x, struct str fields)
{
    (void)x;
    (void)fields;
}

static bool on_event(struct exchange *x, struct str id, struct str message)
{
    struct json_doc d = {0};
    (void)x;
    (void)id;
    assert(json_parse(&d, message.p, message.n, NULL));
    json_fini(&d);
    return true;
}

static void on_stream_end(struct exchange *x)
{
    (void)x;
    answers++;
}

static const struct exchange_ops ops = {.reply = on_reply,
                                        .stream_begin = on_stream_begin,
                                        .event = on_event,
                                        .stream_end = on_stream_end};

static void set_up(void)
{
    static const uint8_t key[1][32] = {{1}};
    static char name[] = "fuzz";
    if (gw.sealer)
        return;
    metrics_rows_init();
    gw.sealer = sealer_new(key, 1);
    config = (struct config){.server_name = name,
                             .server_version = name,
                             .page_size = 10,
                             .parked_ms = 1000,
                             .max_message_bytes = 1 << 20};
    shard = (struct shard){.gw = &gw, .config = &config, .loop = loop_new("fuzz")};
}

/* The request's head from the input's lines; false when they are none. */
static bool read_head(struct buf *text, const uint8_t *lines, size_t n, struct http1_head *head)
{
    struct err e;
    size_t used = 0;
    int status = 0;
    buf_adds(text, "POST /mcp HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 0; i < n; i++) {
        if (lines[i] == '\n')
            buf_adds(text, "\r\n");
        else
            buf_addc(text, (char)lines[i]);
    }
    buf_adds(text, "\r\n\r\n");
    return http1_parse_request(text->p, text->n, head, &used, &status, &e) == HTTP1_DONE;
}

static void take(struct exchange *x)
{
    struct err e;
    bool modern = false;
    struct request *r = xcalloc(1, sizeof *r);
    r->x = x;
    r->shard = &shard;
    r->call.target_tok = r->call.state_tok = JSON_NONE;
    r->call.log_level = LOG_LEVEL_NONE;
    r->call.principal = principal_anonymous();
    r->sse_ok = r->json_ok = true;
    if (!json_parse(&r->doc, x->body.p, x->body.n, &e) || !rpc_read(&r->doc, &r->msg, &e)) {
        r->x = NULL;
        request_free(r);
        return;
    }
    r->id = json_raw(&r->doc, r->msg.id);
    answers = 0;
    if (!era_classify(r, &modern)) {
        assert(answers == 1);
        return;
    }
    if (modern) {
        uint32_t meta = json_get(&r->doc, r->msg.params, STR("_meta"));
        assert(
            json_str_eq(&r->doc, json_get(&r->doc, meta, STR(META_VERSION)), str_of(era_modern())));
    }
    if (modern && !rpc_is(&r->msg, STR("subscriptions/listen"))) {
        r->modern = true;
        era_modern_request(r);
        assert(answers == 1);
        return;
    }
    r->x = NULL;
    request_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf head_text = {0};
    struct http1_head *head = calloc(1, sizeof *head);
    size_t split = 0;
    if (!head)
        abort();
    set_up();
    while (split + 1 < size && !(data[split] == '\n' && data[split + 1] == '\n'))
        split++;
    if (split + 1 < size && read_head(&head_text, data, split, head)) {
        struct exchange x = {.ops = &ops, .shard = &shard, .head = head};
        x.body = (struct str){(const char *)data + split + 2, size - split - 2};
        take(&x);
        arena_fini(&x.arena);
    }
    loop_flush(shard.loop);
    buf_fini(&head_text);
    free(head);
    return 0;
}
