/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/exposition.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backend/json.h"

static const char openmetrics_type[] = "application/openmetrics-text";

const char *sonde_exposition_content_type(bool openmetrics)
{
	return openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			   : "text/plain; version=0.0.4; charset=utf-8";
}

/* "0.75" in thousandths; what is none counts as 1. */
static int quality(const char *parameters, size_t n)
{
	const char *end = parameters + n, *at = parameters;
	int q = 0, digit = 100;

	for (; at < end; at++) {
		const char *p = at + 1;

		if (*at != ';')
			continue;
		while (p < end && *p == ' ')
			p++;
		if (end - p < 3 || strncasecmp(p, "q=", 2) != 0)
			continue;
		if (p[2] != '0')
			return 1000;
		for (p += 3; p < end && digit > 0; p++) {
			if (isdigit((unsigned char)*p)) {
				q += (*p - '0') * digit;
				digit /= 10;
			} else if (*p != '.') {
				break;
			}
		}
		return q;
	}
	return 1000;
}

static bool is_type(const char *item, size_t n, const char *type)
{
	size_t len = strlen(type);

	return n >= len && strncasecmp(item, type, len) == 0 &&
	       (n == len || item[len] == ';' || item[len] == ' ');
}

/* How much each is wanted: the most exact range that names it decides. */
struct wish {
	int exactness, q;
};

static void consider(struct wish *w, const char *item, size_t n, const char *type,
		     const char *range)
{
	int exactness = 0;

	if (is_type(item, n, type))
		exactness = 3;
	else if (is_type(item, n, range))
		exactness = 2;
	else if (is_type(item, n, "*/*"))
		exactness = 1;
	if (exactness > w->exactness)
		*w = (struct wish){exactness, quality(item, n)};
	else if (exactness > 0 && exactness == w->exactness && quality(item, n) > w->q)
		w->q = quality(item, n);
}

int sonde_exposition_negotiate(const char *accept, bool otherwise, bool *ret_openmetrics)
{
	struct wish open = {0}, plain = {0};

	for (const char *at = accept; at && *at;) {
		size_t n = strcspn(at, ",");

		while (n > 0 && (*at == ' ' || *at == '\t')) {
			at++;
			n--;
		}
		consider(&open, at, n, openmetrics_type, "application/*");
		consider(&plain, at, n, "text/plain", "text/*");
		at += n + (at[n] == ',');
	}
	if (accept && *accept && open.q == 0 && plain.q == 0)
		return -EOPNOTSUPP;
	*ret_openmetrics = open.q == plain.q ? otherwise : open.q > plain.q;
	return 0;
}

void sonde_exposition_init(struct sonde_exposition *e, bool openmetrics, size_t max_bytes)
{
	*e = (struct sonde_exposition){.openmetrics = openmetrics};
	e->out = SONDE_BUF_INIT(max_bytes);
}

void sonde_exposition_done(struct sonde_exposition *e)
{
	sonde_buf_done(&e->out);
}

static void note(struct sonde_exposition *e, int r)
{
	if (r < 0 && e->error == 0)
		e->error = r;
}

static void make_name(const char *text, bool colon, char ret[static SONDE_EXPOSITION_NAME_MAX])
{
	size_t at = 0;

	if (!isalpha((unsigned char)text[0]) && text[0] != '_')
		ret[at++] = '_';
	for (; *text && at < SONDE_EXPOSITION_NAME_MAX - 1; text++) {
		bool good = (isalnum((unsigned char)*text) && (unsigned char)*text < 0x80) ||
			    *text == '_' || (colon && *text == ':');

		ret[at++] = *text;
		if (!good)
			ret[at - 1] = '_';
	}
	ret[at] = '\0';
}

/* Bytes that are no UTF-8 are replaced; what would end the text is escaped. */
static int append_escaped(struct sonde_buf *out, const char *text, bool quotes)
{
	_cleanup_json_ json_t *valid = sonde_json_text(text);
	int r = valid ? 0 : -ENOMEM;

	for (const char *p = valid ? json_string_value(valid) : ""; *p && r == 0; p++) {
		if (*p == '\\')
			r = sonde_buf_append(out, "\\\\", 2);
		else if (*p == '\n')
			r = sonde_buf_append(out, "\\n", 2);
		else if (*p == '"' && quotes)
			r = sonde_buf_append(out, "\\\"", 2);
		else
			r = sonde_buf_append(out, p, 1);
	}
	return r;
}

