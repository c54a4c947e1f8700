/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Entities of a family: names as interned ids, and the samples that are left to each. Folder-private. */

#include "mal/family.h"
#include "mal/run.h"

struct mal_entity {
	uint32_t id; /* of one entity call: equal entities have the same */
	enum sonde_mal_scope scope;
	enum sonde_mal_side side;
	int32_t component;
	/* MAL_STR_NULL where the scope has none */
	uint32_t service, instance, endpoint, process;
	uint32_t source_service, source_instance, source_process;
	uint32_t dest_service, dest_instance, dest_process;
	uint32_t layer;
	uint32_t attributes[6];
	const struct sonde_mal_entity *shown;  /* the same as text */
	const struct mal_set *properties;      /* never NULL */
	const struct mal_set *same_properties; /* one for all that are equal as maps */
};

struct mal_entity_group {
	const struct mal_entity *entity;
	const struct mal_sample *v;
	size_t n;
};

struct mal_eval;

/* Makes e->shown anew, in @arena. */
int mal_entity_show(struct mal_eval *ev, struct mal_arena *arena,
		    struct mal_entity *e) _must_check_;

/* What an entity call made of label sets so far: of one evaluation, or of a run where rules share the call. */
struct mal_entities;

/* The layer of OAP's own that one of this name and ordinal can't stand beside. NULL: it can, or is the same. */
const char *mal_layer_clash(const char *name, int32_t ordinal, bool normal);

/* The layer's own name where it is one, else "UNDEFINED". @extra: NULL-ended, may be NULL. */
const char *mal_layer_name(const char *name, const char *const *extra);
