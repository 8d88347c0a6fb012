/* A disk that forgets at a power cut what was not fsynced, for the process that this is preloaded into (LD_PRELOAD).

Before bytes of a database below FAULT_PATH are written or cut off, what they were goes to the end of a file of the same
name below FAULT_UNSYNCED; an fsync of the database empties that. So after a kill -9, at any moment, both together tell
what the disk would hold for certain: `power` undoes the rest. The idea is that of LazyFS, a file system that drops its
own cache (https://github.com/dsrhaslab/lazyfs; Jepsen uses it so), here without FUSE.

Each entry: offset, length of the bytes that follow, size of the file; of eight bytes each. The `-shm` beside a database
is left out: SQLite recreates it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

/* Find the file that undoes what is done to `fd`; return 0 where it is none of the databases. */
static int find_undo(int fd, char undo[PATH_MAX]) {
    char link[64], path[PATH_MAX];
    const char *below = getenv("FAULT_PATH"), *unsynced = getenv("FAULT_UNSYNCED");
    if (below == NULL || unsynced == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (strstr(path, below) != path || strstr(name, ".db") == NULL || strstr(name, "-shm") != NULL) return 0;
    return snprintf(undo, PATH_MAX, "%s%s", unsynced, name) < PATH_MAX;
}

static void must(int true) {
    if (!true) abort(); /* else a loss would go unseen */
}

/* Note what the bytes are that are about to change. */
static void keep(int fd, int64_t offset, int64_t length) {
    char undo[PATH_MAX];
    struct stat now;
    if (!find_undo(fd, undo)) return;
    must(fstat(fd, &now) == 0);
    int64_t left = now.st_size > offset ? now.st_size - offset : 0;
    int64_t head[3] = {offset, left < length ? left : length, now.st_size};
    size_t size = sizeof head + head[1];
    char *entry = malloc(size);
    must(entry != NULL);
    memcpy(entry, head, sizeof head);
    must(pread(fd, entry + sizeof head, head[1], offset) == head[1]);
    int to = open(undo, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    must(to >= 0 && write(to, entry, size) == (ssize_t)size);
    close(to);
    free(entry);
}

static int synced(int fd, int failed) {
    char undo[PATH_MAX];
    if (!failed && find_undo(fd, undo)) unlink(undo);
    return failed;
}

int fsync(int fd) { return synced(fd, REAL("fsync", int (*)(int))(fd)); }

int fdatasync(int fd) { return synced(fd, REAL("fdatasync", int (*)(int))(fd)); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    keep(fd, offset, size);
    return REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    keep(fd, offset, size);
    return REAL("pwrite", ssize_t (*)(int, const void *, size_t, off_t))(fd, data, size, offset);
}

int ftruncate64(int fd, off64_t size) {
    keep(fd, size, INT64_MAX);
    return REAL("ftruncate64", int (*)(int, off64_t))(fd, size);
}

int ftruncate(int fd, off_t size) {
    keep(fd, size, INT64_MAX);
    return REAL("ftruncate", int (*)(int, off_t))(fd, size);
}