static const char *type_name(enum sonde_exposition_type type)
{
	static const char *const names[] = {"counter", "gauge", "histogram"};

	static_assert(ELEMENTS_OF(names) == _SONDE_EXPOSITION_TYPE_MAX, "a name for each");
	return names[type];
}

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

void sonde_exposition_family(struct sonde_exposition *e, const char *name,
			     enum sonde_exposition_type type, const char *unit, const char *help)
{
	const char *total = "";

	make_name(name, true, e->family);
	e->type = type;
	if (type == SONDE_EXPOSITION_COUNTER) {
		if (ends_in(e->family, "_total"))
			e->family[strlen(e->family) - 6] = '\0';
		total = e->openmetrics ? "" : "_total";
	}
	if (help) {
		note(e, sonde_buf_printf(&e->out, "# HELP %s%s ", e->family, total));
		note(e, append_escaped(&e->out, help, e->openmetrics));
		note(e, sonde_buf_append(&e->out, "\n", 1));
	}
	note(e, sonde_buf_printf(&e->out, "# TYPE %s%s %s\n", e->family, total, type_name(type)));
	/* OpenMetrics has a unit only where the name ends in it. */
	if (e->openmetrics && unit && ends_in(e->family, unit) &&
	    e->family[strlen(e->family) - strlen(unit) - 1] == '_')
		note(e, sonde_buf_printf(&e->out, "# UNIT %s %s\n", e->family, unit));
}

static bool has_label(const struct sonde_exposition_labels *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->label[i].name, name) == 0)
			return true;
	}
	return false;
}

int sonde_exposition_label(struct sonde_exposition_labels *l, const char *name, const char *value)
{
	char made[SONDE_EXPOSITION_NAME_MAX], other[SONDE_EXPOSITION_NAME_MAX];

	if (l->n == SONDE_EXPOSITION_LABELS_MAX)
		return -ENOSPC;
	make_name(name, false, made);
	/* Two underscores before a name are Prometheus' own, and `le` is a histogram's. */
	if (has_label(l, made) || strncmp(made, "__", 2) == 0 || strcmp(made, "le") == 0) {
		(void)snprintf(other, sizeof(other), "exported_%.*s", (int)sizeof(other) - 10,
			       made);
		if (has_label(l, other))
			return -EEXIST;
		memcpy(made, other, sizeof(made));
	}
	memcpy(l->label[l->n].name, made, sizeof(made));
	l->label[l->n++].value = value;
	return 0;
}

int sonde_exposition_render(const struct sonde_exposition_labels *l, struct sonde_buf *out)
{
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++) {
		r = sonde_buf_printf(out, "%s%s=\"", i ? "," : "{", l->label[i].name);
		if (r == 0)
			r = append_escaped(out, l->label[i].value, true);
		if (r == 0)
			r = sonde_buf_append(out, "\"", 1);
	}
	if (r == 0 && l->n > 0)
		r = sonde_buf_append(out, "}", 1);
	return r;
}

static const char *suffix_of(const struct sonde_exposition *e, const char *suffix)
{
	return e->type == SONDE_EXPOSITION_COUNTER ? "_total" : suffix;
}

void sonde_exposition_int(struct sonde_exposition *e, const char *suffix, const char *labels,
			  int64_t value)
{
	note(e, sonde_buf_printf(&e->out, "%s%s%s %" PRId64 "\n", e->family, suffix_of(e, suffix),
				 labels ? labels : "", value));
	e->samples++;
}

void sonde_exposition_seconds(struct sonde_exposition *e, const char *suffix, const char *labels,
			      uint64_t ns)
{
	note(e, sonde_buf_printf(&e->out, "%s%s%s %" PRIu64 ".%09" PRIu64 "\n", e->family,
				 suffix_of(e, suffix), labels ? labels : "", ns / 1000000000,
				 ns % 1000000000));
	e->samples++;
}

void sonde_exposition_bucket(struct sonde_exposition *e, const char *labels, const char *le,
			     uint64_t count)
{
	size_t n = labels ? strlen(labels) : 0;

	if (n > 0)
		n--; /* the brace, behind what is there */
	note(e, sonde_buf_printf(&e->out, "%s_bucket%.*s%sle=\"%s\"} %" PRIu64 "\n", e->family,
				 (int)n, labels ? labels : "", n ? "," : "{", le, count));
	e->samples++;
}

int sonde_exposition_finish(struct sonde_exposition *e, char **ret)
{
	char *text;

	if (e->openmetrics)
		note(e, sonde_buf_append(&e->out, "# EOF\n", 6));
	if (e->error < 0)
		return e->error;
	text = strdup(sonde_buf_str(&e->out));
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}
