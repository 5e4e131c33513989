/* qemu-fd: requests to the API of a Proxmox VE host.
 * SPDX-License-Identifier: AGPL-3.0-or-later
 */
#include "pve/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "pve/access.h"
#include "pve/destination.h"

enum {
    ATTEMPTS = 4,
    FIRST_PAUSE = 250, /* ms, doubled each time */
    STATUS_NOT_CONNECTED = 595,
    STATUS_LAST = 599, /* of those that pveproxy takes from AnyEvent::HTTP */
};

struct pve_client {
    CURL *curl;
    struct pve_access access;
    struct pve_destination destination;
    const struct cancel *cancel;
    const struct log *log;
    bool never_sent; /* the last request did not reach anybody who carries it out */
    char complaint[CURL_ERROR_SIZE];
};

/* One transfer as it comes in. */
struct transfer {
    struct pve_client *client;
    struct text body;
    char reason[sizeof(((struct pve_answer *)0)->reason)];
};

void pve_load(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;

    return text_append(&transfer->body, bytes, size * count) ? size * count : 0;
}

/* "HTTP/1.1 500 VM 100 already exists\r\n" */
static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    const char *reason =
        length > 13 && memcmp(bytes, "HTTP/", 5) == 0 ? memchr(bytes, ' ', length) : NULL;

    if (reason && (size_t)(bytes + length - reason) > 5) {
        reason += 5; /* the blank, three digits and another blank */
        (void)snprintf(transfer->reason, sizeof(transfer->reason), "%.*s",
                       (int)(bytes + length - reason), reason);
        transfer->reason[strcspn(transfer->reason, "\r\n")] = '\0';
    }
    return length;
}

/* libcurl calls it at least once a second. */
static int look_at_cancel(void *context, curl_off_t total, curl_off_t now, curl_off_t upload_total,
                          curl_off_t upload_now)
{
    const struct pve_client *client = context;

    (void)total;
    (void)now;
    (void)upload_total;
    (void)upload_now;
    return cancel_raised(client->cancel) ? 1 : 0;
}

static bool only_https(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK;
#else
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)CURLPROTO_HTTPS) == CURLE_OK;
#endif
}

static bool prepare_handle(struct pve_client *client)
{
    CURL *curl = client->curl;

    /* The API is on this host or named by url=: no proxy of the environment
     * may see a ticket. */
    return curl && only_https(curl) && curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)PVE_CONNECT_LIMIT) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)PVE_REQUEST_LIMIT) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->complaint) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_cancel) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client) == CURLE_OK &&
           pve_destination_apply(&client->destination, curl);
}

static bool fill_client(struct pve_client *client, const struct options *options,
                        struct error *error)
{
    if (!pve_access_init(&client->access, options, error) ||
        !pve_destination_choose(&client->destination, options, &client->access.token, error))
        return false;
    client->curl = curl_easy_init();
    return prepare_handle(client) ||
           error_set(error, ERROR_GENERAL, "libcurl cannot be used: it needs TLS by OpenSSL");
}

bool pve_client_new(const struct options *options, const struct cancel *cancel,
                    const struct log *log, struct pve_client **client, struct error *error)
{
    struct pve_client *made = calloc(1, sizeof(*made));

    if (!made)
        return error_memory(error);
    made->cancel = cancel;
    made->log = log;
    if (fill_client(made, options, error)) {
        *client = made;
        return true;
    }
    pve_client_free(made);
    return false;
}

void pve_client_free(struct pve_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    pve_access_free(&client->access);
    pve_destination_free(&client->destination);
    free(client);
}

bool pve_client_has_token(const struct pve_client *client)
{
    return client->access.token.secret != NULL;
}

const struct cancel *pve_client_cancel(const struct pve_client *client)
{
    return client->cancel;
}

void pve_client_ignore_cancel(struct pve_client *client)
{
    client->cancel = NULL;
}

static void free_escaped(char **text)
{
    curl_free(*text);
}

bool pve_form_add(struct text *form, const char *key, const char *value)
{
    /* Keys come from a guest's configuration in a backup, too. */
    CLEANUP(free_escaped) char *name = curl_easy_escape(NULL, key, 0);
    CLEANUP(free_escaped) char *escaped = curl_easy_escape(NULL, value, 0);

    return name && escaped && text_printf(form, "%s%s=%s", form->length ? "&" : "", name, escaped);
}

