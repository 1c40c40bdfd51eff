/* See verdicts.h. Four-way sets; of a full set the entry that ends first makes room. */
#include "auth/verdicts.h"

#include <stdlib.h>

enum { WAYS = 4 };

struct verdict {
    uint8_t digest[32];
    struct principal *who; /* counted; NULL: free */
    int64_t until_ms;
};

struct verdicts {
    struct verdict *at;
    size_t sets;
};

struct verdicts *verdicts_new(size_t room)
{
    struct verdicts *v = xcalloc(1, sizeof *v);
    v->sets = 1;
    while (v->sets * WAYS < room)
        v->sets *= 2;
    v->at = xcalloc(v->sets * WAYS, sizeof *v->at);
    return v;
}

void verdicts_clear(struct verdicts *v)
{
    for (size_t i = 0; i < v->sets * WAYS; i++) {
        if (v->at[i].who)
            principal_unref(&v->at[i].who);
    }
}

void verdicts_free(struct verdicts **vp)
{
    if (!*vp)
        return;
    verdicts_clear(*vp);
    free((*vp)->at);
    free(*vp);
    *vp = NULL;
}

/* The digest is as good as random already. */
static struct verdict *set_of(const struct verdicts *v, const uint8_t digest[32])
{
    uint64_t h;
    memcpy(&h, digest, sizeof h);
    return &v->at[(h & (v->sets - 1)) * WAYS];
}

struct principal *verdicts_get(const struct verdicts *v, const uint8_t digest[32], int64_t now_ms)
{
    struct verdict *set = set_of(v, digest);
    for (int i = 0; i < WAYS; i++)
        if (set[i].who && memcmp(set[i].digest, digest, sizeof set[i].digest) == 0)
            return set[i].until_ms > now_ms ? set[i].who : NULL;
    return NULL;
}

void verdicts_put(struct verdicts *v, const uint8_t digest[32], struct principal *who,
                  int64_t now_ms)
{
    struct verdict *set = set_of(v, digest), *to = &set[0];
    for (int i = 0; i < WAYS; i++) {
        bool same = set[i].who && memcmp(set[i].digest, digest, sizeof set[i].digest) == 0;
        if (same || (to->who && (!set[i].who || set[i].until_ms < to->until_ms)))
            to = &set[i];
        if (same)
            break;
    }
    if (to->who)
        principal_unref(&to->who);
    memcpy(to->digest, digest, sizeof to->digest);
    to->who = principal_ref(who);
    to->until_ms = now_ms + VERDICT_TTL_MS;
    if (to->until_ms > who->expires_ms)
        to->until_ms = who->expires_ms;
}
