/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/walk.h"

#include <string.h>

struct walk {
	struct sonde_registry *registry;
	struct sonde_walk_value value;
	struct sonde_entity_parts entity;
	struct sonde_labels labels;
	char client_node[SONDE_NODE_ID_MAX], server_node[SONDE_NODE_ID_MAX];
	char edge[SONDE_EDGE_ID_MAX];
	/* The buckets of a histogram have one key: it is taken apart, and its edge found, once. */
	char key[sizeof(((struct sonde_labels *)NULL)->text)];
	bool known;
	sonde_walk_fn fn;
	void *ctx;
};

bool sonde_walk_is_of(const struct sonde_walk_value *v, const char *edge, const char *side)
{
	return v->is_edge && v->edge[0] != '\0' && (!edge || strcmp(v->edge, edge) == 0) &&
	       (!side || strcmp(v->side, side) == 0);
}

static void begin(struct walk *w, struct sonde_registry *r, const struct sonde_series *s,
		  sonde_walk_fn fn, void *ctx)
{
	struct sonde_walk_value *v = &w->value;

	w->registry = r;
	w->known = false;
	w->fn = fn;
	w->ctx = ctx;
	sonde_entity_split(s->entity, &w->entity);
	*v = (struct sonde_walk_value){
		.series = s,
		.entity = &w->entity,
		.labels = &w->labels,
		.client = "",
		.server = "",
		.side = "",
		.client_node = "",
		.server_node = "",
		.port = "",
		.protocol = "",
		.edge = "",
	};
	if (!sonde_entity_is_process_relation(&w->entity))
		return;
	v->is_edge = true;
	v->client = w->entity.part[1];
	v->server = w->entity.part[2];
	v->side = w->entity.part[3];
	sonde_node_id(r, v->client, w->client_node);
	sonde_node_id(r, v->server, w->server_node);
	v->client_node = w->client_node;
	v->server_node = w->server_node;
}

static void take_key(struct walk *w, const char *key)
{
	struct sonde_walk_value *v = &w->value;
	size_t n = strlen(key);

	sonde_labels_parse(key, &w->labels);
	v->port = sonde_labels_get(&w->labels, "server_port");
	v->protocol = sonde_labels_get(&w->labels, "protocol");
	if (v->is_edge)
		v->edge = sonde_edge_id(w->client_node, w->server_node, v->port, v->protocol,
					w->edge) == 0
				  ? w->edge
				  : "";
	w->known = n < sizeof(w->key);
	if (w->known)
		memcpy(w->key, key, n + 1);
}

static int give(struct walk *w, const char *key, int64_t bucket, int64_t value, int64_t nearest)
{
	struct sonde_walk_value *v = &w->value;

	if (!w->known || strcmp(w->key, key) != 0)
		take_key(w, key);
	v->bucket = bucket;
	v->value = value;
	v->nearest = nearest;
	return w->fn(w->ctx, v);
}

static int on_result(void *ctx, const struct sonde_mal_result *r)
{
	return give(ctx, r->key ? r->key : "", r->bucket, r->value,
		    r->rank != 0 ? r->nearest : r->value);
}

static int on_total(void *ctx, const struct sonde_mal_total *t)
{
	return give(ctx, t->key ? t->key : "", t->bucket, t->sum, t->sum);
}

int sonde_walk_shown(struct sonde_registry *r, const struct sonde_series *s,
		     const struct sonde_mal_accumulator *acc, uint32_t minutes, sonde_walk_fn fn,
		     void *ctx)
{
	struct walk w;

	begin(&w, r, s, fn, ctx);
	return sonde_mal_accumulator_value(acc, minutes > 0 ? minutes : 1, on_result, &w);
}

int sonde_walk_held(struct sonde_registry *r, const struct sonde_series *s,
		    const struct sonde_mal_accumulator *acc, sonde_walk_fn fn, void *ctx)
{
	struct walk w;

	begin(&w, r, s, fn, ctx);
	/* A sum is held as it is; an average, a last, largest or smallest value is made first. */
	if (s->function.downsampling == SONDE_MAL_SUM ||
	    s->function.downsampling == SONDE_MAL_SUM_PER_MIN)
		return sonde_mal_accumulator_totals(acc, on_total, &w);
	return sonde_mal_accumulator_value(acc, 1, on_result, &w);
}
