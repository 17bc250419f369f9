/*
 * Charsets to UTF-8 through iconv, and the folded form in which text is compared.
 *
 * Only charsets of the table below are taken: gconv loads a module for each, so the list bounds what hostile mail can
 * pull in.  Converters are opened when first wanted, or all by mime_charsets_preload, after which none is opened any
 * more (a sandbox would refuse).  Not thread-safe: one converter of each kind for the process.
 */
#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "internal.h"

/* Supersets stand for their subsets, as browsers do it: windows-1252 for ISO-8859-1, GB18030 for GB2312, CP949 for
 * EUC-KR. */
static const struct {
	const char *name, *iconv;
} charsets[] = {
	{ "iso-8859-1", "CP1252" },
	{ "latin1", "CP1252" },
	{ "windows-1252", "CP1252" },
	{ "cp1252", "CP1252" },
	{ "iso8859-1", "CP1252" },
	{ "iso_8859-1", "CP1252" },
	{ "l1", "CP1252" },
	{ "x-ansi", "CP1252" },
	{ "ansi_x3.110-1983", "CP1252" },
	{ "iso-8859-2", "ISO-8859-2" },
	{ "latin2", "ISO-8859-2" },
	{ "iso-8859-3", "ISO-8859-3" },
	{ "iso-8859-4", "ISO-8859-4" },
	{ "iso-8859-5", "ISO-8859-5" },
	{ "iso-8859-6", "ISO-8859-6" },
	{ "iso-8859-6-i", "ISO-8859-6" },
	{ "iso-8859-6-e", "ISO-8859-6" },
	{ "iso-8859-7", "ISO-8859-7" },
	{ "iso-8859-8", "ISO-8859-8" },
	{ "iso-8859-8-i", "ISO-8859-8" },
	{ "iso-8859-8-e", "ISO-8859-8" },
	{ "logical", "ISO-8859-8" },
	{ "iso-8859-9", "CP1254" },
	{ "iso-8859-10", "ISO-8859-10" },
	{ "iso-8859-11", "CP874" },
	{ "tis-620", "CP874" },
	{ "windows-874", "CP874" },
	{ "iso-8859-13", "ISO-8859-13" },
	{ "iso-8859-14", "ISO-8859-14" },
	{ "iso-8859-15", "ISO-8859-15" },
	{ "latin-9", "ISO-8859-15" },
	{ "iso-8859-16", "ISO-8859-16" },
	{ "windows-1250", "CP1250" },
	{ "cp1250", "CP1250" },
	{ "windows-1251", "CP1251" },
	{ "cp1251", "CP1251" },
	{ "win-1251", "CP1251" },
	{ "windows-1253", "CP1253" },
	{ "cp1253", "CP1253" },
	{ "windows-1254", "CP1254" },
	{ "cp1254", "CP1254" },
	{ "windows-1255", "CP1255" },
	{ "cp1255", "CP1255" },
	{ "windows-1256", "CP1256" },
	{ "cp1256", "CP1256" },
	{ "windows-1257", "CP1257" },
	{ "cp1257", "CP1257" },
	{ "windows-1258", "CP1258" },
	{ "cp1258", "CP1258" },
	{ "koi8-r", "KOI8-R" },
	{ "koi8-u", "KOI8-U" },
	{ "koi8", "KOI8-R" },
	{ "cp866", "CP866" },
	{ "ibm866", "CP866" },
	{ "cp437", "CP437" },
	{ "ibm437", "CP437" },
	{ "cp850", "CP850" },
	{ "ibm850", "CP850" },
	{ "cp852", "CP852" },
	{ "ibm852", "CP852" },
	{ "macintosh", "MACINTOSH" },
	{ "x-mac-roman", "MACINTOSH" },
	{ "shift_jis", "CP932" },
	{ "shift-jis", "CP932" },
	{ "x-sjis", "CP932" },
	{ "sjis", "CP932" },
	{ "windows-31j", "CP932" },
	{ "cp932", "CP932" },
	{ "ms_kanji", "CP932" },
	{ "euc-jp", "EUC-JP-MS" },
	{ "x-euc-jp", "EUC-JP-MS" },
	{ "eucjp", "EUC-JP-MS" },
	{ "iso-2022-jp", "ISO-2022-JP-3" },
	{ "iso-2022-jp-1", "ISO-2022-JP-3" },
	{ "iso-2022-jp-3", "ISO-2022-JP-3" },
	{ "iso-2022-jp-2", "ISO-2022-JP-2" },
	{ "iso-2022-jp-ms", "ISO-2022-JP-3" },
	{ "euc-kr", "CP949" },
	{ "ks_c_5601-1987", "CP949" },
	{ "ks_c_5601", "CP949" },
	{ "ksc5601", "CP949" },
	{ "cp949", "CP949" },
	{ "windows-949", "CP949" },
	{ "iso-2022-kr", "ISO-2022-KR" },
	{ "johab", "JOHAB" },
	{ "gb2312", "GB18030" },
	{ "gb_2312-80", "GB18030" },
	{ "x-gbk", "GB18030" },
	{ "gbk", "GB18030" },
	{ "cp936", "GB18030" },
	{ "euc-cn", "GB18030" },
	{ "gb18030", "GB18030" },
	{ "iso-2022-cn", "ISO-2022-CN" },
	{ "big5", "BIG5-HKSCS" },
	{ "x-x-big5", "BIG5-HKSCS" },
	{ "cp950", "CP950" },
	{ "big5-hkscs", "BIG5-HKSCS" },
	{ "euc-tw", "EUC-TW" },
	{ "viscii", "VISCII" },
	{ "utf-7", "UTF-7" },
	{ "unicode-1-1-utf-7", "UTF-7" },
	{ "utf-16", "UTF-16" },
	{ "utf-16le", "UTF-16LE" },
	{ "utf-16be", "UTF-16BE" },
	{ "utf-32", "UTF-32" },
	{ "ucs-2", "UTF-16" },
};
#define CHARSET_COUNT (sizeof(charsets) / sizeof(charsets[0]))

