/* Has each fsync and fdatasync of a process take SYNC_US longer: for LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_slowly(const char *name, int fd)
{
    int (*sync_of_the_system)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = sync_of_the_system(fd);
    const char *longer_us = getenv("SYNC_US");
    if (longer_us != NULL)
        usleep(strtoul(longer_us, NULL, 10));
    return result;
}

int fsync(int fd)
{
    return sync_slowly("fsync", fd);
}

int fdatasync(int fd)
{
    return sync_slowly("fdatasync", fd);
}
