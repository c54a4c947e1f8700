/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "mal/closure.h"

/* --- statements --- */

/* 1: a return was met. */
static int run_statements(struct mal_eval *ev, struct mal_frame *f, const struct mal_st *s);

static int run_label(struct mal_eval *ev, struct mal_frame *f, const struct mal_st *s)
{
	struct mal_value map;
	uint32_t key = MAL_STR_NULL, value = MAL_STR_NULL;
	int r = mal_cx_eval(ev, f, s->map, &map);

	if (r >= 0)
		r = mal_cx_eval_string(ev, f, s->key, &key);
	if (r >= 0)
		r = mal_cx_eval_string(ev, f, s->a, &value);
	if (r < 0)
		return r;
	if (map.type != MAL_TYPE_LABELS || key == MAL_STR_NULL)
		return mal_eval_fail(ev, "a label with the name null");
	return mal_labels_set(ev, map.labels, key, value);
}

static int run_if(struct mal_eval *ev, struct mal_frame *f, const struct mal_st *s)
{
	struct mal_value v;
	int r = mal_cx_eval(ev, f, s->a, &v);

	return r < 0 ? r : run_statements(ev, f, mal_value_truth(ev, &v) ? s->then : s->otherwise);
}

static int run_return(struct mal_eval *ev, struct mal_frame *f, const struct mal_st *s)
{
	struct mal_value v;
	int r;

	if (!s->a)
		return 1;
	r = mal_cx_eval(ev, f, s->a, &v);
	if (r < 0)
		return r;
	if (v.type == MAL_TYPE_LABELS)
		f->result = v.labels;
	return 1;
}

static int run_statements(struct mal_eval *ev, struct mal_frame *f, const struct mal_st *s)
{
	struct mal_value v;
	uint32_t id = MAL_STR_NULL;
	int r = 0;

	for (; s && r == 0; s = s->next) {
		switch (s->kind) {
		case MAL_ST_IF:
			r = run_if(ev, f, s);
			break;
		case MAL_ST_RETURN:
			r = run_return(ev, f, s);
			break;
		case MAL_ST_LOCAL:
			r = mal_cx_eval(ev, f, s->a, &v);
			if (r == 0)
				f->locals[s->slot] = v;
			break;
		case MAL_ST_LABEL:
			r = run_label(ev, f, s);
			break;
		case MAL_ST_ATTRIBUTE:
			r = mal_cx_eval_string(ev, f, s->a, &id);
			if (r == 0)
				f->locals[0].entity->attributes[s->slot] = id;
			break;
		case MAL_ST_EXPR:
			r = mal_cx_eval(ev, f, s->a, &v);
			break;
		}
	}
	return r;
}

static int run(struct mal_eval *ev, const struct mal_closure *c, struct mal_frame *f)
{
	struct mal_value v;
	int r;

	for (size_t i = c->n_params; i < c->n_locals; i++)
		f->locals[i] = mal_value_string(MAL_STR_NULL);
	if (c->condition)
		return mal_cx_eval(ev, f, c->condition, &v);
	r = run_statements(ev, f, c->body);
	return r < 0 ? r : 0;
}

int mal_closure_run(struct mal_eval *ev, const struct mal_closure *c, uint32_t element,
		    struct mal_labels *labels)
{
	struct mal_frame f;
	int r;

	f.result = NULL;
	f.locals[0] = mal_value_string(element);
	f.locals[c->kind == MAL_CLOSURE_FOR_EACH ? 1 : 0] =
		(struct mal_value){.type = MAL_TYPE_LABELS, .labels = labels};
	r = run(ev, c, &f);
	if (r < 0)
		return r;
	if (f.result && f.result != labels && c->kind != MAL_CLOSURE_FOR_EACH) {
		memcpy(labels->v, f.result->v, f.result->n * sizeof(*labels->v));
		labels->n = f.result->n;
		labels->touched = true;
	}
	return 0;
}

int mal_closure_filter(struct mal_eval *ev, const struct mal_closure *c, const struct mal_set *s)
{
	struct mal_labels labels;
	struct mal_frame f;
	struct mal_value v;
	int r;

	r = mal_labels_of(ev, s, MAL_STR_NULL, &labels);
	if (r < 0)
		return r;
	f.locals[0] = (struct mal_value){.type = MAL_TYPE_LABELS, .labels = &labels};
	r = mal_cx_eval(ev, &f, c->condition, &v);
	return r < 0 ? r : mal_value_truth(ev, &v);
}

int mal_closure_decorate(struct mal_eval *ev, const struct mal_closure *c, struct mal_entity *e)
{
	struct mal_frame f;

	f.locals[0] = (struct mal_value){.type = MAL_TYPE_ENTITY, .entity = e};
	return run(ev, c, &f);
}
