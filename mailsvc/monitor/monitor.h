/* The parent: sockets, keys, supervision, reload, the control socket. */
#ifndef MAILSVC_MONITOR_MONITOR_H
#define MAILSVC_MONITOR_MONITOR_H

/* Serves until SIGTERM; returns the exit status (2: the site or the machine does not allow it). */
int monitor_main(const char *site_path);

#endif
