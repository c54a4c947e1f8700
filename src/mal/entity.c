/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/entity.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "mal/closure.h"
#include "mal/javatext.h"

#define KEYS_MAX 64
#define NAME_UNITS 70 /* service and instance names, in UTF-16 units */
#define ENDPOINT_UNITS 150

/* org.apache.skywalking.oap.server.core.analysis.Layer */
static const struct layer {
	const char *name;
	int32_t ordinal;
	bool normal;
} layers[] = {
#define LAYER(name, ordinal, normal) {#name, ordinal, normal},
#include "mal/layers.def"
#undef LAYER
};

const char *mal_layer_name(const char *name, const char *const *extra)
{
	for (size_t i = 0; i < ELEMENTS_OF(layers); i++)
		if (strcmp(layers[i].name, name) == 0)
			return layers[i].name;
	for (; extra && *extra; extra++)
		if (strcmp(*extra, name) == 0)
			return *extra;
	return "UNDEFINED";
}

const char *mal_layer_clash(const char *name, int32_t ordinal, bool normal)
{
	for (size_t i = 0; i < ELEMENTS_OF(layers); i++) {
		bool same_name = strcmp(layers[i].name, name) == 0;

		if (same_name && layers[i].ordinal == ordinal && layers[i].normal == normal)
			return NULL;
		if (same_name || layers[i].ordinal == ordinal)
			return layers[i].name;
	}
	return NULL;
}

/* A group without its samples. */
struct kept_group {
	const struct mal_entity *entity;
	uint32_t at, n;
};

/* How the samples of a grouping that was kept were split. */
struct kept_split {
	uint64_t of;	 /* the grouping's number, 0: none */
	uint32_t *place; /* by sample */
	const struct mal_set **left;
	struct kept_group *groups;
	size_t n_groups, cap;
};

struct mal_entities {
	struct mal_arena *arena;
	struct mal_grouped keys;
	struct mal_memo left;	   /* set to the one without the keys */
	struct mal_memo by_keys;   /* set of keys to the entity; unused where it has properties */
	struct mal_entity **table; /* open addressing, one of each that are equal */
	size_t n, cap;
	struct kept_split last;
};

/* An entity call with its keys as batch ids. */
struct shape {
	enum sonde_mal_scope scope;
	const struct mal_arg *args;
	uint32_t keys[KEYS_MAX];
	size_t n_keys;
	size_t at[4], n[4];				   /* ranges of the name lists in keys */
	uint32_t delim[2];				   /* of the first and the second name */
	uint32_t component, side, source, dest, layer_tag; /* keys, MAL_STR_NULL: none */
	int detect;
	uint32_t layer; /* its name */
	const struct mal_closure *properties;
};

static int add_key(struct mal_eval *ev, struct shape *s, uint32_t id, uint32_t *ret)
{
	uint32_t key;
	int r = mal_eval_const(ev, id, &key);

	if (r < 0)
		return r;
	if (ret)
		*ret = key;
	for (size_t i = 0; i < s->n_keys; i++)
		if (s->keys[i] == key && s->scope == SONDE_MAL_SCOPE_INSTANCE_RELATION)
			return 0;
	if (s->n_keys == KEYS_MAX)
		return mal_eval_fail(ev, "more than %d labels in an entity", KEYS_MAX);
	s->keys[s->n_keys++] = key;
	return 0;
}

/* --- the arguments of each function, in their order --- */

static const char *const forms[] = {
	/*
	 * L the next name list, d the delimiter of both, 1 and 2 that of one name, Y layer, D detect point,
	 * C component label, S side label, < and > process id labels, T layer label, P properties
	 */
	[0] = "LY|LdY",
	[MAL_FN_INSTANCE - MAL_FN_SERVICE] = "LLY|L1L2YP",
	[MAL_FN_ENDPOINT - MAL_FN_SERVICE] = "LLY|LLdY",
	[MAL_FN_PROCESS - MAL_FN_SERVICE] = "LLLT",
	[MAL_FN_SERVICE_RELATION - MAL_FN_SERVICE] = "DLLY|DLLdYC",
	[MAL_FN_INSTANCE_RELATION - MAL_FN_SERVICE] = "DLLLLY|DLLLLdYC",
	[MAL_FN_PROCESS_RELATION - MAL_FN_SERVICE] = "SLL<>C",
};

