/*
 * libcurl's multi interface, driven by its socket and timer callbacks.  One easy handle a transfer, with a connection
 * of its own that ends with it.  libcurl forbids that a handle is freed in one of its callbacks, so transfers end in
 * `reap`, after socket_action has returned.
 */
#include "transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "curl_api.h"

#define HEADERS_MAX (32u * 1024) /* bytes of a response's header */

struct transfers {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
	struct view trust;
};

struct watch { /* one socket of libcurl */
	struct transfers *all;
	struct event *event;
};

struct transfer {
	struct transfers *all;
	CURL *easy;
	struct curl_slist *resolve;
	struct fetch_limits limits;
	fetch_fn fn;
	void *arg;
	struct buf body;
	size_t header_bytes;
	char error[CURL_ERROR_SIZE];
};

/* Ends ------------------------------------------------------------------------------------------------------- */

static void transfer_free(struct transfer *t)
{
	curl_api.multi_remove_handle(t->all->multi, t->easy);
	curl_api.easy_cleanup(t->easy);
	curl_api.slist_free_all(t->resolve);
	buf_free(&t->body);
	free(t);
}

static enum fetch_status status_of(const struct transfer *t, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return FETCH_OK;
	case CURLE_COULDNT_RESOLVE_HOST:
		return FETCH_DNS;
	case CURLE_COULDNT_CONNECT:
		return FETCH_CONNECT;
	case CURLE_OPERATION_TIMEDOUT:
		return FETCH_TIMEOUT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
		return FETCH_TLS;
	case CURLE_FILESIZE_EXCEEDED:
		return FETCH_TOO_LARGE;
	case CURLE_WRITE_ERROR:
		return t->body.full || t->header_bytes > HEADERS_MAX ? FETCH_TOO_LARGE : FETCH_BROKEN;
	default:
		return FETCH_BROKEN;
	}
}

/* One line of printable ASCII of what libcurl says, which may hold a peer's bytes. */
static void plain(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%.*s", (int)size - 1, text);
	for (char *p = out; *p != '\0'; p++) {
		if (*p < ' ' || *p > '~' || *p == '"')
			*p = ' ';
	}
}

static void finish(struct transfer *t, CURLcode code)
{
	struct fetch_answer a = { .status = status_of(t, code) };
	const char *type = NULL;
	long http = 0;

	curl_api.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &http);
	if (a.status == FETCH_OK && (http < 100 || http > 599))
		a.status = FETCH_BROKEN;
	if (a.status == FETCH_OK) {
		a.code = (int)http;
		curl_api.easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
		if (type != NULL)
			plain(a.type, sizeof(a.type), type);
		if (http == 200)
			a.body = buf_view(&t->body);
	} else if (a.status == FETCH_TOO_LARGE) {
		snprintf(a.reason, sizeof(a.reason), "its answer is larger than %zu bytes", t->limits.bytes);
	} else {
		plain(a.reason, sizeof(a.reason), t->error[0] != '\0' ? t->error : curl_api.easy_strerror(code));
	}
	t->fn(t->arg, &a);
	transfer_free(t);
}

static void reap(struct transfers *all)
{
	CURLMsg *m;
	int left;

	while ((m = curl_api.multi_info_read(all->multi, &left)) != NULL) {
		void *private = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode code = m->data.result;
		curl_api.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
		finish(private, code);
	}
}

/* libcurl's events ------------------------------------------------------------------------------------------- */

static void act(struct transfers *all, curl_socket_t fd, int what)
{
	int running;

	curl_api.multi_socket_action(all->multi, fd, what, &running);
	reap(all);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	act(w->all, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct transfers *all = arg;
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	(void)multi;
	if (ms < 0)
		event_del(all->timer);
	else
		event_add(all->timer, &tv);
	return 0;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *mine)
{
	struct transfers *all = arg;
	struct watch *w = mine;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			event_free(w->event);
			free(w);
		}
		return 0;
	}
	if (w == NULL) {
		w = xcalloc(1, sizeof(*w));
		w->all = all;
		curl_api.multi_assign(all->multi, fd, w);
	} else {
		event_free(w->event);
	}
	w->event = event_new(all->base, fd,
	    (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST),
	    on_socket, w);
	if (w->event == NULL)
		fatalx("cannot watch a socket");
	event_add(w->event, NULL);
	return 0;
}

/* Starts ----------------------------------------------------------------------------------------------------- */

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;

	return buf_add(&t->body, data, size * count) == 0 ? size * count : 0;
}

static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;

	(void)data;
	t->header_bytes += size * count;
	return t->header_bytes <= HEADERS_MAX ? size * count : 0;
}

struct transfers *transfers_new(struct event_base *base, struct view trust)
{
	struct transfers *all = xcalloc(1, sizeof(*all));

	all->base = base;
	all->trust = trust;
	all->multi = curl_api.multi_init();
	all->timer = evtimer_new(base, on_timer, all);
	if (all->multi == NULL || all->timer == NULL)
		fatalx("libcurl does not start");
	curl_api.multi_setopt(all->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_api.multi_setopt(all->multi, CURLMOPT_SOCKETDATA, all);
	curl_api.multi_setopt(all->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_api.multi_setopt(all->multi, CURLMOPT_TIMERDATA, all);
	return all;
}

static bool set_options(struct transfer *t, const char *url)
{
	struct curl_blob trust = { (void *)(uintptr_t)t->all->trust.ptr, t->all->trust.len, CURL_BLOB_NOCOPY };
	CURLcode r = CURLE_OK;

#define SET(option, value) r = r != CURLE_OK ? r : curl_api.easy_setopt(t->easy, option, value)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PRIVATE, t);
	SET(CURLOPT_ERRORBUFFER, t->error);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_RESOLVE, t->resolve);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	SET(CURLOPT_USERAGENT, "mailadm");
	SET(CURLOPT_CAINFO_BLOB, &trust);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	SET(CURLOPT_TIMEOUT_MS, (long)t->limits.seconds * 1000);
	SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->limits.bytes);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, t);
#undef SET
	return r == CURLE_OK;
}

struct transfer *transfer_start(struct transfers *all, const char *url, const char *host, uint16_t port,
    const char *addresses, const struct fetch_limits *limits, fetch_fn fn, void *arg)
{
	struct transfer *t = xcalloc(1, sizeof(*t));
	struct buf entry = BUF_INIT(4096);

	t->all = all;
	t->limits = *limits;
	t->fn = fn;
	t->arg = arg;
	t->body = BUF_INIT(limits->bytes);
	t->easy = curl_api.easy_init();
	buf_printf(&entry, "+%s:%u:%s", host, port, addresses); /* "+": forgotten after a minute */
	t->resolve = curl_api.slist_append(NULL, buf_str(&entry));
	buf_free(&entry);
	/* From here on an unsuitable library is a bug of ours, and never a reason to go on without a check. */
	if (t->easy == NULL || t->resolve == NULL || !set_options(t, url) ||
	    curl_api.multi_add_handle(all->multi, t->easy) != CURLM_OK)
		fatalx("libcurl refuses a transfer");
	return t;
}

void transfer_cancel(struct transfer *t)
{
	if (t != NULL)
		transfer_free(t);
}