static struct {
	iconv_t cd;
	bool tried;
} converters[CHARSET_COUNT]; /* of the first row that has the iconv name */
static bool preloaded;

static bool is_utf8_name(const char *charset)
{
	return strcasecmp(charset, "utf-8") == 0 || strcasecmp(charset, "utf8") == 0;
}

static bool is_ascii_name(const char *charset)
{
	return strcasecmp(charset, "us-ascii") == 0 || strcasecmp(charset, "ascii") == 0 ||
	       strcasecmp(charset, "ansi_x3.4-1968") == 0;
}

static iconv_t open_row(size_t row)
{
	size_t first = 0;

	while (strcmp(charsets[first].iconv, charsets[row].iconv) != 0)
		first++;
	if (!converters[first].tried && !preloaded) {
		converters[first].cd = iconv_open("UTF-8", charsets[row].iconv);
		converters[first].tried = true;
	}
	return converters[first].tried ? converters[first].cd : (iconv_t)-1;
}

void mime_charsets_preload(void)
{
	static const char probe[] =
	    "a\x1b$B$\"\x1b(B"; /* runs a converter, so that the modules below it are there too */
	struct buf out = BUF_INIT(4096);

	for (size_t i = 0; i < CHARSET_COUNT; i++) {
		mime_to_utf8(charsets[i].name, (struct view){ probe, sizeof(probe) - 1 }, &out);
		buf_reset(&out);
	}
	buf_free(&out);
	preloaded = true;
}

static iconv_t find_converter(const char *charset)
{
	for (size_t i = 0; i < CHARSET_COUNT; i++)
		if (strcasecmp(charset, charsets[i].name) == 0)
			return open_row(i);
	return (iconv_t)-1;
}

bool mime_charset_known(const char *charset)
{
	return is_utf8_name(charset) || is_ascii_name(charset) || find_converter(charset) != (iconv_t)-1;
}

static size_t ascii_run(struct view v)
{
	size_t i = 0;
	uint64_t w;

	while (v.len - i >= sizeof(w)) {
		memcpy(&w, v.ptr + i, sizeof(w));
		if (w & 0x8080808080808080u)
			break;
		i += sizeof(w);
	}
	while (i < v.len && (unsigned char)v.ptr[i] < 0x80)
		i++;
	return i;
}

/* Length of the longest valid start. */
static size_t utf8_run(struct view v)
{
	size_t i = 0;

	for (;;) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n;

		i += ascii_run((struct view){ v.ptr + i, v.len - i });
		if (i == v.len)
			return i;
		n = utf8proc_iterate((const utf8proc_uint8_t *)v.ptr + i, (utf8proc_ssize_t)(v.len - i), &c);
		if (n <= 0)
			return i;
		i += (size_t)n;
	}
}

bool mime_utf8_valid(struct view v)
{
	return v.len == 0 || utf8_run(v) == v.len;
}

static void utf8_repair(struct view v, struct buf *out)
{
	while (v.len > 0) {
		size_t n = utf8_run(v);

		buf_add(out, v.ptr, n);
		if (n < v.len) {
			buf_puts(out, "\xef\xbf\xbd");
			n++;
		}
		v.ptr += n;
		v.len -= n;
	}
}

static void convert(iconv_t cd, struct view in, struct buf *out)
{
	char piece[4096], *dst, *src = (char *)in.ptr;
	size_t left = in.len, room;

	iconv(cd, NULL, NULL, NULL, NULL);
	while (left > 0) {
		size_t rc;
		int why;

		dst = piece;
		room = sizeof(piece);
		rc = iconv(cd, &src, &left, &dst, &room);
		why = errno;
		if (buf_add(out, piece, sizeof(piece) - room) != 0)
			return;
		if (rc != (size_t)-1)
			break;
		if (why != E2BIG) { /* a broken byte, or the first bytes of a character at the end */
			buf_puts(out, "\xef\xbf\xbd");
			src++;
			left--;
		}
	}
	dst = piece;
	room = sizeof(piece);
	iconv(cd, NULL, NULL, &dst, &room); /* a letter that waited for a mark behind it (Hebrew, Vietnamese) */
	buf_add(out, piece, sizeof(piece) - room);
}

