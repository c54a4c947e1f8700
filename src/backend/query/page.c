/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/page.h"

#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/store/ids.h"
#include "base/num.h"

#define CURSOR_MAX 17 /* 8 bytes of hex, with NUL */

static int name_row(const json_t *row, const char *const *keys, char ret[static CURSOR_MAX])
{
	_cleanup_json_ json_t *own = json_array();
	_cleanup_free_ char *text = NULL;
	int r = own ? 0 : -ENOMEM;

	for (; *keys && r == 0; keys++) {
		json_t *member = json_object_get(row, *keys);

		r = json_array_append(own, member ? member : json_null()) < 0 ? -ENOMEM : 0;
	}
	if (r < 0)
		return r;
	text = json_dumps(own, JSON_COMPACT | JSON_SORT_KEYS);
	return text ? sonde_id_digest(text, strlen(text), 8, ret) : -ENOMEM;
}

/* Index behind the row that @cursor names. Return: 0, -ENOENT, -errno. */
static int find(const json_t *list, const char *const *keys, const char *cursor, size_t *ret)
{
	char name[CURSOR_MAX];
	int r;

	for (size_t i = 0; i < json_array_size(list); i++) {
		r = name_row(json_array_get(list, i), keys, name);
		if (r < 0)
			return r;
		if (strcmp(name, cursor) == 0) {
			*ret = i + 1;
			return 0;
		}
	}
	return -ENOENT;
}

/* Keeps @n rows from @at. */
static int keep(json_t *list, size_t at, size_t n)
{
	_cleanup_json_ json_t *page = json_array();
	int r = page ? 0 : -ENOMEM;

	for (size_t i = at; i < at + n && r == 0; i++)
		r = json_array_append(page, json_array_get(list, i)) < 0 ? -ENOMEM : 0;
	if (r < 0 || json_array_clear(list) < 0)
		return -ENOMEM;
	return json_array_extend(list, page) < 0 ? -ENOMEM : 0;
}

int sonde_page_cut(json_t *list, const char *const *keys, const struct sonde_page *page,
		   json_t **ret_next, struct sonde_problem *problem)
{
	size_t at = 0, n = json_array_size(list);
	char next[CURSOR_MAX] = "";
	uint64_t limit = n;
	int r;

	if (page->limit && page->limit[0] != '\0' &&
	    sonde_parse_u64(page->limit, 1, SONDE_PAGE_LIMIT_MAX, &limit) < 0)
		return sonde_problem_set(problem, 400, "limit", "limit: must be 1 to %d",
					 SONDE_PAGE_LIMIT_MAX);
	if (page->cursor && page->cursor[0] != '\0') {
		r = find(list, keys, page->cursor, &at);
		if (r == -ENOENT)
			return sonde_problem_set(problem, 400, "cursor",
						 "cursor: not the `next` of an answer to the same "
						 "question, or that row is gone");
		if (r < 0)
			return r;
	}
	n -= at;
	if (limit < n) {
		n = (size_t)limit;
		r = name_row(json_array_get(list, at + n - 1), keys, next);
		if (r < 0)
			return r;
	}
	if (n < json_array_size(list)) {
		r = keep(list, at, n);
		if (r < 0)
			return r;
	}
	*ret_next = next[0] ? json_string(next) : json_null();
	return *ret_next ? 0 : -ENOMEM;
}
