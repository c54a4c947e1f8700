/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/entity.h"

#include <errno.h>
#include <string.h>

struct writer {
	char *text;
	size_t at;
	bool full;
};

/* Separators within a name become spaces: they cannot be told apart later. */
static void add(struct writer *w, const char *text)
{
	if (w->at > 0 && w->at < SONDE_ENTITY_KEY_MAX)
		w->text[w->at++] = '\t';
	for (const char *p = text ? text : ""; *p; p++) {
		if (w->at + 1 >= SONDE_ENTITY_KEY_MAX) {
			w->full = true;
			return;
		}
		w->text[w->at++] = (unsigned char)*p < 0x20 ? ' ' : *p;
	}
}

static const char *side_name(enum sonde_mal_side side)
{
	return side == SONDE_MAL_SERVER ? "server" : side == SONDE_MAL_PROXY ? "proxy" : "client";
}

int sonde_entity_key(const struct sonde_mal_entity *e, char ret[static SONDE_ENTITY_KEY_MAX])
{
	struct writer w = {.text = ret};

	add(&w, sonde_mal_scope_name(e->scope));
	switch (e->scope) {
	case SONDE_MAL_SCOPE_PROCESS_RELATION:
		add(&w, e->source_process);
		add(&w, e->dest_process);
		add(&w, side_name(e->side));
		break;
	case SONDE_MAL_SCOPE_SERVICE_RELATION:
	case SONDE_MAL_SCOPE_INSTANCE_RELATION:
		add(&w, e->source_service);
		add(&w, e->source_instance);
		add(&w, e->dest_service);
		add(&w, e->dest_instance);
		add(&w, side_name(e->side));
		break;
	default:
		add(&w, e->service);
		add(&w, e->instance);
		add(&w, e->endpoint);
		add(&w, e->process);
		break;
	}
	if (w.full || w.at >= SONDE_ENTITY_KEY_MAX)
		return -E2BIG;
	ret[w.at] = '\0';
	return 0;
}

void sonde_entity_split(const char *key, struct sonde_entity_parts *ret)
{
	size_t n = strnlen(key, sizeof(ret->text) - 1);
	char *at = ret->text;

	memcpy(ret->text, key, n);
	ret->text[n] = '\0';
	for (size_t i = 0; i < SONDE_ENTITY_PARTS; i++)
		ret->part[i] = "";
	for (ret->n = 0; ret->n < SONDE_ENTITY_PARTS && at;) {
		char *end = strchr(at, '\t');

		ret->part[ret->n++] = at;
		if (end)
			*end++ = '\0';
		at = end;
	}
}

bool sonde_entity_is_process_relation(const struct sonde_entity_parts *p)
{
	return p->n == 4 && strcmp(p->part[0], "PROCESS_RELATION") == 0;
}
