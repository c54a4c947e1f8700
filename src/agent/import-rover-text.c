/* SPDX-License-Identifier: Apache-2.0 */
/* Values in, YAML out. */
#include <assert.h>
#include <string.h>

#include "agent/import-rover-internal.h"
#include "base/utf8.h"

#define VALUE_MAX SONDE_IMPORT_VALUE_MAX

const struct sonde_yaml_node *sonde_import_node(const struct sonde_import *im, const char *path)
{
	const struct sonde_yaml_node *n = im->root;
	char part[SONDE_CONFIG_KEY_MAX];

	while (n && *path) {
		size_t len = strcspn(path, ".");

		(void)snprintf(part, sizeof(part), "%.*s", (int)len, path);
		n = sonde_yaml_get(n, part);
		path += len + (path[len] == '.');
	}
	return n;
}

static const char *variable(const struct sonde_import *im, const char *name, size_t n)
{
	for (char *const *v = im->environ; v && *v; v++) {
		if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
			return *v + n + 1;
	}
	return NULL;
}

/* "${NAME:default}": the last brace of the text ends it, so that a default may have some of its own. */
static void fill_in(const struct sonde_import *im, const char *text, char dst[VALUE_MAX])
{
	const char *begin = strstr(text, "${"), *end = strrchr(text, '}'), *name, *value;
	size_t n, rest;

	(void)snprintf(dst, VALUE_MAX, "%s", text);
	if (!begin || !end || end < begin)
		return;
	name = begin + 2;
	n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
	if (n == 0 || name[n] != ':')
		return;
	value = variable(im, name, n);
	rest = (size_t)(end - name) - n - 1;
	if (value)
		(void)snprintf(dst, VALUE_MAX, "%.*s%s%s", (int)(begin - text), text, value,
			       end + 1);
	else
		(void)snprintf(dst, VALUE_MAX, "%.*s%.*s%s", (int)(begin - text), text, (int)rest,
			       name + n + 1, end + 1);
}

/* Rover reads what it filled in as YAML once more: `${X:"client.pem"}`. */
static void unquote(char text[VALUE_MAX])
{
	size_t n = strlen(text);

	if (n < 2 || (text[0] != '"' && text[0] != '\'') || text[n - 1] != text[0])
		return;
	memmove(text, text + 1, n - 2);
	text[n - 2] = '\0';
}

bool sonde_import_is_cut(const char text[VALUE_MAX])
{
	return strnlen(text, VALUE_MAX) == VALUE_MAX - 1;
}

bool sonde_import_text(const struct sonde_import *im, const struct sonde_yaml_node *n,
		       char dst[VALUE_MAX])
{
	if (!n || n->kind != SONDE_YAML_SCALAR)
		return false;
	fill_in(im, n->text, dst);
	if (!sonde_import_is_cut(dst))
		unquote(dst);
	return dst[0] != '\0';
}

bool sonde_import_value(const struct sonde_import *im, const char *path, const char *env,
			char dst[VALUE_MAX])
{
	const struct sonde_yaml_node *n = sonde_import_node(im, path);
	const char *value;

	if (n)
		return sonde_import_text(im, n, dst);
	value = env ? variable(im, env, strlen(env)) : NULL;
	if (!value || !value[0])
		return false;
	(void)snprintf(dst, VALUE_MAX, "%s", value);
	return true;
}

static bool is_plain(const char *text)
{
	static const char bytes[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";

	return text[0] && text[0] != '-' && text[0] != '.' && strspn(text, bytes) == strlen(text) &&
	       strcmp(text, "null") != 0;
}

/* May stand in YAML: no control, no byte order mark, nothing that is no character. @n: bytes of it. */
static bool is_printable(const char *p, size_t n)
{
	const unsigned char *c = (const unsigned char *)p;

	if (n == 1)
		return c[0] >= 0x20 && c[0] != 0x7f;
	if (n == 2 && c[0] == 0xc2)
		return c[1] >= 0xa0;
	if (n == 3 && c[0] == 0xef && (c[1] == 0xbb || c[1] == 0xbf))
		return c[2] < (c[1] == 0xbb ? 0xbf : 0xbe);
	return n > 0;
}

/* @quoted: a quote is doubled. */
static void print_bytes(FILE *out, const char *text, bool quoted)
{
	size_t left = strlen(text);

	while (left > 0) {
		size_t n = sonde_utf8_length(text, left);

		if (is_printable(text, n)) {
			if (quoted && *text == '\'')
				(void)fputc('\'', out);
			(void)fwrite(text, 1, n, out);
		} else {
			(void)fputc('?', out);
		}
		n = n ? n : 1;
		text += n;
		left -= n;
	}
}

void sonde_import_print_text(FILE *out, const char *text)
{
	if (is_plain(text)) {
		(void)fputs(text, out);
		return;
	}
	(void)fputc('\'', out);
	print_bytes(out, text, true);
	(void)fputc('\'', out);
}

/* Bytes of the mappings that both keys stand in, with the dot. */
static size_t shared(const char *a, const char *b)
{
	size_t n = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
		if (a[i] == '.')
			n = i + 1;
	}
	return n;
}

void sonde_import_print_key(struct sonde_import *im, const char *key, const char *value)
{
	size_t at = shared(im->last, key), depth = 0;
	const char *dot;

	for (size_t i = 0; i < at; i++)
		depth += key[i] == '.';
	while ((dot = strchr(key + at, '.'))) {
		(void)fprintf(im->out, "%*s%.*s:\n", (int)(2 * depth), "",
			      (int)(dot - key - (ptrdiff_t)at), key + at);
		at = (size_t)(dot - key) + 1;
		depth++;
	}
	(void)fprintf(im->out, "%*s%s:%s", (int)(2 * depth), "", key + at, value ? " " : "\n");
	if (value) {
		sonde_import_print_text(im->out, value);
		(void)fputc('\n', im->out);
	}
	(void)snprintf(im->last, sizeof(im->last), "%s", key);
}

static void print_line(FILE *out, const char *before, const char *from, const char *text,
		       const char *reason)
{
	(void)fputs(before, out);
	print_bytes(out, from, false);
	if (text[0]) {
		(void)fputs(": ", out);
		sonde_import_print_text(out, text);
	}
	(void)fputs(" (", out);
	print_bytes(out, reason, false);
	(void)fputs(")\n", out);
}

void sonde_import_leave_out(struct sonde_import *im, const char *from, const char *text,
			    const char *reason, bool quiet)
{
	assert(im && from && text && reason);

	print_line(im->notes, "#   ", from, text, reason);
	if (!quiet)
		print_line(im->words, "not taken: ", from, text, reason);
}
