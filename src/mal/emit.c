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

/* "{a=1,b=2}" of the labels of @s but for @without, as an id. */
static int key_of(struct mal_eval *ev, const struct mal_sample *s, uint32_t without, uint32_t *ret)
{
	bool first = true;
	int r;

	sonde_buf_reset(&ev->scratch);
	r = sonde_buf_append(&ev->scratch, "{", 1);
	for (uint32_t i = 0; i < s->n_labels && r >= 0; i++) {
		if (s->labels[i].key == without)
			continue;
		r = sonde_buf_printf(&ev->scratch, "%s%s=%s", first ? "" : ",",
				     mal_strings_text(ev->strings, s->labels[i].key),
				     mal_strings_text(ev->strings, s->labels[i].value));
		first = false;
	}
	if (r >= 0)
		r = sonde_buf_append(&ev->scratch, "}", 1);
	if (r < 0)
		return mal_eval_fail(ev, "labels longer than %d bytes", SONDE_MAL_TEXT_MAX);
	return mal_value_intern(ev, sonde_buf_str(&ev->scratch), ev->scratch.len, ret);
}

struct table {
	uint32_t *slots; /* 1 + index of the point */
	size_t cap;
	uint32_t *keys; /* by point */
};

static size_t slot_of(const struct table *t, uint32_t key)
{
	size_t i = (key * 0x9e3779b1U) & (t->cap - 1);

	while (t->slots[i] && t->keys[t->slots[i] - 1] != key)
		i = (i + 1) & (t->cap - 1);
	return i;
}

/* One point a key: of equal keys the last value counts. */
static int labeled_points(struct mal_eval *ev, const struct mal_entity_group *g,
			  struct sonde_mal_point *v, size_t *ret_n)
{
	struct table t = {.cap = 16};
	uint32_t key;
	size_t n = 0, slot;
	int r;

	while (t.cap < g->n * 2)
		t.cap *= 2;
	t.slots = mal_arena_zalloc(ev->arena, t.cap * sizeof(*t.slots));
	t.keys = mal_arena_array(ev->arena, g->n, sizeof(*t.keys));
	if (!t.slots || !t.keys)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < g->n; i++) {
		r = key_of(ev, &g->v[i], MAL_STR_NULL, &key);
		if (r < 0)
			return r;
		slot = slot_of(&t, key);
		if (!t.slots[slot]) {
			t.keys[n] = key;
			t.slots[slot] = (uint32_t)++n;
		}
		v[t.slots[slot] - 1] = (struct sonde_mal_point){mal_strings_text(ev->strings, key),
								0, mal_stored_value(g->v[i].value)};
	}
	*ret_n = n;
	return 0;
}

static int histogram_points(struct mal_eval *ev, const struct mal_entity_group *g,
			    struct sonde_mal_point *v)
{
	uint32_t le, bound, key;
	int r = mal_value_intern(ev, "le", 2, &le);

	for (size_t i = 0; i < g->n && r >= 0; i++) {
		bound = mal_label(&g->v[i], le);
		if (bound == MAL_STR_NULL)
			return mal_eval_fail(ev, "a histogram sample without the label `le`");
		if (sonde_parse_i64(mal_strings_text(ev->strings, bound), INT64_MIN, INT64_MAX,
				    &v[i].bucket) < 0)
			return mal_eval_fail(ev, "`le` is no integer: '%.40s'",
					     mal_strings_text(ev->strings, bound));
		r = key_of(ev, &g->v[i], le, &key);
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

static int make_properties(struct mal_eval *ev, const struct mal_entity *in,
			   struct sonde_mal_entity *out)
{
	struct sonde_mal_label *v;

	if (in->n_properties == 0)
		return 0;
	v = mal_arena_array(ev->arena, in->n_properties, sizeof(*v));
	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n_properties; i++) {
		v[i] = (struct sonde_mal_label){
			mal_strings_text(ev->strings, in->properties[i].key),
			mal_strings_text(ev->strings, in->properties[i].value)};
	}
	out->properties = v;
	out->n_properties = in->n_properties;
	return 0;
}

static void make_entity(const struct mal_eval *ev, const struct mal_entity *in,
			struct sonde_mal_entity *out)
{
	const struct mal_strings *s = ev->strings;

	*out = (struct sonde_mal_entity){
		.scope = in->scope,
		.side = in->side,
		.component = in->component,
		.service = mal_strings_text(s, in->service),
		.instance = mal_strings_text(s, in->instance),
		.endpoint = mal_strings_text(s, in->endpoint),
		.process = mal_strings_text(s, in->process),
		.source_service = mal_strings_text(s, in->source_service),
		.source_instance = mal_strings_text(s, in->source_instance),
		.source_process = mal_strings_text(s, in->source_process),
		.dest_service = mal_strings_text(s, in->dest_service),
		.dest_instance = mal_strings_text(s, in->dest_instance),
		.dest_process = mal_strings_text(s, in->dest_process),
		.layer = mal_strings_text(s, in->layer),
	};
	for (size_t i = 0; i < ELEMENTS_OF(out->attributes); i++)
		if (in->attributes[i] != MAL_STR_NULL)
			out->attributes[i] = mal_strings_text(s, in->attributes[i]);
}

int mal_emit(struct mal_eval *ev, const struct mal_rule *rule, const struct mal_family *f,
	     const struct sonde_mal_sink *sink, uint64_t *count)
{
	int r;

	if (f->n == 0)
		return 0;
	for (size_t i = 0; i < f->n_groups; i++) {
		struct sonde_mal_entity entity;
		struct sonde_mal_emission e = {.rule = &rule->is, .entity = &entity};

		r = make_points(ev, rule->is.function.kind, &f->groups[i], &e);
		if (r < 0)
			return r;
		make_entity(ev, &f->groups[i].entity, &entity);
		r = make_properties(ev, &f->groups[i].entity, &entity);
		if (r < 0)
			return r;
		r = sink->emit(sink->ctx, &e);
		if (r < 0)
			return mal_eval_fail(ev, "the value could not be stored: %s", strerror(-r));
		(*count)++;
	}
	return 0;
}
