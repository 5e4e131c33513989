/* qemu-fd: whether a disk may be written back to the file that it was read from.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "guest/write_back.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
    const char *word;
    const char *reason;
} answers[] = {
    [WRITE_BACK_UNSAID] = {NULL, NULL},
    [WRITE_BACK_YES] = {"yes", NULL},
    [WRITE_BACK_WINDOW] = {"window", "it is a window into its file, which holds more (offset=, "
                                     "size=)"},
    [WRITE_BACK_ENCRYPTED] = {"encrypted",
                              "its file is encrypted or stands on one that is, and what "
                              "is saved of it is not"},
    [WRITE_BACK_LAYERS] = {"layers", "its image is not one file of one format"},
    [WRITE_BACK_NO_FILE] = {"not-a-file", "it is neither a file nor a block device of the guest's "
                                          "host"},
    [WRITE_BACK_TEMPORARY] = {"temporary", "its file is a temporary one, deleted already "
                                           "(-snapshot)"},
    [WRITE_BACK_DESCRIPTOR] = {"descriptor", "QEMU was given its file as a descriptor, which has "
                                             "no name"},
    [WRITE_BACK_HIDDEN] = {"hidden", "which file it is cannot be told: the File Daemon may not "
                                     "look at QEMU's open files"},
    [WRITE_BACK_ELSEWHERE] = {"elsewhere", "which file it is cannot be told: QEMU has none open "
                                           "that has its name here"},
    [WRITE_BACK_AMBIGUOUS] = {"ambiguous", "which file it is cannot be told: several that QEMU "
                                           "has open could be it"},
    [WRITE_BACK_UNKNOWN] = {"unknown", "its backup gives a reason that this version does not "
                                       "know"},
};

const char *write_back_word(enum write_back answer)
{
    return answers[answer].word;
}

enum write_back write_back_read(const char *word)
{
    if (!word)
        return WRITE_BACK_UNSAID;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        if (answers[i].word && strcmp(answers[i].word, word) == 0)
            return (enum write_back)i;
    return WRITE_BACK_UNKNOWN;
}

const char *write_back_reason(enum write_back answer)
{
    return answers[answer].reason;
}
