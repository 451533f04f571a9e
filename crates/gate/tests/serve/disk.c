/* Counts the syncs of SQLite's log, and makes them fail on demand: $DISK/synced has a byte for each, and while $DISK/fail
   exists every sync of a log fails as on a broken disk. With $DISK_OF those of the files whose paths end so, instead.
   The one with the number $DISK_KILL_AT kills the process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
