/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Entities of a family: names as interned ids, and the samples that are left to each. Folder-private. */

#include "mal/family.h"
#include "mal/run.h"

struct mal_entity {
	enum sonde_mal_scope scope;
	enum sonde_mal_side side;
	int32_t component;
	/* MAL_STR_NULL where the scope has none */
	uint32_t service, instance, endpoint, process;
	uint32_t source_service, source_instance, source_process;
	uint32_t dest_service, dest_instance, dest_process;
	uint32_t layer;
	uint32_t attributes[6];
	const struct mal_pair *properties;
	size_t n_properties;
};

struct mal_entity_group {
	struct mal_entity entity;
	const struct mal_sample *v;
	size_t n;
};

/* The layer's own name where it is one, else "UNDEFINED". @extra: NULL-ended, may be NULL. */
const char *mal_layer_name(const char *name, const char *const *extra);
