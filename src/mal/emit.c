/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/emit.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "mal/closure.h"
#include "mal/javatext.h"

int64_t mal_stored_value(double v)
{
	if (!(v > 0))
		return 0;
	return v < 1 ? 1 : mal_java_long(floor(v + 0.5));
}

/* "{a=1,b=2}" of @set but for @without, as an id. */
static int make_key(struct mal_eval *ev, const struct mal_set *set, uint32_t without, uint32_t *ret)
{
	bool first = true;
	int r;

	sonde_buf_reset(&ev->scratch);
	r = sonde_buf_append(&ev->scratch, "{", 1);
	for (uint32_t i = 0; i < set->n && r >= 0; i++) {
		if (set->v[i].key == without)
			continue;
		r = sonde_buf_printf(&ev->scratch, "%s%s=%s", first ? "" : ",",
				     mal_strings_text(ev->strings, set->v[i].key),
				     mal_strings_text(ev->strings, set->v[i].value));
		first = false;
	}
	if (r >= 0)
		r = sonde_buf_append(&ev->scratch, "}", 1);
	if (r < 0)
		return mal_eval_fail(ev, "labels longer than %d bytes", SONDE_MAL_TEXT_MAX);
	return mal_value_intern(ev, sonde_buf_str(&ev->scratch), ev->scratch.len, ret);
}

/* The same, made once a run for equal sets. */
static int key_of(struct mal_eval *ev, const struct mal_set *set, bool without_le, uint32_t *ret)
{
	void **slot = mal_memo_slot(&ev->key_texts[without_le], set->id);
	int r;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		r = make_key(ev, set, without_le ? ev->le : MAL_STR_NULL, ret);
		if (r < 0)
			return r;
		*slot = (void *)(uintptr_t)*ret;
	}
	*ret = (uint32_t)(uintptr_t)*slot;
	return 0;
}

/* One point a key: of equal keys the last value counts. */
static int labeled_points(struct mal_eval *ev, const struct mal_entity_group *g,
			  struct sonde_mal_point *v, size_t *ret_n)
{
	struct mal_memo places = MAL_MEMO_INIT(ev->arena); /* 1 + place, by the key's id */
	uint32_t key = MAL_STR_NULL;
	void **place;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < g->n; i++) {
		r = key_of(ev, g->v[i].labels, false, &key);
		if (r < 0)
			return r;
		place = mal_memo_slot(&places, key);
		if (!place)
			return mal_eval_no_memory(ev);
		if (!*place)
			*place = (void *)(uintptr_t)++n;
		v[(uintptr_t)*place - 1] = (struct sonde_mal_point){
			mal_strings_text(ev->strings, key), 0, mal_stored_value(g->v[i].value)};
	}
	*ret_n = n;
	return 0;
}

/* The number of the text @id, parsed once a run. */
static int bound_of(struct mal_eval *ev, uint32_t id, int64_t *ret)
{
	void **slot = mal_memo_slot(&ev->bounds, id);
	int64_t *bound;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		bound = mal_arena_alloc(&ev->run_arena, sizeof(*bound));
		if (!bound)
			return mal_eval_no_memory(ev);
		if (sonde_parse_i64(mal_strings_text(ev->strings, id), INT64_MIN, INT64_MAX,
				    bound) < 0)
			return mal_eval_fail(ev, "`le` is no integer: '%.40s'",
					     mal_strings_text(ev->strings, id));
		*slot = bound;
	}
	*ret = *(int64_t *)*slot;
	return 0;
}

static int histogram_points(struct mal_eval *ev, const struct mal_entity_group *g,
			    struct sonde_mal_point *v)
{
	uint32_t key = MAL_STR_NULL;
	int r = 0;

	for (size_t i = 0; i < g->n && r >= 0; i++) {
		uint32_t bound = mal_label(&g->v[i], ev->le);

		if (bound == MAL_STR_NULL)
			return mal_eval_fail(ev, "a histogram sample without the label `le`");
		r = bound_of(ev, bound, &v[i].bucket);
		if (r >= 0)
			r = key_of(ev, g->v[i].labels, true, &key);
		if (r < 0)
			return r;
		v[i].key = mal_strings_text(ev->strings, key);
		v[i].value = mal_stored_value(g->v[i].value);
	}
	return r;
}

static int make_points(struct mal_eval *ev, enum sonde_mal_kind kind,
		       const struct mal_entity_group *g, struct sonde_mal_emission *out)
{
	struct sonde_mal_point *v = mal_arena_array(ev->arena, g->n, sizeof(*v));
	size_t n = g->n;
	int r = 0;

	if (!v)
		return mal_eval_no_memory(ev);
	switch (kind) {
	case SONDE_MAL_SINGLE: /* OAP looks at the first sample only */
		v[0] = (struct sonde_mal_point){"", 0, mal_stored_value(g->v[0].value)};
		n = 1;
		break;
	case SONDE_MAL_LABELED:
		r = labeled_points(ev, g, v, &n);
		break;
	default:
		r = histogram_points(ev, g, v);
		break;
	}
	out->points = v;
	out->n_points = n;
	out->ts_ms = g->v[0].ts_ms;
	return r;
}

int mal_emit(struct mal_eval *ev, const struct mal_rule *rule, const struct mal_family *f,
	     const struct sonde_mal_sink *sink, uint64_t *count)
{
	int r;

	if (f->n == 0)
		return 0;
	for (size_t i = 0; i < f->n_groups; i++) {
		struct sonde_mal_emission e = {.rule = &rule->is,
					       .entity = f->groups[i].entity->shown};

		r = make_points(ev, rule->is.function.kind, &f->groups[i], &e);
		if (r < 0)
			return r;
		r = sink->emit(sink->ctx, &e);
		if (r < 0)
			return mal_eval_fail(ev, "the value could not be stored: %s", strerror(-r));
		(*count)++;
	}
	return 0;
}
