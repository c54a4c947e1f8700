/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Page: a part of a list that is whole in memory. A cursor names the row that a page begins behind, by what tells it
 * from the others, so that rows which come or go meanwhile neither shift nor repeat any. Pure.
 */

#include <jansson.h>

#include "backend/problem.h"

#define SONDE_PAGE_LIMIT_MAX 100000

/* As text; NULL: not given. Borrowed. */
struct sonde_page {
	const char *limit, *cursor;
};

/*
 * sonde_page_cut() - leave in @list one page
 * @keys: members that together are a row's own, NULL-ended
 * *@ret_next: cursor of the following page, null behind the last; to be freed
 * Return: 0, -EINVAL with @problem filled (no such limit; the cursor's row is not there), -ENOMEM, -EIO.
 */
int sonde_page_cut(json_t *list, const char *const *keys, const struct sonde_page *page,
		   json_t **ret_next, struct sonde_problem *problem) _must_check_;
