/* Packages for tools: pip, in processes of its own, into a virtual environment, before anything is
 * loaded. The gateway itself never runs it. Control thread. */
#ifndef GATEWAY_LOCAL_PACKAGES_H
#define GATEWAY_LOCAL_PACKAGES_H

#include "gateway/gateway.h"

struct local_packages;

/* Once: site is the folder to import from (borrowed), or NULL and e says why there is none. */
typedef void (*local_packages_fn)(const char *site, const struct err *e, void *arg);

/* Installs what c asks for below dir, or finds that it is there already. fn is never called before
 * this returned. Returns owned. */
struct local_packages *local_packages_new(struct gateway *gw, const struct config *c,
                                          const char *dir, local_packages_fn fn, void *arg);
/* Ends what runs; no callback any more. Nulls *p. */
void local_packages_free(struct local_packages **p);

#endif