bool pve_form_add_number(struct text *form, const char *key, uint64_t value)
{
    return text_printf(form, "%s%s=%llu", form->length ? "&" : "", key, (unsigned long long)value);
}

void pve_answer_free(struct pve_answer *answer)
{
    json_decref(answer->data);
    json_decref(answer->errors);
    *answer = (struct pve_answer){0};
}

bool pve_answer_read(const char *bytes, size_t count, struct pve_answer *answer)
{
    _cleanup_json_ json_t *root = json_loadb(bytes, count, 0, NULL);
    const char *message = json_member_string(root, "message");
    json_t *data = json_object_get(root, "data");

    if (!json_is_object(root))
        return false;
    answer->data = json_is_null(data) ? NULL : json_incref(data);
    answer->errors = json_incref(json_member_object(root, "errors"));
    if (message && *message) {
        (void)snprintf(answer->reason, sizeof(answer->reason), "%s", message);
        answer->reason[strcspn(answer->reason, "\r\n")] = '\0';
    }
    return true;
}

static const char *method_name(enum pve_method method)
{
    static const char *const names[] = {"GET", "POST", "PUT", "DELETE"};

    return names[method];
}

static bool set_request(struct pve_client *client, enum pve_method method, const char *path,
                        const struct text *form, struct transfer *transfer)
{
    bool in_body = method == PVE_POST || method == PVE_PUT;
    const char *parameters = form && form->data ? form->data : "";
    _cleanup_free_ char *url =
        text_format("%s/api2/json%s%s%s", client->destination.url, path,
                    !in_body && *parameters ? "?" : "", in_body ? "" : parameters);
    CURL *curl = client->curl;

    if (!url || curl_easy_setopt(curl, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer) != CURLE_OK)
        return false;
    /* libcurl repeats a request of its own accord when a connection that it
     * kept turns out to be dead, and one that changes something may have been
     * carried out all the same. */
    if (curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, method == PVE_GET ? 0L : 1L) != CURLE_OK)
        return false;
    /* The body is copied: `form` may be gone before the handle. */
    if (in_body && (curl_easy_setopt(curl, CURLOPT_POST, 1L) != CURLE_OK ||
                    curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, parameters) != CURLE_OK))
        return false;
    if (!in_body && curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) != CURLE_OK)
        return false;
    return curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method_name(method)) == CURLE_OK;
}

/* What libcurl's result means. */
static bool judge_transfer(const struct pve_client *client, CURLcode code, struct error *error)
{
    const char *complaint = *client->complaint ? client->complaint : curl_easy_strerror(code);

    if (client->destination.refused) {
        error_set(error, ERROR_CONFIG,
                  "it is another host, and what opens this one is for this one only");
        return error_hint(error,
                          "set tokenfile= to the file of an API token whose second line "
                          "says url=%s and fingerprint=",
                          client->destination.url);
    }
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return cancel_check(client->cancel, error);
    case CURLE_OPERATION_TIMEDOUT:
        error_set(error, ERROR_TIMEOUT, "no answer: %s", complaint);
        return error_hint(error, "see whether pveproxy and pvedaemon work on that host");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        error_set(error, ERROR_CONFIG, "its certificate is not accepted: %s", complaint);
        return error_hint(error, "check the second line of the token's file where there is one; on "
                                 "this host restart pveproxy, which may show an older certificate, "
                                 "or renew the host's certificates (pvecm updatecerts)");
    case CURLE_WRITE_ERROR:
        return error_set(error, ERROR_GENERAL, "an answer of more than %d bytes", PVE_ANSWER_LIMIT);
    default:
        error_set(error, ERROR_GONE, "the connection failed: %s", complaint);
        return error_hint(error, "see whether pveproxy runs on that host");
    }
}

/* What a status from 300 on means. */
static bool judge_refusal(struct pve_client *client, const struct pve_answer *answer,
                          struct error *error)
{
    bool from_proxy = answer->status >= STATUS_NOT_CONNECTED && answer->status <= STATUS_LAST;

    client->never_sent = answer->status == STATUS_NOT_CONNECTED;
    error_set(error, from_proxy && !client->never_sent ? ERROR_GONE : ERROR_REFUSED,
              "Proxmox says: %s (status %ld)", answer->reason, answer->status);
    return from_proxy ? error_hint(error, "see whether pvedaemon works on that host") : false;
}