static const char *form_of(const struct mal_expr *call)
{
	const char *form = forms[call->call.fn - MAL_FN_SERVICE];

	return strcspn(form, "|") == call->call.n_args ? form : strchr(form, '|') + 1;
}

static int read_list(struct mal_eval *ev, const struct mal_arg *a, struct shape *s, size_t list)
{
	int r = 0;

	s->at[list] = (size_t)(a - s->args);
	s->n[list] = a->strings.n;
	for (size_t i = 0; i < a->strings.n && r >= 0; i++)
		r = add_key(ev, s, a->strings.ids[i], NULL);
	return r;
}

static int read_arg(struct mal_eval *ev, char kind, const struct mal_arg *a, struct shape *s,
		    size_t *lists)
{
	switch (kind) {
	case 'L':
		return read_list(ev, a, s, (*lists)++);
	case 'd':
	case '1':
	case '2':
		if (a->kind != MAL_ARG_STRING || a->string == MAL_STR_EMPTY)
			return 0;
		if (kind != '2')
			s->delim[0] = a->string;
		if (kind != '1')
			s->delim[1] = a->string;
		return 0;
	case 'Y':
		s->layer = a->en.name;
		return 0;
	case 'D':
		s->detect = a->en.member;
		return 0;
	case 'P':
		s->properties = a->kind == MAL_ARG_CLOSURE ? a->closure : NULL;
		return 0;
	case 'C':
		return add_key(ev, s, a->string, &s->component);
	case 'S':
		return add_key(ev, s, a->string, &s->side);
	case '<':
		return add_key(ev, s, a->string, &s->source);
	case '>':
		return add_key(ev, s, a->string, &s->dest);
	default:
		return add_key(ev, s, a->string, &s->layer_tag);
	}
}

static int read_shape(struct mal_eval *ev, const struct mal_expr *call, struct shape *s)
{
	const char *form = form_of(call);
	size_t lists = 0;
	int r = 0;

	s->scope = (enum sonde_mal_scope)(call->call.fn - MAL_FN_SERVICE);
	s->args = call->call.args;
	for (size_t i = 0; i < call->call.n_args && r >= 0; i++)
		r = read_arg(ev, form[i], &call->call.args[i], s, &lists);
	return r;
}

/* --- names --- */

static int cut_name(struct mal_eval *ev, const char *text, size_t len, size_t units, uint32_t *ret)
{
	if (ev->cut_names && mal_utf16_len(text, len) > units)
		len = mal_utf16_offset(text, len, units);
	return mal_value_intern(ev, text, len, ret);
}

/* The values of list @list in @first, empty ones left out, joined. */
static int name_of(struct mal_eval *ev, const struct shape *s, size_t list, size_t delim_at,
		   const struct mal_set *first, size_t units, uint32_t *ret)
{
	const struct mal_arg *a = &s->args[s->at[list]];
	const char *delim = ".";
	uint32_t key, value;
	int r = 0;

	if (s->delim[delim_at] != MAL_STR_NULL)
		delim = mal_strings_text(&ev->program->strings, s->delim[delim_at]);
	sonde_buf_reset(&ev->scratch);
	for (size_t i = 0; i < a->strings.n && r >= 0; i++) {
		r = mal_eval_const(ev, a->strings.ids[i], &key);
		if (r < 0)
			return r;
		value = mal_set_get_or_empty(first, key);
		if (value == MAL_STR_EMPTY)
			continue;
		if (ev->scratch.len > 0)
			r = sonde_buf_append(&ev->scratch, delim, strlen(delim));
		if (r >= 0)
			r = sonde_buf_append(&ev->scratch, mal_strings_text(ev->strings, value),
					     mal_strings_len(ev->strings, value));
	}
	if (r < 0)
		return mal_eval_fail(ev, "an entity's name longer than %d bytes",
				     SONDE_MAL_TEXT_MAX);
	return cut_name(ev, sonde_buf_str(&ev->scratch), ev->scratch.len, units, ret);
}

