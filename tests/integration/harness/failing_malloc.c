/* Preloaded into fd-host: lets one allocation fail that the plugin asked for.
 *
 * The plugin's are those where a frame of qemu-fd.so comes before one of
 * fd-host, from the allocator outwards: what jansson or the C library allocate
 * on the plugin's behalf counts, what fd-host allocates in a callback does not.
 *
 * fd-host says which (--fail-allocation).  For each that is asked for a line
 * "number place" goes into the file FAILING_MALLOC_PLACES, if there is such a
 * variable: place is the same where the plugin's frames are.
 *
 * Works above AddressSanitizer's allocator, too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

#define EXPORTED __attribute__ ((visibility ("default")))
#define LENGTH(array) (sizeof (array) / sizeof ((array)[0]))

/* Where a loaded file's code is. */
struct range
{
  uintptr_t begin, end;
};

struct walk
{
  bool is_plugins;
  int depth;
  uintptr_t frames[8]; /* the plugin's, relative to its begin */
};

EXPORTED void failing_malloc_arm (size_t number);
EXPORTED size_t failing_malloc_disarm (void);

static struct range plugin, host;
static bool armed;
static size_t asked, to_fail;
static int places = -1;
static __thread bool inside;

static void *(*real_malloc) (size_t);
static void *(*real_calloc) (size_t, size_t);
static void *(*real_realloc) (void *, size_t);
static void (*real_free) (void *);

/* dlsym and the sanitizer allocate before they are known. */
static char early[65536];
static size_t early_used;

static bool
is_early (const void *pointer)
{
  return (const char *)pointer >= early && (const char *)pointer < early + sizeof (early);
}

static void *
allocate_early (size_t size)
{
  void *block = early + early_used;

  early_used += (size + 15) / 16 * 16;
  if (early_used > sizeof (early))
    abort ();
  return block;
}

/* False while it is at it. */
static bool
find_real (void)
{
  static bool finding;

  if (real_free)
    return true;
  if (finding)
    return false;
  finding = true;
  *(void **)&real_malloc = dlsym (RTLD_NEXT, "malloc");
  *(void **)&real_calloc = dlsym (RTLD_NEXT, "calloc");
  *(void **)&real_realloc = dlsym (RTLD_NEXT, "realloc");
  *(void **)&real_free = dlsym (RTLD_NEXT, "free");
  return true;
}

static int
note_range (struct dl_phdr_info *info, size_t size, void *context)
{
  bool is_plugin = strstr (info->dlpi_name, "qemu-fd.so") != NULL;

  (void)size;
  (void)context;
  for (int i = 0; i < info->dlpi_phnum && (is_plugin || !*info->dlpi_name); i++)
    if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X)
      {
        uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

        /* The program itself has an empty name and comes first. */
        if (is_plugin || !host.begin)
          *(is_plugin ? &plugin : &host) = (struct range){ begin, begin + info->dlpi_phdr[i].p_memsz };
      }
  return 0;
}

static bool
is_in (const struct range *range, uintptr_t address)
{
  return address >= range->begin && address < range->end;
}

static _Unwind_Reason_Code
step (struct _Unwind_Context *context, void *argument)
{
  struct walk *walk = argument;
  uintptr_t address = _Unwind_GetIP (context);

  if (is_in (&plugin, address))
    {
      walk->is_plugins = true;
      if (walk->depth < (int)LENGTH (walk->frames))
        walk->frames[walk->depth++] = address - plugin.begin;
    }
  else if (is_in (&host, address) || walk->is_plugins)
    return _URC_END_OF_STACK;
  return _URC_NO_REASON;
}

static void
write_place (const struct walk *walk)
{
  uintptr_t place = 0;
  char line[64];
  int length;

  for (int i = 0; i < walk->depth; i++)
    place = place * 31 + walk->frames[i];
  length = snprintf (line, sizeof (line), "%zu %zx\n", asked, (size_t)place);
  if (write (places, line, (size_t)length) != length)
    abort ();
}

static void
say (const struct walk *walk)
{
  char line[256];
  int length = snprintf (line, sizeof (line), "allocation %zu fails at qemu-fd.so", asked);

  for (int i = 0; i < walk->depth; i++)
    length += snprintf (line + length, sizeof (line) - (size_t)length, " +0x%zx",
                        (size_t)walk->frames[i]);
  line[length++] = '\n';
  if (write (STDERR_FILENO, line, (size_t)length) != length)
    abort ();
}

/* Whether the allocation that is asked for now has to fail. */
static bool
fails (void)
{
  struct walk walk = { 0 };
  bool failing;

  if (!armed || inside)
    return false;
  inside = true;
  (void)_Unwind_Backtrace (step, &walk);
  failing = walk.is_plugins && ++asked == to_fail;
  if (walk.is_plugins && places >= 0)
    write_place (&walk);
  if (failing)
    {
      say (&walk);
      errno = ENOMEM;
    }
  inside = false;
  return failing;
}

/* Before fd-host counts the descriptors that it begins with. */
__attribute__ ((constructor)) static void
open_places (void)
{
  const char *path = getenv ("FAILING_MALLOC_PLACES");

  if (path)
    places = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

void
failing_malloc_arm (size_t number)
{
  inside = true;
  (void)dl_iterate_phdr (note_range, NULL);
  inside = false;
  asked = 0;
  to_fail = number;
  armed = true;
}

size_t
failing_malloc_disarm (void)
{
  armed = false;
  return asked;
}

EXPORTED void *
malloc (size_t size)
{
  if (!find_real ())
    return allocate_early (size);
  return fails () ? NULL : real_malloc (size);
}

EXPORTED void *
calloc (size_t count, size_t size)
{
  if (!find_real ())
    return allocate_early (count * size);
  return fails () ? NULL : real_calloc (count, size);
}

EXPORTED void *
realloc (void *block, size_t size)
{
  if (is_early (block) || !find_real ())
    abort ();
  return fails () ? NULL : real_realloc (block, size);
}

EXPORTED void *
reallocarray (void *block, size_t count, size_t size)
{
  size_t product;

  if (__builtin_mul_overflow (count, size, &product))
    {
      errno = ENOMEM;
      return NULL;
    }
  return realloc (block, product);
}

EXPORTED void
free (void *block)
{
  if (block && !is_early (block) && find_real ())
    real_free (block);
}

/* AddressSanitizer's own do not call malloc. */
EXPORTED char *
strdup (const char *string)
{
  size_t size = strlen (string) + 1;
  char *copy = malloc (size);

  return copy ? memcpy (copy, string, size) : NULL;
}

EXPORTED char *
strndup (const char *string, size_t limit)
{
  size_t length = strnlen (string, limit);
  char *copy = malloc (length + 1);

  if (!copy)
    return NULL;
  copy[length] = '\0';
  return memcpy (copy, string, length);
}
