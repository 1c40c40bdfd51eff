/* The process headgate-python: started, heard, and started again when it ends. Control thread. */
#ifndef GATEWAY_LOCAL_HOST_H
#define GATEWAY_LOCAL_HOST_H

#include "gateway/gateway.h"

struct local_host;

/* It listens at its socket now; said once a start. */
typedef void (*local_host_fn)(struct local_host *h, void *arg);

/* Starts it with what c grants, its socket at path, and the packages of site (NULL: none). NULL:
 * there is no such program (e says where it was looked for). Returns owned (one reference). */
struct local_host *local_host_new(struct gateway *gw, const struct config *c, const char *path,
                                  const char *site, local_host_fn ready, void *arg,
                                  struct err *e) MUST_USE;
struct local_host *local_host_ref(struct local_host *h);
/* The last reference ends the process. Nulls *h. */
void local_host_unref(struct local_host **h);
/* No callback any more. */
void local_host_deafen(struct local_host *h);
bool local_host_is_ready(const struct local_host *h);
const char *local_host_socket(const struct local_host *h);
int local_host_pid(const struct local_host *h);
/* Folders outside of the files that its workers must read, NULL-terminated; borrowed. */
const char *const *local_host_folders(const struct local_host *h);
/* Connects to it. -1 with e. */
int local_host_connect(const char *socket, struct err *e) MUST_USE;

#endif
