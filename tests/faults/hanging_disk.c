/* A disk that hangs, for the process that this is preloaded into (LD_PRELOAD).

While the file named by FAULT_FLAG exists, whoever reads, writes, cuts or syncs a file whose name begins with FAULT_NAME
waits, as in the kernel when a disk or its network does not answer: neither an error nor a time-out comes. What is
mapped into memory goes on: SQLite's `-shm` is no file that a crash has to find. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static int hangs(int fd) {
    char link[64], path[PATH_MAX];
    const char *flag = getenv("FAULT_FLAG"), *wanted = getenv("FAULT_NAME");
    if (flag == NULL || wanted == NULL || access(flag, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    return name != NULL && strncmp(name + 1, wanted, strlen(wanted)) == 0;
}

static void wait_for(int fd) {
    const struct timespec pause = {0, 10 * 1000 * 1000};
    while (hangs(fd)) nanosleep(&pause, NULL);
}

ssize_t read(int fd, void *data, size_t size) {
    wait_for(fd);
    return REAL("read", ssize_t (*)(int, void *, size_t))(fd, data, size);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    wait_for(fd);
    return REAL("pread64", ssize_t (*)(int, void *, size_t, off64_t))(fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    wait_for(fd);
    return REAL("pread", ssize_t (*)(int, void *, size_t, off_t))(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size) {
    wait_for(fd);
    return REAL("write", ssize_t (*)(int, const void *, size_t))(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    wait_for(fd);
    return REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    wait_for(fd);
    return REAL("pwrite", ssize_t (*)(int, const void *, size_t, off_t))(fd, data, size, offset);
}

int ftruncate64(int fd, off64_t size) {
    wait_for(fd);
    return REAL("ftruncate64", int (*)(int, off64_t))(fd, size);
}

int ftruncate(int fd, off_t size) {
    wait_for(fd);
    return REAL("ftruncate", int (*)(int, off_t))(fd, size);
}

int fsync(int fd) {
    wait_for(fd);
    return REAL("fsync", int (*)(int))(fd);
}

int fdatasync(int fd) {
    wait_for(fd);
    return REAL("fdatasync", int (*)(int))(fd);
}