static int component_of(struct mal_eval *ev, const struct shape *s, const struct mal_set *first,
			int32_t *ret)
{
	uint32_t v = s->component == MAL_STR_NULL ? MAL_STR_EMPTY
						  : mal_set_get_or_empty(first, s->component);

	*ret = 0;
	if (v == MAL_STR_EMPTY || mal_java_int(mal_strings_text(ev->strings, v), ret) == 0)
		return 0;
	return mal_eval_fail(ev, "the component id is no integer: '%.40s'",
			     mal_strings_text(ev->strings, v));
}

static int set_layer(struct mal_eval *ev, const char *name, struct mal_entity *e)
{
	name = mal_layer_name(name, ev->layers);
	return mal_value_intern(ev, name, strlen(name), &e->layer);
}

static int properties_of(struct mal_eval *ev, const struct shape *s, const struct mal_set *first,
			 struct mal_entity *e)
{
	struct mal_labels l;
	int r;

	r = mal_labels_of(ev, first, MAL_STR_NULL, &l);
	if (r >= 0)
		r = mal_closure_run(ev, s->properties, MAL_STR_NULL, &l);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < l.n; i++)
		if (l.v[i].value == MAL_STR_NULL)
			return mal_eval_fail(ev, "a property of an instance was set to null");
	r = mal_eval_set(ev, l.v, l.n, &e->properties);
	if (r >= 0 && mal_sets_same(ev->sets, ev->strings, e->properties, &e->same_properties) < 0)
		r = mal_eval_no_memory(ev);
	return r;
}

static int name_entity(struct mal_eval *ev, const struct shape *s, const struct mal_set *first,
		       struct mal_entity *e)
{
	bool cut = s->scope != SONDE_MAL_SCOPE_PROCESS_RELATION;
	uint32_t *const plain[4] = {
		&e->service, s->scope == SONDE_MAL_SCOPE_ENDPOINT ? &e->endpoint : &e->instance,
		&e->process};
	uint32_t *const relation[4] = {&e->source_service, &e->dest_service};
	uint32_t *const instances[4] = {&e->source_service, &e->source_instance, &e->dest_service,
					&e->dest_instance};
	uint32_t *const *names = plain;
	int r = 0;

	if (s->scope == SONDE_MAL_SCOPE_SERVICE_RELATION)
		names = relation;
	else if (s->scope == SONDE_MAL_SCOPE_INSTANCE_RELATION)
		names = instances;
	for (size_t i = 0; i < ELEMENTS_OF(s->n) && s->n[i] > 0 && r >= 0; i++) {
		size_t units = names[i] == &e->endpoint ? ENDPOINT_UNITS : NAME_UNITS;

		if (!cut || names[i] == &e->process)
			units = SIZE_MAX;
		r = name_of(ev, s, i, i & 1, first, units, names[i]);
	}
	return r;
}

static int make_entity(struct mal_eval *ev, const struct shape *s, const struct mal_set *first,
		       struct mal_entity *e)
{
	const char *text;
	int r;

