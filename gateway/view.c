/* See view.h. Rendered pages are slices of the view's own text, which is copied from the catalog's
 * when a list is first asked for. */
#include "gateway/view.h"

#include "base/crypto.h"

#include <stdlib.h>
#include <sys/queue.h>

enum { MAX_BYTES = 32 * 1024 * 1024 };

/* A decision without what follows from the policy. */
struct verdict {
    uint8_t effect, reason;
    bool hidden, depends;
    uint16_t rule, next; /* rule: index into the policy; UINT16_MAX: none */
};

struct view_list {
    struct verdict *verdicts; /* one an entry of the catalog */
    uint32_t *shown;          /* entries, in order */
    uint32_t n;
    struct buf text[2]; /* modern, legacy; rendered at first use */
    uint32_t *off[2];   /* n + 1 */
    uint64_t digest;    /* of what is shown */
};

struct view {
    uint8_t class_id[16];
    struct catalog *catalog; /* counted */
    struct view_list list[KINDS];
    struct buf instructions;
    size_t bytes;
    TAILQ_ENTRY(view) link; /* used last comes first */
};

struct views {
    struct shard *shard;
    struct map by_class;
    TAILQ_HEAD(view_list_head, view) used;
    size_t bytes;
};

static struct str class_of(const uint8_t id[16])
{
    return (struct str){(const char *)id, 16};
}

/* ---- life ---- */

static void view_free(struct view *v)
{
    for (int k = 0; k < KINDS; k++) {
        struct view_list *l = &v->list[k];
        free(l->verdicts);
        free(l->shown);
        for (int i = 0; i < 2; i++) {
            buf_fini(&l->text[i]);
            free(l->off[i]);
        }
    }
    buf_fini(&v->instructions);
    catalog_unref(&v->catalog);
    free(v);
}

static void drop(struct views *vs, struct view *v)
{
    (void)map_del(&vs->by_class, class_of(v->class_id));
    TAILQ_REMOVE(&vs->used, v, link);
    vs->bytes -= v->bytes;
    view_free(v);
}

struct views *views_new(struct shard *s)
{
    struct views *vs = xcalloc(1, sizeof *vs);
    vs->shard = s;
    TAILQ_INIT(&vs->used);
    return vs;
}

void views_free(struct views **vp)
{
    struct views *vs = *vp;
    if (!vs)
        return;
    while (!TAILQ_EMPTY(&vs->used))
        drop(vs, TAILQ_FIRST(&vs->used));
    map_fini(&vs->by_class);
    free(vs);
    *vp = NULL;
}

void views_reset(struct views *vs)
{
    while (!TAILQ_EMPTY(&vs->used))
        drop(vs, TAILQ_FIRST(&vs->used));
}

/* ---- judging ---- */

static enum policy_kind kind_of(enum catalog_kind kind)
{
    switch (kind) {
    case KIND_TOOLS: return POLICY_TOOL;
    case KIND_PROMPTS: return POLICY_PROMPT;
    case KIND_RESOURCES:
    case KIND_TEMPLATES:
    case KINDS: break;
    }
    return POLICY_RESOURCE;
}

struct policy_item view_item(const struct catalog *c, enum catalog_kind kind,
                             const struct catalog_entry *entry, int mount, struct str name)
{
    const struct mount_config *m = &c->config->mounts[mount];
    return (struct policy_item){
        .kind = kind_of(kind),
        .name = name,
        .mount = m->name,
        .tags = entry ? entry->traits.tags : NULL,
        .more_tags = m->tags,
        .notes = entry ? entry->traits.notes : (struct policy_notes){0},
    };
}

const struct policy_subject *view_standing(const struct policy *p, const struct principal *who,
                                           struct policy_subject **made)
{
    *made = NULL;
    if (who->standing && who->standing->generation == p->generation)
        return who->standing;
    *made = policy_subject_new(p, who);
    return *made;
}

/* Who has no credential cannot get a scope: what asks for one does not exist for it. */
static bool out_of_reach(const struct policy_subject *s, const struct catalog_entry *e)
{
    return s->anonymous && e->traits.scopes;
}

static void judge_list(struct view *v, const struct policy *p, const struct policy_subject *s,
                       enum catalog_kind kind, bool *mounts)
{
    const struct catalog_list *from = &v->catalog->list[kind];
    struct view_list *l = &v->list[kind];
    struct str parts[2] = {{(const char *)&l->digest, sizeof l->digest}, {0}};
    uint8_t digest[32];
    l->verdicts = xcalloc(from->n + 1, sizeof *l->verdicts);
    l->shown = xcalloc(from->n + 1, sizeof *l->shown);
    for (uint32_t i = 0; i < from->n; i++) {
        const struct catalog_entry *e = &from->entries[i];
        struct policy_item item = view_item(v->catalog, kind, e, e->mount, e->public_name);
        struct policy_decision d = policy_decide(p, s, &item, NULL, JSON_NONE, 0);
        bool hidden = d.hidden || out_of_reach(s, e);
        l->verdicts[i] = (struct verdict){(uint8_t)d.effect,
                                          (uint8_t)d.reason,
                                          hidden,
                                          d.depends,
                                          d.rule ? (uint16_t)(d.rule - p->rules) : UINT16_MAX,
                                          (uint16_t)d.next_rule};
        if (hidden)
            continue;
        l->shown[l->n++] = i;
        mounts[e->mount] = true;
        parts[1] = catalog_page(v->catalog, kind, false, i, 1);
        crypto_sha256(parts, 2, digest);
        memcpy(&l->digest, digest, sizeof l->digest);
    }
    v->bytes += (from->n + 1) * (sizeof *l->verdicts + sizeof *l->shown);
}

