/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Jsonpath: the part of kubectl's templates that people type: text, and in braces a path of .name, ['name'],
 * [n] (from the end if negative), [*] and .*, or a "text". What else there is (range, filters, slices, ..) is
 * refused with words. A member that is not there gives nothing, as with kubectl.
 */

#include <jansson.h>

#include "base/buf.h"

#define SONDE_JSONPATH_TEXT_MAX 4096	 /* bytes of a template */
#define SONDE_JSONPATH_STEPS_MAX 64	 /* of one path */
#define SONDE_JSONPATH_FOUND_MAX 1000000 /* values of one path */

/*
 * Is @text a template? @ret_words: what is wrong, static or from @text's offset; on -EINVAL only, to be freed.
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sonde_jsonpath_check(const char *text, char **ret_words) _must_check_;

/*
 * Appends what @text gives of @root: strings bare and escaped (term.h), else JSON; several values of one path with a blank between. @items:
 * the member of @root that `.items` stands for when it has none of that name; NULL = none.
 * Strings come as they are: a terminal is the caller's concern. Return: 0, -EINVAL, -EMSGSIZE, -ENOMEM.
 */
int sonde_jsonpath_eval(const char *text, const json_t *root, const char *items,
			struct sonde_buf *out) _must_check_;
