/* Preloaded into a QEMU or a File Daemon: storage that breaks under a dump.
 *
 * While the file named by BROKEN_STORAGE exists, writing to and reading from
 * files in a job's folder ("…/qemu-fd-…") fails with EIO, as on a bad disk.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static bool
is_broken (int file)
{
  const char *switch_path = getenv ("BROKEN_STORAGE");
  char link[64], target[4096];
  ssize_t length;

  if (!switch_path || access (switch_path, F_OK) != 0)
    return false;
  (void)snprintf (link, sizeof (link), "/proc/self/fd/%d", file);
  length = readlink (link, target, sizeof (target) - 1);
  if (length < 0)
    return false;
  target[length] = '\0';
  return strstr (target, "/qemu-fd-") != NULL;
}

/* A function of that name which asks first. */
#define BREAKABLE(name, arguments, ...)                       \
  ssize_t name arguments                                      \
  {                                                           \
    ssize_t (*real) arguments;                                \
    *(void **)&real = dlsym (RTLD_NEXT, #name);               \
    if (is_broken (file)) {                                   \
      errno = EIO;                                            \
      return -1;                                              \
    }                                                         \
    return real (__VA_ARGS__);                                \
  }

BREAKABLE (read, (int file, void *bytes, size_t count), file, bytes, count)
BREAKABLE (pread, (int file, void *bytes, size_t count, off_t at), file, bytes, count, at)
BREAKABLE (pread64, (int file, void *bytes, size_t count, off64_t at), file, bytes, count, at)
BREAKABLE (write, (int file, const void *bytes, size_t count), file, bytes, count)
BREAKABLE (pwrite64, (int file, const void *bytes, size_t count, off64_t at), file, bytes, count, at)
BREAKABLE (pwritev64, (int file, const struct iovec *parts, int count, off64_t at), file, parts,
           count, at)
BREAKABLE (pwritev, (int file, const struct iovec *parts, int count, off_t at), file, parts,
           count, at)
BREAKABLE (pwrite, (int file, const void *bytes, size_t count, off_t at), file, bytes, count, at)
