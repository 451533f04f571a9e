/* Counts the syncs of SQLite's log, and makes them fail on demand: $DISK/synced has a byte for each, and while $DISK/fail
   exists every sync of a log fails as on a broken disk. With $DISK_OF those of the files whose paths end so, instead.
   The one with the number $DISK_KILL_AT kills the process.
   While $DISK/full exists no file grows by a write at an offset, as on a disk without room. PostgreSQL writes its tables so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_meant(int fd) {
    const char *end = getenv("DISK_OF");
    if (!end) end = "-wal";
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < (ssize_t)strlen(end)) return 0;
    path[length] = 0;
    return strcmp(path + length - strlen(end), end) == 0;
}

static int sync_by(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *disk = getenv("DISK");
    if (disk && is_meant(fd)) {
        char path[4096];
        snprintf(path, sizeof path, "%s/fail", disk);
        if (access(path, F_OK) == 0) {
            errno = EIO;
            return -1;
        }
        static int number;
        const char *last = getenv("DISK_KILL_AT");
        if (last && ++number == atoi(last)) raise(SIGKILL);
        snprintf(path, sizeof path, "%s/synced", disk);
        FILE *synced = fopen(path, "a");
        if (synced) {
            fputc('x', synced);
            fclose(synced);
        }
    }
    return real(fd);
}

int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }

static int has_room(int fd, off_t end) {
    const char *disk = getenv("DISK");
    char path[4096];
    struct stat file;
    if (!disk) return 1;
    snprintf(path, sizeof path, "%s/full", disk);
    if (access(path, F_OK) != 0 || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return 1;
    return end <= file.st_size;
}

#define WRITE_AT(name)                                                                           \
    ssize_t name(int fd, const void *from, size_t length, off_t at) {                            \
        ssize_t (*real)(int, const void *, size_t, off_t) =                                      \
            (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, #name);              \
        if (has_room(fd, at + (off_t)length)) return real(fd, from, length, at);                 \
        errno = ENOSPC;                                                                          \
        return -1;                                                                               \
    }
#define WRITE_PARTS_AT(name)                                                                     \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t at) {                       \
        ssize_t (*real)(int, const struct iovec *, int, off_t) =                                 \
            (ssize_t (*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, #name);         \
        off_t end = at;                                                                          \
        for (int part = 0; part < count; part++) end += (off_t)parts[part].iov_len;              \
        if (has_room(fd, end)) return real(fd, parts, count, at);                                \
        errno = ENOSPC;                                                                          \
        return -1;                                                                               \
    }
#define ALLOCATE(name)                                                                           \
    int name(int fd, off_t at, off_t length) {                                                   \
        int (*real)(int, off_t, off_t) = (int (*)(int, off_t, off_t))dlsym(RTLD_NEXT, #name);    \
        return has_room(fd, at + length) ? real(fd, at, length) : ENOSPC;                        \
    }

WRITE_AT(pwrite)
WRITE_AT(pwrite64)
WRITE_PARTS_AT(pwritev)
WRITE_PARTS_AT(pwritev64)
ALLOCATE(posix_fallocate)
ALLOCATE(posix_fallocate64)
