/*
 * libcurl, loaded by the fetch process alone: linked, it would bring 25 libraries, 640 KiB of private memory and 4 ms
 * of start-up to every process of the daemon (measured), among them those that hold passwords and keys.
 */
#ifndef MAILSVC_FETCH_CURL_API_H
#define MAILSVC_FETCH_CURL_API_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "lib/log.h"

struct curl_api {
	CURLcode (*global_init)(long);
	CURL *(*easy_init)(void);
	void (*easy_cleanup)(CURL *);
	CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
	CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
	const char *(*easy_strerror)(CURLcode);
	CURLM *(*multi_init)(void);
	CURLMcode (*multi_setopt)(CURLM *, CURLMoption, ...);
	CURLMcode (*multi_add_handle)(CURLM *, CURL *);
	CURLMcode (*multi_remove_handle)(CURLM *, CURL *);
	CURLMcode (*multi_socket_action)(CURLM *, curl_socket_t, int, int *);
	CURLMcode (*multi_assign)(CURLM *, curl_socket_t, void *);
	CURLMsg *(*multi_info_read)(CURLM *, int *);
	struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
	void (*slist_free_all)(struct curl_slist *);
};
extern struct curl_api curl_api;

/* Loads it and initialises it, once, before a sandbox.  -1 with a reason. */
int curl_api_load(struct error *);

#endif
