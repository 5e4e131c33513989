/* qemu-fd: a note of a lock that a job sets on a guest.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/lock_note.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/owner.h"
#include "base/path.h"
#include "base/text.h"

#define NO_OWNER "none"

enum {
    WORDS_LIMIT = 4096,
    HELPER_PATIENCE = 60 * 1000, /* ms for a dead job's helper to unlock its guest */
    MAKE_ATTEMPTS = 8,
};

bool lock_words_read(const char *bytes, size_t count, struct lock_words *words)
{
    _cleanup_json_ json_t *read = json_loadb(bytes, count, 0, NULL);
    const char *owner = json_member_string(read, "owner");
    uint64_t job_id, set;

    *words = (struct lock_words){0};
    if (!owner || strlen(owner) >= sizeof(words->owner) ||
        !json_member_size(read, "job", &job_id) || job_id > UINT32_MAX ||
        !json_member_size(read, "set", &set) || set > INT64_MAX)
        return false;
    words->job_id = (uint32_t)job_id;
    words->set = (int64_t)set;
    (void)snprintf(words->owner, sizeof(words->owner), "%s", owner);
    return true;
}

char *lock_note_path(const char *folder, const char *node, uint32_t vmid)
{
    return text_format("%s/qemu-fd-lock-%s-%u", folder, node, vmid);
}

/* One that was cut off in its making says nothing, and nothing was asked for yet. */
static void read_words(int file, struct lock_words *words)
{
    char bytes[WORDS_LIMIT];
    ssize_t count = pread(file, bytes, sizeof(bytes), 0);

    *words = (struct lock_words){0};
    if (count > 0)
        (void)lock_words_read(bytes, (size_t)count, words);
}

static bool owner_has_ended(const struct lock_words *words)
{
    struct owner owner, self = owner_self(AT_FDCWD);

    if (strcmp(words->owner, NO_OWNER) == 0)
        return true;
    return owner_read(words->owner, strlen(words->owner), &owner) &&
           owner_state(&owner, &self) == OWNER_ENDED;
}

enum taken { TAKEN, TAKEN_FOR_NOW, TAKEN_BY_JOB, TAKE_AGAIN, TAKE_FAILED };

/* A file that is held is removed by its holder, as a rule: then it is another.  The holder of one
 * without words has just made it; that of a dead job's is its helper. */
static enum taken take_once(const char *path, struct lock_note *note)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat status;
    bool held;

    if (file < 0)
        return TAKE_FAILED;
    held = fcntl(file, F_OFD_SETLK, &whole) != 0 && (errno == EAGAIN || errno == EACCES);
    if (fstat(file, &status) != 0)
        return TAKE_FAILED;
    if (status.st_nlink == 0)
        return TAKE_AGAIN;
    read_words(file, &note->words);
    if (held)
        return note->words.job_id && !owner_has_ended(&note->words) ? TAKEN_BY_JOB : TAKEN_FOR_NOW;
    note->file = TAKE_FD(file);
    return TAKEN;
}

static bool is_living(const struct lock_note *note, struct error *error)
{
    if (note->words.job_id)
        error_set(error, ERROR_GENERAL, "Bacula job %u is backing it up right now",
                  note->words.job_id);
    else
        error_set(error, ERROR_GENERAL, "another Bacula job is backing it up right now");
    return error_hint(error, "let the jobs of one guest run one after another");
}

bool lock_note_take(const char *path, const struct cancel *cancel, struct lock_note *note,
                    struct error *error)
{
    int64_t deadline = clock_deadline(HELPER_PATIENCE);

    *note = LOCK_NOTE_NONE;
    note->path = text_copy(path);
    if (!note->path)
        return error_memory(error);
    for (int attempt = 0; attempt < MAKE_ATTEMPTS;) {
        switch (take_once(path, note)) {
        case TAKEN:
            return true;
        case TAKEN_FOR_NOW:
            if (clock_slice(deadline) == 0)
                return is_living(note, error);
            if (!clock_sleep(CANCEL_SLICE, cancel, error))
                return false;
            break;
        case TAKEN_BY_JOB:
            return is_living(note, error);
        case TAKE_AGAIN:
            attempt++;
            break;
        case TAKE_FAILED:
            attempt = MAKE_ATTEMPTS;
            break;
        }
    }
    error_errno(error, errno, "cannot write the note of its lock \"%s\"", path);
    return error_hint(error, "see that the File Daemon may write into its WorkingDirectory");
}

enum lock_note_state lock_note_look(const char *path, uint32_t *job_id)
{
    struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct lock_words words;

    *job_id = 0;
    if (file < 0 || fcntl(file, F_OFD_GETLK, &asked) != 0)
        return LOCK_NOTE_SAYS_NOTHING;
    read_words(file, &words);
    *job_id = words.job_id;
    if (!words.job_id)
        return LOCK_NOTE_SAYS_NOTHING;
    return asked.l_type == F_UNLCK || owner_has_ended(&words) ? LOCK_NOTE_LEFT : LOCK_NOTE_HELD;
}

bool lock_note_write(const struct lock_note *note, struct error *error)
{
    _cleanup_json_ json_t *words =
        json_pack("{s:I, s:s, s:I}", "job", (json_int_t)note->words.job_id, "owner",
                  note->words.owner, "set", (json_int_t)note->words.set);
    _cleanup_free_ char *bytes = words ? json_dumps(words, JSON_COMPACT) : NULL;

    if (!bytes)
        return error_memory(error);
    if (ftruncate(note->file, 0) == 0 && lseek(note->file, 0, SEEK_SET) == 0 &&
        path_write_all(note->file, bytes, strlen(bytes)) && fsync(note->file) == 0)
        return true;
    error_errno(error, errno, "cannot write the note of its lock \"%s\"", note->path);
    return error_hint(error, "see that there is room in the File Daemon's WorkingDirectory");
}

void lock_note_remove(struct lock_note *note)
{
    if (note->file >= 0)
        (void)unlink(note->path);
    lock_note_leave(note);
}

void lock_note_give_up(struct lock_note *note)
{
    struct error ignored;

    (void)snprintf(note->words.owner, sizeof(note->words.owner), "%s", NO_OWNER);
    if (note->file >= 0)
        (void)lock_note_write(note, &ignored);
    lock_note_leave(note);
}

void lock_note_leave(struct lock_note *note)
{
    if (note->file >= 0)
        close(note->file);
    free(note->path);
    *note = LOCK_NOTE_NONE;
}
