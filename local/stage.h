/* Makes one folder of what several workspaces hold: the files that count, as they are now, so that
 * workers that start later load the same. Blocks; knows files and nothing of the gateway. */
#ifndef LOCAL_STAGE_H
#define LOCAL_STAGE_H

#include "base/err.h"
#include "base/str.h"

enum { STAGE_MAX_FILES = 5000, STAGE_MAX_DEPTH = 8 };

/* What to take. Borrowed. */
struct stage_spec {
    char *const *folders;  /* of two files with one path the later folder's counts; missing ones
                              count  as empty */
    size_t max_file_bytes; /* 0: no limit */
    size_t max_knowledge_bytes; /* all of knowledge/; 0: no limit */
    char *const *extensions; /* of knowledge/, with or without their dots; NULL: the usual ones */
    char *const
        *unblocked; /* globs over "tools/x.py" that the list of secret-looking names spares */
};

struct stage_result {
    uint8_t hash[32]; /* of names and contents */
    unsigned files;
    struct buf skipped; /* one line a file that was passed over: "tools/x.py: why" */
};

/* Copies tools/, resources/, prompts/ (*.py) and knowledge/ of every folder into to, which is made.
 * Links are followed only where they stay below their folder; hidden names are not looked at. */
bool stage_build(const struct stage_spec *s, const char *to, struct stage_result *out,
                 struct err *e) MUST_USE;
void stage_result_fini(struct stage_result *r);
/* Copies one file of an earlier stage over the same in a later one. */
bool stage_restore(const char *from, const char *to, const char *file, struct err *e) MUST_USE;
/* Removes a stage. Best effort. */
void stage_remove(const char *dir);

#endif