	*e = (struct mal_entity){.scope = s->scope,
				 .side = (enum sonde_mal_side)s->detect,
				 .properties = &mal_set_empty,
				 .same_properties = &mal_set_empty};
	r = name_entity(ev, s, first, e);
	if (r >= 0)
		r = component_of(ev, s, first, &e->component);
	if (r < 0)
		return r;
	if (s->scope == SONDE_MAL_SCOPE_PROCESS_RELATION) {
		text = mal_strings_text(ev->strings, mal_set_get_or_empty(first, s->side));
		e->side = strcasecmp(text, "server") == 0 ? SONDE_MAL_SERVER : SONDE_MAL_CLIENT;
		e->source_process = mal_set_get_or_empty(first, s->source);
		e->dest_process = mal_set_get_or_empty(first, s->dest);
		return 0;
	}
	if (s->layer_tag != MAL_STR_NULL)
		text = mal_strings_text(ev->strings, mal_set_get_or_empty(first, s->layer_tag));
	else
		text = mal_strings_text(&ev->program->strings, s->layer);
	r = set_layer(ev, text, e);
	return r < 0 || !s->properties ? r : properties_of(ev, s, first, e);
}

/* --- groups --- */

static uint64_t hash_entity(const struct mal_eval *ev, const struct mal_entity *e)
{
	const uint32_t ids[] = {
		e->service,	   e->instance,		  e->endpoint,	     e->process,
		e->source_service, e->source_instance,	  e->source_process, e->dest_service,
		e->dest_instance,  e->dest_process,	  e->layer,	     (uint32_t)e->component,
		(uint32_t)e->side, e->same_properties->id};
	uint64_t h = ev->strings->seed ^ e->scope;

	for (size_t i = 0; i < ELEMENTS_OF(ids); i++)
		h = ((h ^ ids[i]) * 0x9e3779b97f4a7c15ULL) ^ (h >> 31);
	return h ^ (h >> 32);
}

static bool equal_entity(const struct mal_entity *a, const struct mal_entity *b)
{
	return a->scope == b->scope && a->side == b->side && a->component == b->component &&
	       a->service == b->service && a->instance == b->instance &&
	       a->endpoint == b->endpoint && a->process == b->process &&
	       a->source_service == b->source_service && a->source_instance == b->source_instance &&
	       a->source_process == b->source_process && a->dest_service == b->dest_service &&
	       a->dest_instance == b->dest_instance && a->dest_process == b->dest_process &&
	       a->layer == b->layer && a->same_properties == b->same_properties;
}

static int grow(struct mal_eval *ev, struct mal_entities *known)
{
	size_t cap = known->cap ? known->cap * 2 : 16;
	struct mal_entity **table = mal_arena_zalloc(known->arena, cap * sizeof(void *));

	if (!table)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < known->cap; i++) {
		uint64_t at;

		if (!known->table[i])
			continue;
		for (at = hash_entity(ev, known->table[i]); table[at & (cap - 1)]; at++)
			;
		table[at & (cap - 1)] = known->table[i];
	}
	known->table = table;
	known->cap = cap;
	return 0;
}

/* Gives @e the id of what is equal to it. */
static int number(struct mal_eval *ev, struct mal_entities *known, struct mal_entity *e)
{
	struct mal_entity *other;
	uint64_t at;

	if (known->n >= known->cap / 2 && grow(ev, known) < 0)
		return -ENOMEM;
	for (at = hash_entity(ev, e); (other = known->table[at & (known->cap - 1)]); at++) {
		if (equal_entity(other, e)) {
			e->id = other->id;
			return 0;
		}
	}
	known->table[at & (known->cap - 1)] = e;
	e->id = (uint32_t)known->n++;
	return 0;
}

/* The entity of a group: @keys are its keys, @first all labels of its first sample. */
static int entity_of(struct mal_eval *ev, struct mal_entities *known, const struct shape *s,
		     const struct mal_set *keys, const struct mal_set *first,
		     const struct mal_entity **ret)
{
	void **slot = mal_memo_slot(&known->by_keys, keys->id);
	struct mal_entity *e;
	int r;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot || s->properties) {
		e = mal_arena_alloc(known->arena, sizeof(*e));
		if (!e)
			return mal_eval_no_memory(ev);
		r = make_entity(ev, s, first, e);
		if (r >= 0)
			r = mal_entity_show(ev, known->arena, e);
		if (r >= 0)
			r = number(ev, known, e);
		if (r < 0)
			return r;
		*slot = e;
	}
	*ret = *slot;
	return 0;
}

