/* The configuration of the local provider: Python tools of the gateway's own. Part of struct
 * config. */
#ifndef GATEWAY_CONFIG_LOCAL_H
#define GATEWAY_CONFIG_LOCAL_H

#include "base/options.h"

struct local_config {
    bool enabled;
    char **folders;  /* later ones win */
    char *workspace; /* below them; NULL: none */
    char *prefix;
    bool hot_reload;
    int strict, mask_errors; /* -1 while loading: not said */
    int workers, queue, timeout_ms, state_ttl_ms;
    int memory_mb, cpu_seconds, output_kb;
    size_t max_file_bytes, max_knowledge_bytes;
    char **extensions, **unblocked; /* NULL: the defaults, none */
    struct name_value *env;
    size_t envs;
    char **pass_env, **path, **preload;
    char *python; /* NULL: found */
    char **packages, **pip_args;
    char *requirements, *packages_dir; /* NULL: none */
    bool only_binary;
    int profile; /* enum sandbox_profile */
    bool sandbox_required;
    char **read, **write, **ports;
};

#endif
