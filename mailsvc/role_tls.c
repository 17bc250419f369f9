/* The certificate and key that monitor sends login and smtp, as a TLS context. */
#include <sys/mman.h>
#include <unistd.h>

#include "mailsvc/role.h"

#define TLS_FILES_MAX (1u << 20)

SSL_CTX *role_take_tls(struct role_ctx *ctx, struct view alpn, struct error *e)
{
	struct view map, certificate, key;
	int *fd = &ctx->fds[ROLE_FD_TLS];
	SSL_CTX *tls = NULL;

	if (*fd == -1) {
		error_set(e, "monitor sent no certificate");
		return NULL;
	}
	if (memfd_map_sealed(*fd, TLS_FILES_MAX, &map) == -1) {
		error_errno(e, "the certificate that monitor sent cannot be read");
		return NULL;
	}
	close(*fd);
	*fd = -1;
	struct cursor c = cursor_of(map.ptr, map.len);
	certificate = cursor_blob(&c, TLS_FILES_MAX);
	key = cursor_blob(&c, TLS_FILES_MAX);
	if (cursor_done(&c))
		tls = tls_server_ctx(certificate, key, alpn, e);
	else
		error_set(e, "the certificate that monitor sent is malformed");
	munmap((void *)(uintptr_t)map.ptr, map.len);
	if (tls != NULL && tls_server_set_ticket_key(tls, ctx->ticket_key) == -1)
		log_warnx("event=ticket-key-refused");
	return tls;
}
