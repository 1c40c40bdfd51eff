/* Views: what callers of one class see of the catalog, judged once and kept until catalog or policy
 * change. One cache a shard; a view that nobody asked for lately makes room. */
#ifndef GATEWAY_VIEW_H
#define GATEWAY_VIEW_H

#include "auth/policy.h"
#include "gateway/catalog.h"
#include "gateway/gateway.h"

struct views;
struct view;

/* What a caller was shown last, to tell it of changes that it can see and of no others. */
struct view_seen {
    bool known; /* false: nothing, or all that there was */
    uint64_t digest[KINDS];
};

struct views *views_new(struct shard *s);
void views_free(struct views **v);
/* Catalog or configuration changed: forgets the views. */
void views_reset(struct views *v);

/* The caller's view of the shard's catalog, borrowed until the end of the turn; NULL: it sees all.
 * The catalog is there. */
struct view *view_of(struct shard *s, const struct principal *who);
/* What was decided about an entry of the catalog. */
struct policy_decision view_decision(const struct shard *s, const struct view *v,
                                     enum catalog_kind kind, uint32_t entry);
/* How many entries of a kind it shows, and the place of the first one behind entry (UINT32_MAX: the
 * first of all). */
uint32_t view_count(const struct view *v, enum catalog_kind kind);
uint32_t view_place_after(const struct view *v, enum catalog_kind kind, uint32_t entry);
/* The entry at a place. */
uint32_t view_entry(const struct view *v, enum catalog_kind kind, uint32_t place);
/* A page: n entries from place at on, as one slice of rendered entries. */
struct str view_page(struct view *v, enum catalog_kind kind, bool legacy, uint32_t at, uint32_t n);
/* The instructions of the servers it shows anything of, as a JSON string; empty: none. */
struct str view_instructions(const struct view *v);
/* Notes what it is shown now. */
void view_note(struct shard *s, const struct principal *who, struct view_seen *seen);
/* Of kinds (bit 1 << kind), those whose list is another than *seen for this caller, which is noted;
 * all of them where that is not known. */
unsigned view_changes(struct shard *s, const struct principal *who, unsigned kinds,
                      struct view_seen *seen);

/* What the policy is told of an entry, or of a name that is not listed (entry NULL). */
struct policy_item view_item(const struct catalog *c, enum catalog_kind kind,
                             const struct catalog_entry *entry, int mount, struct str name);
/* The caller's standing under the policy in force: its own, or one made for now (free *made). */
const struct policy_subject *view_standing(const struct policy *p, const struct principal *who,
                                           struct policy_subject **made);

#endif
