/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/oap/names.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#include "backend/json.h"

#define MINUTE_MS (60LL * 1000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

/* @n characters of @text. Standard alphabet, padded. */
static int base64_name(const char *text, size_t n, char ret[static SONDE_REGISTRY_NAME_MAX])
{
	unsigned char out[SONDE_REGISTRY_NAME_MAX + 4];
	size_t len;

	if (n == 0 || n % 4 != 0 || n / 4 * 3 > sizeof(out))
		return -EINVAL;
	if (EVP_DecodeBlock(out, (const unsigned char *)text, (int)n) < 0)
		return -EINVAL;
	len = n / 4 * 3 - (text[n - 1] == '=') - (text[n - 2] == '=');
	if (len == 0 || len >= SONDE_REGISTRY_NAME_MAX || memchr(out, '\0', len))
		return -EINVAL;
	memcpy(ret, out, len);
	ret[len] = '\0';
	return 0;
}

int graphql_names_from_id(const char *id, struct graphql_names *ret)
{
	size_t n = strcspn(id, ".");

	ret->instance[0] = '\0';
	if (base64_name(id, n, ret->service) < 0 || strncmp(id + n, ".1", 2) != 0)
		return -EINVAL;
	id += n + 2;
	if (id[0] == '\0')
		return 0;
	return id[0] == '_' ? base64_name(id + 1, strlen(id + 1), ret->instance) : -EINVAL;
}

/* strptime(3) takes white space and signs where none may be. */
static bool has_form(const char *text, const char *form)
{
	size_t n = strlen(form);

	if (strlen(text) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (form[i] == '9' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	}
	return true;
}

struct step {
	const char *name, *form, *format;
	int64_t unit_ms, step_ms;
};

static const struct step steps[] = {
	{"MINUTE", "9999-99-99 9999", "%Y-%m-%d %H%M", MINUTE_MS, MINUTE_MS},
	{"HOUR", "9999-99-99 99", "%Y-%m-%d %H", HOUR_MS, HOUR_MS},
	{"DAY", "9999-99-99", "%Y-%m-%d", DAY_MS, DAY_MS},
	{"SECOND", "9999-99-99 999999", "%Y-%m-%d %H%M%S", 1000, MINUTE_MS},
	{"MONTH", "9999-99", "%Y-%m", 0, DAY_MS},
};

/* @end: the first moment behind the one that is written. */
static int parse_time(const struct step *s, const char *text, bool end, int64_t *ret)
{
	struct tm tm = {.tm_mday = 1};
	const char *rest;

	if (!has_form(text, s->form))
		return -EINVAL;
	rest = strptime(text, s->format, &tm);
	if (!rest || *rest != '\0')
		return -EINVAL;
	if (end && s->unit_ms == 0)
		tm.tm_mon++; /* timegm() carries */
	*ret = (int64_t)timegm(&tm) * 1000 + (end ? s->unit_ms : 0);
	return 0;
}

int graphql_window_parse(const json_t *duration, struct graphql_window *ret)
{
	const char *name = sonde_json_get_text(duration, "step", "");
	struct graphql_window w = {0};

	for (size_t i = 0; i < ELEMENTS_OF(steps); i++) {
		const struct step *s = &steps[i];

		if (strcmp(s->name, name) != 0)
			continue;
		w.step_ms = s->step_ms;
		if (parse_time(s, sonde_json_get_text(duration, "start", ""), false, &w.start_ms) <
			    0 ||
		    parse_time(s, sonde_json_get_text(duration, "end", ""), true, &w.end_ms) < 0)
			return -EINVAL;
		w.start_ms -= w.start_ms % w.step_ms;
		if (w.start_ms < 0 || w.end_ms <= w.start_ms)
			return -EINVAL;
		*ret = w;
		return 0;
	}
	return -EINVAL;
}
