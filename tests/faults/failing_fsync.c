/* A disk that fails at fsync, for the process that this is preloaded into (LD_PRELOAD).

While the file named by FAULT_FLAG exists, fsync and fdatasync of files whose path contains FAULT_PATH fail with EIO.
As the kernel does (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020), the error is told
once and the pages are taken for clean from then on: with FAULT_ONCE set, all further calls succeed. What was written
since the last good call is lost with FAULT_DROP set, as by eviction of those pages, and stays where it is otherwise.
The first failure is noted in the file named by FAULT_MARK, in seconds of the monotonic clock. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 4096 };

/* For each file descriptor the first byte written since its last good fsync, plus one. */
static int64_t dirty_from[FILES];
static int failures;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

enum { OTHER, FILE_OF_IT, LOG_OF_IT };

static int kind_of(int fd) {
    char link[64], path[PATH_MAX];
    const char *wanted = getenv("FAULT_PATH");
    if (wanted == NULL || fd < 0 || fd >= FILES) return OTHER;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return OTHER;
    path[length] = 0;
    if (strstr(path, wanted) == NULL) return OTHER;
    return strstr(path, "-wal") != NULL ? LOG_OF_IT : FILE_OF_IT;
}

static int fails(void) {
    const char *flag = getenv("FAULT_FLAG");
    if (flag == NULL || access(flag, F_OK) != 0) return 0;
    return failures == 0 || getenv("FAULT_ONCE") == NULL;
}

static void mark(void) {
    struct timespec now;
    const char *path = getenv("FAULT_MARK");
    int file = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || clock_gettime(CLOCK_MONOTONIC, &now) != 0) abort();
    dprintf(file, "%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    close(file);
}

static int sync_with(int (*real)(int), int fd) {
    int kind = kind_of(fd);
    if (kind == OTHER) return real(fd);
    pthread_mutex_lock(&lock);
    int64_t from = dirty_from[fd];
    int failing = fails();
    dirty_from[fd] = 0;
    if (failing && failures++ == 0) mark();
    int drops = failing && from > 0 && kind == LOG_OF_IT && getenv("FAULT_DROP") != NULL;
    if (drops && ftruncate(fd, from - 1) != 0) abort();
    pthread_mutex_unlock(&lock);
    if (!failing) return real(fd);
    errno = EIO;
    return -1;
}

static void wrote(int fd, int64_t offset) {
    if (kind_of(fd) != LOG_OF_IT) return;
    pthread_mutex_lock(&lock);
    if (dirty_from[fd] == 0 || offset + 1 < dirty_from[fd]) dirty_from[fd] = offset + 1;
    pthread_mutex_unlock(&lock);
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

int fsync(int fd) { return sync_with(REAL("fsync", int (*)(int)), fd); }

int fdatasync(int fd) { return sync_with(REAL("fdatasync", int (*)(int)), fd); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    wrote(fd, offset);
    return REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    wrote(fd, offset);
    return REAL("pwrite", ssize_t (*)(int, const void *, size_t, off_t))(fd, data, size, offset);
}
