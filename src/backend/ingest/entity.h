/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Entity key: what a series is about, as one line of text. Made from a rule's entity, taken apart by the queries. */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "mal/run.h"

#define SONDE_ENTITY_KEY_MAX 1536
#define SONDE_ENTITY_PARTS 8

/* "PROCESS_RELATION\tSOURCE\tDEST\tside", "SERVICE\tname", … Return: 0, -E2BIG. */
int sonde_entity_key(const struct sonde_mal_entity *e,
		     char ret[static SONDE_ENTITY_KEY_MAX]) _must_check_;

struct sonde_entity_parts {
	char text[SONDE_ENTITY_KEY_MAX];
	const char *part[SONDE_ENTITY_PARTS]; /* "" where there is none */
	size_t n;
};
void sonde_entity_split(const char *key, struct sonde_entity_parts *ret);

/* Is this a relation between two processes? Then source and dest are ids and side is "client" or "server". */
bool sonde_entity_is_process_relation(const struct sonde_entity_parts *p);
