/* Preloaded into a daemon whose clock a test sets back.
 *
 * The file named by SHIFTED_CLOCK holds seconds to be added to the time of
 * day.  The monotonic clock, which nobody can set, stays as it is.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t
shift (void)
{
  const char *path = getenv ("SHIFTED_CLOCK");
  char digits[32] = "";
  int file = path ? open (path, O_RDONLY | O_CLOEXEC) : -1;

  if (file < 0)
    return 0;
  if (read (file, digits, sizeof (digits) - 1) < 0)
    digits[0] = '\0';
  close (file);
  return atol (digits);
}

int
clock_gettime (clockid_t clock, struct timespec *now)
{
  int (*real) (clockid_t, struct timespec *);
  int result;

  *(void **)&real = dlsym (RTLD_NEXT, "clock_gettime");
  result = real (clock, now);
  if (result == 0 && clock == CLOCK_REALTIME)
    now->tv_sec += shift ();
  return result;
}

int
gettimeofday (struct timeval *restrict now, void *restrict zone)
{
  struct timespec exact;

  (void)zone;
  if (clock_gettime (CLOCK_REALTIME, &exact) != 0)
    return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t
time (time_t *result)
{
  struct timespec now;

  if (clock_gettime (CLOCK_REALTIME, &now) != 0)
    return -1;
  if (result)
    *result = now.tv_sec;
  return now.tv_sec;
}
