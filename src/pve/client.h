/* qemu-fd: requests to the API of a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the server does, tried on 6.4, 7.2, 8.4, 9.1 and 9.2: errors are in the reason
 * phrase of the status line; a body of {"data":null} adds "message" (8.4 and later) and,
 * for a 400, "errors" with a text for each parameter; the body of a 401 is empty
 * and comes three seconds late; from 400 on the server closes the connection.
 * pveproxy answers itself, without a body, where it does not get at pvedaemon or
 * at another node (AnyEvent::HTTP's own numbers, in its documentation): 595 when
 * it could not connect, so that nobody has the request; 596 to 599 when it had,
 * "Connection timed out" after 30 seconds among them: then pvedaemon has it, and
 * carries it out when it can again, as was seen with volumes and guests.
 */
#ifndef QEMU_FD_PVE_CLIENT_H
#define QEMU_FD_PVE_CLIENT_H

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "guest/options.h"

enum {
    PVE_CONNECT_LIMIT = 10 * 1000, /* ms */
    PVE_REQUEST_LIMIT = 60 * 1000, /* ms for one request, from its start to its last byte */
    PVE_ANSWER_LIMIT = 32 << 20,   /* bytes */
    PVE_FORM_LIMIT = 64 << 10,     /* bytes; 6.4 and 7.2 take no more */
};

struct pve_client;

/* Once, before any job and any thread of ours: libcurl's own preparations are
 * not safe later. */
void pve_load(void);

/* A client for what the Plugin line says: url= or this host's own API, a
 * ticket or tokenfile=, and what the server's certificate is checked against.
 * Nothing is sent yet.  Everything in `options`, `cancel` and `log` is
 * borrowed.  Errors: files that are missing or cannot be used. */
bool pve_client_new(const struct options *options, const struct cancel *cancel,
                    const struct log *log, struct pve_client **client, struct error *error);

void pve_client_free(struct pve_client *client);

static inline void pve_client_cleanup(struct pve_client **client)
{
    pve_client_free(*client);
}

#define _cleanup_pve_client_ CLEANUP(pve_client_cleanup)

/* Whether it comes with an API token, which may less than a ticket. */
bool pve_client_has_token(const struct pve_client *client);

/* NULL after pve_client_ignore_cancel. */
const struct cancel *pve_client_cancel(const struct pve_client *client);

/* From now on a cancelled job does not stop it: it cleans up. */
void pve_client_ignore_cancel(struct pve_client *client);

/* Parameters, percent-encoded: "a=b&c=d".  To be freed with text_free. */
#define PVE_FORM_EMPTY TEXT_WITH_LIMIT(PVE_FORM_LIMIT)

bool pve_form_add(struct text *form, const char *key, const char *value);
bool pve_form_add_number(struct text *form, const char *key, uint64_t value);

enum pve_method { PVE_GET, PVE_POST, PVE_PUT, PVE_DELETE };

/* What came back; to be freed with pve_answer_free. */
struct pve_answer {
    long status;      /* of HTTP; 0 when nothing came */
    char reason[640]; /* Proxmox's own words: `message`, else the reason phrase */
    json_t *data;     /* NULL for none */
    json_t *errors;   /* parameter -> text; NULL for none */
};

void pve_answer_free(struct pve_answer *answer);

#define _cleanup_pve_answer_ CLEANUP(pve_answer_free)

/* One request to "/api2/json" + path (already encoded where it must be).  GET
 * is repeated with pauses when the connection breaks or the server says 5xx;
 * anything else only when nobody listened, so that it was never sent (595 of pveproxy among it).
 * A 401 makes a new ticket once.  False for all but 2xx: ERROR_REFUSED with Proxmox's words (then
 * `answer` has the details): it has done nothing, and does nothing.  Anything else leaves open
 * whether it has or will: ERROR_TIMEOUT, ERROR_GONE (596 to 599 too), ERROR_CANCELLED,
 * ERROR_GENERAL for an answer that is no JSON. */
bool pve_request(struct pve_client *client, enum pve_method method, const char *path,
                 const struct text *form, struct pve_answer *answer, struct error *error);

/* Reads the body of an answer: a pure function of its bytes.  False when it is
 * no JSON object. */
bool pve_answer_read(const char *bytes, size_t count, struct pve_answer *answer);

#endif
