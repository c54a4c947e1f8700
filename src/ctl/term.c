/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/term.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

const char *sonde_style_start(enum sonde_style style)
{
	static const char *const codes[] = {
		[SONDE_STYLE_NONE] = "",	  [SONDE_STYLE_BOLD] = "\033[1m",
		[SONDE_STYLE_DIM] = "\033[2m",	  [SONDE_STYLE_RED] = "\033[31m",
		[SONDE_STYLE_GREEN] = "\033[32m", [SONDE_STYLE_YELLOW] = "\033[33m",
	};
	_Static_assert(ELEMENTS_OF(codes) == _SONDE_STYLE_MAX, "a code for each style");

	return codes[style];
}

/* One character of UTF-8. Return: its bytes, 0 = none (truncated, overlong, surrogate, too large). */
static size_t decode(const char *text, size_t len, uint32_t *ret)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)text;
	uint32_t c;
	size_t n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80) {
		*ret = p[0];
		return 1;
	}
	if ((p[0] & 0xe0) == 0xc0)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if ((p[0] & 0xf8) == 0xf0)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	c = p[0] & (0xffU >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return n;
}

/* Would the character move the cursor, hide text or turn its direction? */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

int sonde_term_escape(const char *text, size_t len, struct sonde_buf *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len;) {
		uint32_t c;
		size_t n = decode(text + i, len - i, &c);

		if (n == 0) {
			r = sonde_buf_printf(out, "\\x%02x", (unsigned char)text[i]);
			n = 1;
		} else if (!is_unsafe(c)) {
			r = sonde_buf_append(out, text + i, n);
		} else if (c == '\n' || c == '\t') {
			r = sonde_buf_append(out, c == '\n' ? "\\n" : "\\t", 2);
		} else if (c < 0x80) {
			r = sonde_buf_printf(out, "\\x%02x", c);
		} else {
			r = sonde_buf_printf(out, "\\u{%04x}", c);
		}
		i += n;
	}
	return r;
}

static void print_escape(const char *text, size_t n, uint32_t c, FILE *out)
{
	if (n == 0 || c < 0x80)
		(void)fprintf(out, "\\x%02x", (unsigned char)*text);
	else
		(void)fprintf(out, "\\u{%04x}", c);
}

void sonde_term_print(const char *text, size_t len, FILE *out)
{
	for (size_t i = 0; i < len;) {
		uint32_t c = 0;
		size_t n = decode(text + i, len - i, &c);

		if (n > 0 && (!is_unsafe(c) || c == '\n' || c == '\t'))
			(void)fwrite(text + i, 1, n, out);
		else
			print_escape(text + i, n, c, out);
		i += n == 0 ? 1 : n;
	}
}

void sonde_term_print_json(const char *text, size_t len, FILE *out)
{
	for (size_t i = 0; i < len;) {
		uint32_t c = 0;
		size_t n = decode(text + i, len - i, &c);

		if (n == 0) /* no JSON: the byte is lost, the terminal is not */
			(void)fputs("\\ufffd", out);
		else if (c == '\r')
			(void)fputc(' ', out);
		else if (!is_unsafe(c) || c == '\n' || c == '\t')
			(void)fwrite(text + i, 1, n, out);
		else if (c < 0x10000)
			(void)fprintf(out, "\\u%04x", c);
		else
			(void)fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
				      0xdc00 + ((c - 0x10000) & 0x3ff));
		i += n == 0 ? 1 : n;
	}
}

static size_t columns_of(uint32_t c)
{
	int w = wcwidth((wchar_t)c);

	return w < 0 ? 1 : (size_t)w;
}

size_t sonde_term_width(const char *text)
{
	size_t len = strlen(text), width = 0;

	for (size_t i = 0; i < len;) {
		uint32_t c;
		size_t n = decode(text + i, len - i, &c);

		width += n == 0 ? 1 : columns_of(c);
		i += n == 0 ? 1 : n;
	}
	return width;
}

size_t sonde_term_fit(const char *text, size_t columns)
{
	size_t len = strlen(text), width = 0, i = 0;

	while (i < len) {
		uint32_t c;
		size_t n = decode(text + i, len - i, &c);

		width += n == 0 ? 1 : columns_of(c);
		if (width > columns)
			break;
		i += n == 0 ? 1 : n;
	}
	return i;
}
