/* The audit log: one JSON line an event in a file, each with the hash of the one before, so that a
 * line that was changed, taken out or put in shows. A thread of its own writes; who hands in an
 * event never waits. Lines that the thread could not keep up with are counted in the chain. */
#ifndef AUTH_AUDIT_H
#define AUTH_AUDIT_H

#include "base/err.h"
#include "base/str.h"

struct audit;

/* Opens (or goes on with) a file; created 0600. Returns owned, or NULL: the file cannot be opened,
 * or its last line is none of ours. */
struct audit *audit_open(const char *path, struct err *e) MUST_USE;
/* Writes what is still there, and ends the thread. */
void audit_close(struct audit **a);
/* Opens the path anew, for files that were moved away; the chain goes on. Any thread. */
void audit_reopen(struct audit *a);
/* Hands in an event: JSON members without braces (`"event":"call","tool":"x"`). Any thread; copies.
 */
void audit_write(struct audit *a, struct str members);

/* What a verification found. */
struct audit_report {
    uint64_t lines, lost;     /* lost: as the chain itself says */
    char first[65], last[65]; /* hash before the first line, hash of the last */
    uint64_t bad_line;        /* 0: none */
    const char *fault;        /* of bad_line */
};
/* Verifies lines as they come, any split of the bytes. Zero-initialise; no I/O; fuzzed. */
struct audit_verifier {
    struct audit_report report;
    struct buf line;
    uint64_t seq;
};
/* False once a line was bad; further bytes are then not looked at. */
bool audit_verify_feed(struct audit_verifier *v, struct str bytes);
/* The end of the file: a last line without its end is bad. Frees what it held. */
bool audit_verify_end(struct audit_verifier *v);

#endif
