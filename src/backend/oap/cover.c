/* SPDX-License-Identifier: Apache-2.0 */
/* Which tasks a question about an instance is answered from. */
#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/fields.h"

bool graphql_task_by_threshold(const struct sonde_task *t)
{
	return t->trigger && strcmp(sonde_json_get_text(t->trigger, "kind", ""), "threshold") == 0;
}

int64_t graphql_task_start_ms(const struct sonde_task *t)
{
	if (t->started_ms > 0)
		return t->started_ms;
	return t->spec->start_wall_ms > 0 ? t->spec->start_wall_ms : t->created_ms;
}

int64_t graphql_task_end_ms(const struct sonde_task *t)
{
	return t->ended_ms > 0 ? t->ended_ms : graphql_task_start_ms(t) + t->spec->duration_ms;
}

/* What the agents say of the targets is better than what the spec names: a service gains processes. */
static int walk_reported(struct sonde_backend *b, const struct sonde_task *t, bool *any,
			 int (*fn)(void *ctx, const struct sonde_entity *e), void *ctx)
{
	int r = 0;

	for (size_t i = 0; i < t->n_agents; i++) {
		const json_t *targets = t->agents[i]->targets;

		for (size_t k = 0; k < json_array_size(targets) && r == 0; k++) {
			const char *id =
				sonde_json_get_text(json_array_get(targets, k), "process_id", "");
			const struct sonde_entity *e = sonde_registry_find_entity(b->registry, id);

			if (!e || e->kind != SONDE_ENTITY_PROCESS)
				continue;
			*any = true;
			r = fn(ctx, e);
		}
	}
	return r;
}

static bool is_target(const struct sonde_task *t, const struct sonde_process *p)
{
	for (size_t i = 0; i < t->spec->n_targets; i++) {
		if (sonde_process_matches(p, &t->spec->targets[i]))
			return true;
	}
	return false;
}

int graphql_task_processes(struct sonde_backend *b, const struct sonde_task *t,
			   int (*fn)(void *ctx, const struct sonde_entity *e), void *ctx)
{
	bool any = false;
	int r = walk_reported(b, t, &any, fn, ctx);

	for (size_t i = 0; i < t->spec->n_targets && r == 0; i++) {
		const char *id = t->spec->targets[i].process_id;
		const struct sonde_entity *e =
			id[0] ? sonde_registry_find_entity(b->registry, id) : NULL;

		any = any || e;
		r = e ? fn(ctx, e) : 0;
	}
	if (any)
		return r;
	for (struct sonde_process *p = sonde_registry_processes(b->registry); p && r == 0;
	     p = p->hh.next) {
		const struct sonde_entity *e =
			is_target(t, p) ? sonde_registry_find_entity(b->registry, p->process_id)
					: NULL;

		r = e ? fn(ctx, e) : 0;
	}
	return r;
}

/* Return: 1 it is of that instance, and the walk ends. */
static int is_of_instance(void *ctx, const struct sonde_entity *e)
{
	const struct graphql_names *names = ctx;

	return strcmp(e->instance, names->instance) == 0 && strcmp(e->service, names->service) == 0;
}

/* Is @a the better source? */
static bool precedes(const struct sonde_task *a, const struct sonde_task *b)
{
	bool a_over = sonde_task_state_final(a->state), b_over = sonde_task_state_final(b->state);

	if (a_over != b_over)
		return b_over;
	return a_over ? a->ended_ms > b->ended_ms : a->created_ms < b->created_ms;
}

size_t graphql_cover(struct sonde_backend *b, const struct graphql_names *names,
		     const struct graphql_window *w,
		     struct sonde_task *ret[static GRAPHQL_COVER_MAX])
{
	struct graphql_names wanted = *names;
	size_t n = 0;

	for (struct sonde_task *t = sonde_task_table_first(b->tasks); t; t = t->hh.next) {
		size_t at = n;

		if (graphql_task_start_ms(t) >= w->end_ms || graphql_task_end_ms(t) < w->start_ms)
			continue;
		while (at > 0 && precedes(t, ret[at - 1]))
			at--;
		if (at == GRAPHQL_COVER_MAX ||
		    graphql_task_processes(b, t, is_of_instance, &wanted) != 1)
			continue;
		n += n < GRAPHQL_COVER_MAX;
		for (size_t i = n - 1; i > at; i--)
			ret[i] = ret[i - 1];
		ret[at] = t;
	}
	return n;
}