void mime_undeclared_to_utf8(struct view in, struct buf *out)
{
	if (mime_utf8_valid(in))
		buf_addv(out, in);
	else
		mime_to_utf8("windows-1252", in, out);
}

bool mime_to_utf8(const char *charset, struct view in, struct buf *out)
{
	iconv_t cd;

	if (in.len == 0)
		return mime_charset_known(charset);
	if (is_utf8_name(charset)) {
		utf8_repair(in, out);
		return true;
	}
	if (is_ascii_name(charset)) {
		mime_undeclared_to_utf8(in, out);
		return true;
	}
	cd = find_converter(charset);
	if (cd == (iconv_t)-1) {
		utf8_repair(in, out);
		return false;
	}
	convert(cd, in, out);
	return true;
}

void mime_utf8_put(struct buf *out, uint32_t codepoint)
{
	utf8proc_uint8_t bytes[4];
	utf8proc_ssize_t n = utf8proc_codepoint_valid((utf8proc_int32_t)codepoint)
	                         ? utf8proc_encode_char((utf8proc_int32_t)codepoint, bytes)
	                         : 0;

	if (n > 0)
		buf_add(out, bytes, (size_t)n);
}

#define FOLD_PARTS 32 /* characters that one can become */

/*
 * Folded pieces gather here, so that the buffer is not asked for every character.  A piece ends between characters: a
 * buffer that takes no more of them still holds valid UTF-8.
 */
struct folder {
	struct buf *out;
	size_t n;
	bool space; /* a run of blanks is being passed over */
	char piece[4096];
};

static void fold_byte(struct folder *f, char c)
{
	if (c == ' ' || (c >= '\t' && c <= '\r')) {
		f->space = true;
		return;
	}
	if (f->space)
		f->piece[f->n++] = ' ';
	f->space = false;
	f->piece[f->n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

#define EACH(byte) (0x0101010101010101u * (byte))

/*
 * Eight bytes at once, where they are ASCII without controls and without two blanks side by side: true, or nothing has
 * been done.  Most of all text is such.
 */
static bool fold_eight(struct folder *f, const char *p)
{
	uint64_t w, blank, upper;

	memcpy(&w, p, sizeof(w));
	if ((w & EACH(0x80)) || ((w - EACH(0x20)) & EACH(0x80)))
		return false;
	blank = w ^ EACH(' ');
	blank = ~((blank & EACH(0x7f)) + EACH(0x7f)) & EACH(0x80);
	if ((blank & blank << 8) || (f->space && p[0] == ' '))
		return false;
	upper = ((w + EACH(0x80 - 'A')) ^ (w + EACH(0x7f - 'Z'))) & EACH(0x80);
	w |= upper >> 2;
	if (f->space)
		f->piece[f->n++] = ' ';
	memcpy(f->piece + f->n, &w, sizeof(w));
	f->space = p[7] == ' ';
	f->n += f->space ? 7 : 8;
	return true;
}

/* One character that is not ASCII: its full compatibility decomposition, case-folded, without what is ignorable. */
static void fold_char(struct folder *f, utf8proc_int32_t c)
{
	utf8proc_int32_t parts[FOLD_PARTS];
	int boundary = 0;
	utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, FOLD_PARTS,
	    UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE, &boundary);

	for (utf8proc_ssize_t i = 0; i < n && i < FOLD_PARTS; i++) {
		utf8proc_uint8_t bytes[4];
		utf8proc_ssize_t len = utf8proc_encode_char(parts[i], bytes);

		for (utf8proc_ssize_t k = 0; k < len; k++)
			fold_byte(f, (char)bytes[k]);
	}
}

/*
 * NFKD with full case folding (close to i;unicode-casemap, RFC 5051): "e" is found in "é" as "e" and a mark.  Runs of
 * blanks and line ends are one space, so that text folded over lines is found.
 */
void mime_fold(struct view utf8, struct buf *out)
{
	struct folder f;
	size_t i = 0;

	f.out = out;
	f.n = 0;
	f.space = false;
	while (i < utf8.len) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n;

		if (f.n > sizeof(f.piece) - (4 * FOLD_PARTS + 1)) {
			buf_add(out, f.piece, f.n);
			f.n = 0;
		}
		if (utf8.len - i >= 8 && fold_eight(&f, utf8.ptr + i)) {
			i += 8;
			continue;
		}
		if ((unsigned char)utf8.ptr[i] < 0x80) {
			fold_byte(&f, utf8.ptr[i++]);
			continue;
		}
		n = utf8proc_iterate((const utf8proc_uint8_t *)utf8.ptr + i, (utf8proc_ssize_t)(utf8.len - i), &c);
		fold_char(&f, n > 0 ? c : 0xFFFD);
		i += n > 0 ? (size_t)n : 1;
	}
	buf_add(out, f.piece, f.n);
	if (f.space)
		buf_addc(out, ' ');
}