/* Sends it once. */
static bool transfer_once(struct pve_client *client, enum pve_method method, const char *path,
                          const struct text *form, struct pve_answer *answer, struct error *error)
{
    struct transfer transfer = {.client = client, .body = TEXT_WITH_LIMIT(PVE_ANSWER_LIMIT)};
    struct curl_slist *headers = pve_access_headers(&client->access);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    bool is_json;

    *client->complaint = '\0';
    client->never_sent = false;
    client->destination.refused = false;
    if (headers && set_request(client, method, path, form, &transfer) &&
        curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK)
        code = curl_easy_perform(client->curl);
    client->never_sent = code == CURLE_COULDNT_CONNECT && !client->destination.refused;
    (void)curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    (void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    (void)snprintf(answer->reason, sizeof(answer->reason), "%s", transfer.reason);
    is_json =
        transfer.body.data && pve_answer_read(transfer.body.data, transfer.body.length, answer);
    text_free(&transfer.body);
    /* 6.4 and 7.2 put line feeds into the reason phrase, which is then no
     * proper head any more; its first line is what matters. */
    if (code != CURLE_OK && !(answer->status >= 400 && *answer->reason))
        return judge_transfer(client, code, error);
    log_debug(client->log, LOG_DETAIL, "Proxmox: %s %s: %ld %s", method_name(method), path,
              answer->status, answer->reason);
    if (answer->status >= 200 && answer->status < 300)
        return is_json || error_set(error, ERROR_GENERAL, "the answer is no JSON");
    return judge_refusal(client, answer, error);
}

/* Proxmox's text for each parameter that it did not like. */
static void add_details(const struct pve_answer *answer, struct error *error)
{
    size_t used = strlen(error->why);
    const char *key;
    json_t *value;

    json_object_foreach (json_only_read(answer->errors), key, value)
        if (json_is_string(value) && used < sizeof(error->why)) {
            (void)snprintf(error->why + used, sizeof(error->why) - used, "; %s: %s", key,
                           json_string_value(value));
            used = strlen(error->why);
        }
}

static bool may_repeat(const struct pve_client *client, enum pve_method method,
                       const struct pve_answer *answer, const struct error *error)
{
    if (client->never_sent)
        return true;
    if (method != PVE_GET)
        return false;
    if (error->kind == ERROR_REFUSED)
        return answer->status >= 500 && answer->status != 501;
    return error->kind == ERROR_GONE || error->kind == ERROR_GENERAL;
}

static bool attempt(struct pve_client *client, enum pve_method method, const char *path,
                    const struct text *form, struct pve_answer *answer, struct error *error)
{
    for (int refused = 0;; refused++) {
        pve_answer_free(answer);
        if (!pve_access_refresh(&client->access, error))
            return false;
        if (transfer_once(client, method, path, form, answer, error))
            return true;
        if (answer->status != 401)
            return false;
        if (!pve_access_retry(&client->access, refused))
            return error_hint(error, "%s",
                              client->access.token.secret
                                  ? "check the API token in tokenfile=: it may be wrong, expired "
                                    "or revoked"
                                  : "check the host's clock, and that pvestatd and pvedaemon run");
    }
}

bool pve_request(struct pve_client *client, enum pve_method method, const char *path,
                 const struct text *form, struct pve_answer *answer, struct error *error)
{
    int64_t pause = FIRST_PAUSE;

    *answer = (struct pve_answer){0};
    for (int tried = 1;; tried++) {
        if (attempt(client, method, path, form, answer, error))
            return true;
        if (tried == ATTEMPTS || !may_repeat(client, method, answer, error))
            break;
        if (!clock_sleep(pause, client->cancel, error))
            break;
        pause *= 2;
    }
    if (answer->status == 403)
        error_hint(error, "give the token's role what docs/reference/proxmox.md lists");
    add_details(answer, error);
    if (client->never_sent && error->kind == ERROR_GONE)
        error->kind = ERROR_REFUSED; /* nobody has it: nothing was done, or will be */
    return error->kind != ERROR_CANCELLED
               ? error_context(error, "Proxmox API at %s: %s %s", client->destination.url,
                               method_name(method), path)
               : false;
}
