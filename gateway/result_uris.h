/* URIs in results: what a server names is shown under the URI by which clients can ask for it. */
#ifndef GATEWAY_RESULT_URIS_H
#define GATEWAY_RESULT_URIS_H

#include "gateway/call.h"

/* Adds the edits that result tok of call c needs: contents of a read that was asked under another
 * URI, and, for mounts whose URIs are prefixed, links and embedded resources of tools and prompts.
 * New text is made in the arena. */
void result_edit_uris(const struct call *c, const struct json_doc *d, uint32_t tok,
                      struct json_edits *es, struct arena *a);

#endif
