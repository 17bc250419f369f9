/* Finds libcurl's functions by name.  A library without one of them is refused whole. */
#include "curl_api.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libcurl.so.4"
#define FN(name, member)                                                                                               \
	{                                                                                                              \
		name, offsetof(struct curl_api, member)                                                                \
	}

struct curl_api curl_api;

static const struct {
	const char *name;
	size_t at;
} functions[] = {
	FN("curl_global_init", global_init),
	FN("curl_easy_init", easy_init),
	FN("curl_easy_cleanup", easy_cleanup),
	FN("curl_easy_setopt", easy_setopt),
	FN("curl_easy_getinfo", easy_getinfo),
	FN("curl_easy_strerror", easy_strerror),
	FN("curl_multi_init", multi_init),
	FN("curl_multi_setopt", multi_setopt),
	FN("curl_multi_add_handle", multi_add_handle),
	FN("curl_multi_remove_handle", multi_remove_handle),
	FN("curl_multi_socket_action", multi_socket_action),
	FN("curl_multi_assign", multi_assign),
	FN("curl_multi_info_read", multi_info_read),
	FN("curl_slist_append", slist_append),
	FN("curl_slist_free_all", slist_free_all),
};

int curl_api_load(struct error *e)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
		return error_set(e, "%s cannot be loaded; apt-get install libcurl4", LIBRARY);
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *fn = dlsym(library, functions[i].name);
		if (fn == NULL)
			return error_set(e, "%s has no %s", LIBRARY, functions[i].name);
		memcpy((char *)&curl_api + functions[i].at, &fn, sizeof(fn));
	}
	if (curl_api.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return error_set(e, "%s does not initialise", LIBRARY);
	return 0;
}