/* @from without the entity's labels. */
static int leave(struct mal_eval *ev, struct mal_entities *known, const struct shape *s,
		 const struct mal_set *from, const struct mal_set **ret)
{
	void **slot = mal_memo_slot(&known->left, from->id);
	struct mal_pair v[SONDE_MAL_LABELS_MAX];
	uint32_t n = 0;
	int r;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		if (from->n > ELEMENTS_OF(v))
			return mal_eval_fail(ev, "more than %d labels", SONDE_MAL_LABELS_MAX);
		for (uint32_t i = 0; i < from->n; i++) {
			size_t k = 0;

			while (k < s->n_keys && s->keys[k] != from->v[i].key)
				k++;
			if (k == s->n_keys)
				v[n++] = from->v[i];
		}
		r = mal_eval_set(ev, v, n, ret);
		if (r < 0)
			return r;
		*slot = (void *)*ret;
	}
	*ret = *slot;
	return 0;
}

/* The samples of each group lie one behind the other, without the entity's labels. @place: by sample. */
static int split_samples(struct mal_eval *ev, struct mal_entities *known, const struct shape *s,
			 const struct mal_family *in, const struct mal_grouping *g,
			 struct mal_sample *v, uint32_t *place, uint32_t **ret_start)
{
	uint32_t *start = mal_arena_zalloc(ev->arena, (g->n_groups + 2) * sizeof(*start));
	int r;

	if (!start)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n; i++)
		start[g->group_of[i] + 2]++;
	for (size_t i = 0; i < g->n_groups; i++)
		start[i + 2] += start[i + 1];
	for (size_t i = 0; i < in->n; i++) {
		place[i] = start[g->group_of[i] + 1]++;
		v[place[i]] = in->v[i];
		r = leave(ev, known, s, in->v[i].labels, &v[place[i]].labels);
		if (r < 0)
			return r;
	}
	*ret_start = start;
	return 0;
}

/* For the next family that has the same labels in the same order. */
static int keep_split(struct mal_eval *ev, struct mal_entities *known, const struct mal_grouping *g,
		      const uint32_t *place, size_t n, const struct mal_sample *v,
		      const struct mal_entity_group *groups, size_t n_groups)
{
	struct kept_split *k = &known->last;

	k->of = 0;
	if (k->cap < n) {
		k->cap = 0;
		k->place = mal_arena_array(known->arena, n, sizeof(*k->place));
		k->left = mal_arena_array(known->arena, n, sizeof(void *));
		k->groups = mal_arena_array(known->arena, n, sizeof(*k->groups));
		if (!k->place || !k->left || !k->groups)
			return mal_eval_no_memory(ev);
		k->cap = n;
	}
	memcpy(k->place, place, n * sizeof(*place));
	k->n_groups = n_groups;
	for (size_t i = 0; i < n_groups; i++)
		k->groups[i] = (struct kept_group){groups[i].entity, (uint32_t)(groups[i].v - v),
						   (uint32_t)groups[i].n};
	for (size_t i = 0; i < n; i++)
		k->left[i] = v[place[i]].labels;
	k->of = g->kept;
	return 0;
}

static void split_as_last(const struct kept_split *k, const struct mal_family *in,
			  struct mal_sample *v, struct mal_entity_group *groups)
{
	for (size_t i = 0; i < in->n; i++) {
		v[k->place[i]] = in->v[i];
		v[k->place[i]].labels = k->left[i];
	}
	for (size_t i = 0; i < k->n_groups; i++)
		groups[i] = (struct mal_entity_group){k->groups[i].entity, v + k->groups[i].at,
						      k->groups[i].n};
}

/* What is known of the call @memo, and of one that no rules share: nothing. */
static struct mal_entities *known_of(struct mal_eval *ev, uint32_t memo)
{
	struct mal_arena *a = memo ? &ev->run_arena : ev->arena;
	struct mal_entities *known = memo ? ev->entities[memo] : NULL;

