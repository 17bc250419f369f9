/*
 * An SQLite VFS over the system's own that keeps a CRC-32C in the last bytes of every page of the database and checks
 * it when a page is read: a page that is not what was written is SQLITE_IOERR_DATA.
 */
#ifndef MAILSVC_FTS_PAGES_H
#define MAILSVC_FTS_PAGES_H

#include <sqlite3.h>

#define FTS_PAGES_VFS "mailadm-pages"

int fts_pages_register(void);     /* once is enough; 0, or -1 */
int fts_pages_reserve(sqlite3 *); /* makes room in the pages of a new database; right after opening. 0, or -1 */

#endif
