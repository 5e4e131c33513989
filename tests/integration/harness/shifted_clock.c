/* Preloaded into a daemon whose clocks a test shifts.
 *
 * The file named by SHIFTED_CLOCK holds two numbers of seconds: one to be added to
 * the time of day, which anybody may set, and one to be added to the monotonic clock,
 * which leaps forward only, so that a limit of an hour is reached at once.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t
shift (clockid_t clock)
{
  const char *path = getenv ("SHIFTED_CLOCK");
  char digits[64] = "";
  char *rest;
  int file = path ? (int)syscall (SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
  time_t of_day;

  if (file < 0)
    return 0;
  if (syscall (SYS_read, file, digits, sizeof (digits) - 1) < 0)
    digits[0] = '\0';
  (void)syscall (SYS_close, file);
  of_day = strtol (digits, &rest, 10);
  return clock == CLOCK_REALTIME ? of_day : strtol (rest, NULL, 10);
}

/* System calls only: a sanitizer's allocator asks for the time too, and neither
   dlsym nor an intercepted open may be called from there.  */
int
clock_gettime (clockid_t clock, struct timespec *now)
{
  int result = (int)syscall (SYS_clock_gettime, clock, now);

  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC))
    now->tv_sec += shift (clock);
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