static struct view *view_new(struct shard *s, const struct policy *p,
                             const struct policy_subject *subject)
{
    struct view *v = xcalloc(1, sizeof *v);
    v->catalog = catalog_ref(s->catalog);
    memcpy(v->class_id, subject->class_id, sizeof v->class_id);
    bool *mounts = xcalloc(v->catalog->mount_count + 1, sizeof *mounts);
    for (int k = 0; k < KINDS; k++)
        judge_list(v, p, subject, (enum catalog_kind)k, mounts);
    catalog_instructions(v->catalog, mounts, &v->instructions);
    free(mounts);
    v->bytes += sizeof *v + v->instructions.cap;
    return v;
}

static void make_room(struct views *vs, const struct view *keep)
{
    while (vs->bytes > MAX_BYTES && TAILQ_LAST(&vs->used, view_list_head) != keep)
        drop(vs, TAILQ_LAST(&vs->used, view_list_head));
}

struct view *view_of(struct shard *s, const struct principal *who)
{
    const struct policy *p = &s->config->policy;
    struct views *vs = s->views;
    struct policy_subject *made;
    if (!p->active && !(who->anonymous && s->catalog->scoped))
        return NULL;
    const struct policy_subject *subject = view_standing(p, who, &made);
    struct view *v = map_get(&vs->by_class, class_of(subject->class_id));
    if (v) {
        TAILQ_REMOVE(&vs->used, v, link);
    } else {
        v = view_new(s, p, subject);
        (void)map_set(&vs->by_class, class_of(v->class_id), v);
        vs->bytes += v->bytes;
    }
    TAILQ_INSERT_HEAD(&vs->used, v, link);
    make_room(vs, v);
    free(made);
    return v;
}

struct policy_decision view_decision(const struct shard *s, const struct view *v,
                                     enum catalog_kind kind, uint32_t entry)
{
    const struct verdict *d = &v->list[kind].verdicts[entry];
    return (struct policy_decision){
        .effect = (enum policy_effect)d->effect,
        .reason = (enum policy_reason)d->reason,
        .rule = d->rule == UINT16_MAX ? NULL : &s->config->policy.rules[d->rule],
        .hidden = d->hidden,
        .depends = d->depends,
        .next_rule = d->next,
    };
}

/* ---- lists ---- */

uint32_t view_count(const struct view *v, enum catalog_kind kind)
{
    return v->list[kind].n;
}

uint32_t view_entry(const struct view *v, enum catalog_kind kind, uint32_t place)
{
    return v->list[kind].shown[place];
}

uint32_t view_place_after(const struct view *v, enum catalog_kind kind, uint32_t entry)
{
    const struct view_list *l = &v->list[kind];
    uint32_t low = 0, high = l->n;
    while (entry != UINT32_MAX && low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (l->shown[mid] <= entry)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void render(struct view *v, enum catalog_kind kind, bool legacy)
{
    struct view_list *l = &v->list[kind];
    struct buf *text = &l->text[legacy];
    l->off[legacy] = xcalloc((size_t)l->n + 1, sizeof *l->off[legacy]);
    for (uint32_t i = 0; i < l->n; i++) {
        if (i)
            buf_addc(text, ',');
        l->off[legacy][i] = (uint32_t)text->n;
        buf_add_str(text, catalog_page(v->catalog, kind, legacy, l->shown[i], 1));
    }
    l->off[legacy][l->n] = (uint32_t)(text->n + (l->n > 0));
    v->bytes += text->cap;
}

struct str view_page(struct view *v, enum catalog_kind kind, bool legacy, uint32_t at, uint32_t n)
{
    struct view_list *l = &v->list[kind];
    if (!l->off[legacy])
        render(v, kind, legacy);
    const uint32_t *off = l->off[legacy];
    if (at >= l->n || n == 0)
        return (struct str){0};
    if (n > l->n - at)
        n = l->n - at;
    return (struct str){l->text[legacy].p + off[at], off[at + n] - 1 - off[at]};
}

struct str view_instructions(const struct view *v)
{
    return buf_str(&v->instructions);
}

void view_note(struct shard *s, const struct principal *who, struct view_seen *seen)
{
    const struct view *v = s->catalog && s->views ? view_of(s, who) : NULL;
    seen->known = v != NULL;
    for (int k = 0; v && k < KINDS; k++)
        seen->digest[k] = v->list[k].digest;
}

unsigned view_changes(struct shard *s, const struct principal *who, unsigned kinds,
                      struct view_seen *seen)
{
    struct view_seen before = *seen;
    view_note(s, who, seen);
    if (!before.known || !seen->known)
        return kinds;
    /* Templates have no notification of their own: they count as resources. */
    bool templates = before.digest[KIND_TEMPLATES] != seen->digest[KIND_TEMPLATES];
    for (int k = 0; k < KINDS; k++)
        if (before.digest[k] == seen->digest[k] && !(templates && k == KIND_RESOURCES))
            kinds &= ~(1U << k);
    return kinds;
}
