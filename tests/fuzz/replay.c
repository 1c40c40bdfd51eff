/*
 * Runs a fuzz target once over each file of the folders given, where libFuzzer is not linked: what
 * once broke a parser is in its corpus, and every build tries it again.
 *
 * Each input lies in a buffer of exactly its size, so that AddressSanitizer sees one byte too
 * far. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds one file; false when it cannot be read. */
static bool replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    if (!S_ISREG(st.st_mode))
        return true;
    size_t size = (size_t)st.st_size;
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    bool ok = f && data && fread(data, 1, size, f) == size;
    if (ok)
        (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    if (f)
        (void)fclose(f);
    return ok;
}

/* Feeds every file of a folder; -1 when one cannot be read, else how many there were. */
static int replay_dir(const char *dir)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, NULL, alphasort);
    int done = n < 0 ? -1 : 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        if (done >= 0 && entries[i]->d_name[0] != '.')
            done = replay(path) ? done + 1 : -1;
        free(entries[i]);
    }
    free(entries);
    return done;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int done = replay_dir(argv[i]);
        if (done <= 0) {
            (void)fprintf(stderr, "%s: no inputs, or one that cannot be read\n", argv[i]);
            return 1;
        }
        printf("%s: %d inputs\n", argv[i], done);
    }
    return argc > 1 ? 0 : 1;
}