	if (known)
		return known;
	known = mal_arena_alloc(a, sizeof(*known));
	if (!known)
		return NULL;
	*known = (struct mal_entities){.arena = a,
				       .keys = {.sets = MAL_MEMO_INIT(a)},
				       .left = MAL_MEMO_INIT(a),
				       .by_keys = MAL_MEMO_INIT(a)};
	if (memo)
		ev->entities[memo] = known;
	return known;
}

static int check_keys(struct mal_eval *ev, const struct shape *s)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		for (size_t j = i + 1; j < s->n_keys; j++) {
			if (s->keys[i] == s->keys[j])
				return mal_eval_fail(ev, "label '%.64s' twice in an entity",
						     mal_strings_text(ev->strings, s->keys[i]));
		}
	}
	return 0;
}

static int find_entities(struct mal_eval *ev, struct mal_entities *known, const struct shape *s,
			 const struct mal_family *in, const struct mal_grouping *g,
			 const struct mal_sample *v, const uint32_t *start,
			 struct mal_entity_group *groups, size_t *ret_n)
{
	struct mal_memo places = MAL_MEMO_INIT(ev->arena); /* 1 + place, by entity */
	size_t n = 0;

	for (size_t i = 0; i < g->n_groups; i++) {
		uint32_t group = g->order[i];
		const struct mal_entity *e = NULL;
		void **place;
		int r;

		r = entity_of(ev, known, s, g->sets[group], in->v[g->first[group]].labels, &e);
		if (r < 0)
			return r;
		place = mal_memo_slot(&places, e->id);
		if (!place)
			return mal_eval_no_memory(ev);
		if (!*place) /* else the later group of an equal entity takes its place */
			*place = (void *)(uintptr_t)++n;
		groups[(uintptr_t)*place - 1] = (struct mal_entity_group){
			e, v + start[group], start[group + 1] - start[group]};
	}
	*ret_n = n;
	return 0;
}

static int make_groups(struct mal_eval *ev, struct mal_entities *known, const struct shape *s,
		       const struct mal_family *in, const struct mal_grouping *g,
		       struct mal_family *ret)
{
	struct mal_entity_group *groups = mal_arena_array(ev->arena, g->n_groups, sizeof(*groups));
	struct mal_sample *v = mal_arena_array(ev->arena, in->n, sizeof(*v));
	uint32_t *place = mal_arena_array(ev->arena, in->n, sizeof(*place)), *start = NULL;
	bool again = g->kept && g->kept == known->last.of;
	size_t n = known->last.n_groups;
	int r;

	if (!groups || !v || !place)
		return mal_eval_no_memory(ev);
	if (again) {
		split_as_last(&known->last, in, v, groups);
	} else {
		r = split_samples(ev, known, s, in, g, v, place, &start);
		if (r >= 0)
			r = find_entities(ev, known, s, in, g, v, start, groups, &n);
		if (r < 0)
			return r;
	}
	if (!again && g->kept && !s->properties) {
		r = keep_split(ev, known, g, place, in->n, v, groups, n);
		if (r < 0)
			return r;
	}
	*ret = *in;
	ret->groups = groups;
	ret->n_groups = n;
	return 0;
}

int mal_family_entities(struct mal_eval *ev, const struct mal_expr *call,
			const struct mal_family *in, struct mal_family *ret)
{
	struct mal_entities *known = known_of(ev, call->call.memo);
	struct mal_grouping g;
	struct mal_keys keys;
	struct shape s = {0};
	int r;

	if (!known)
		return mal_eval_no_memory(ev);
	r = read_shape(ev, call, &s);
	if (r >= 0)
		r = check_keys(ev, &s);
	if (r < 0)
		return r;
	keys = (struct mal_keys){s.keys, s.n_keys, &known->keys};
	r = mal_group(ev, in, &keys, &g);
	return r < 0 ? r : make_groups(ev, known, &s, in, &g, ret);
}
