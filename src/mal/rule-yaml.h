/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML of a rule file, and the way back: from a byte of a scalar's value to its line and column in the
 * file, whatever style the scalar is written in. Folder-private.
 */

#include <stdbool.h>

#include <stdint.h>
#include <yaml.h>

#include "base/cleanup.h"

struct mal_yaml {
	const char *text; /* borrowed */
	size_t len;
	yaml_document_t document; /* owned where loaded */
	bool loaded;
	uint32_t *lines; /* owned; where each line begins. NULL: not asked for yet */
	size_t n_lines;
};

struct mal_place {
	unsigned line, column; /* from 1 */
};

/*
 * Return: 0; -EBADMSG with @ret_place and @message filled; -ENOMEM. An empty text has no root node.
 */
int mal_yaml_load(struct mal_yaml *y, const char *text, size_t len, struct mal_place *ret_place,
		  char *message, size_t size) _must_check_;
void mal_yaml_done(struct mal_yaml *y);

yaml_node_t *mal_yaml_root(struct mal_yaml *y);
yaml_node_t *mal_yaml_node(struct mal_yaml *y, int id);

struct mal_place mal_yaml_place(const yaml_node_t *n);

/* Of byte @offset of the scalar's value. */
struct mal_place mal_yaml_inside(struct mal_yaml *y, const yaml_node_t *scalar, size_t offset);

bool mal_yaml_is(const yaml_node_t *scalar, const char *text);
