/* Preloaded into the Director, and only there, to save the tests' time.
 *
 * Bacula's job queue moves a new job from its waiting to its ready list and
 * then sleeps two seconds before it looks at the ready list, lest a job that
 * waits for a resource cost CPU time.  A Full of one small file takes 2.5 s
 * with this sleep and 0.6 s without.
 */
#include <errno.h>
#include <stddef.h>
#include <time.h>

int
nanosleep (const struct timespec *request, struct timespec *remaining)
{
  static const struct timespec short_nap = { .tv_nsec = 20 * 1000 * 1000 };

  if (request->tv_sec == 2 && request->tv_nsec == 0)
    request = &short_nap;
  errno = clock_nanosleep (CLOCK_REALTIME, 0, request, remaining);
  return errno == 0 ? 0 : -1;
}
