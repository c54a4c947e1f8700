/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/vector.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "mal/check.h"
#include "mal/eval.h"
#include "mal/javatext.h"
#include "mal/parser.h"

/* --- what vectors prescribe in place of Kubernetes and a process registry --- */

static int fixed_process(void *ctx, enum sonde_mal_virtual kind, const char *service,
			 const char *instance, const char *what,
			 char ret[static SONDE_MAL_PROCESS_ID_SIZE])
{
	(void)ctx;
	(void)kind;
	(void)service;
	(void)instance;
	(void)what;
	(void)snprintf(ret, SONDE_MAL_PROCESS_ID_SIZE, "mock-process-id");
	return 0;
}

static int fixed_pod(void *ctx, const char *pod, const char *name_space, char *ret, size_t size)
{
	int n = snprintf(ret, size, "%s.%s", pod, name_space);

	(void)ctx;
	return n < 0 || (size_t)n >= size ? -E2BIG : 0;
}

const struct sonde_mal_host sonde_mal_vector_host = {.virtual_process = fixed_process,
						     .pod_service = fixed_pod};

struct vector {
	struct mal_program program;
	struct mal_eval eval;
	struct mal_window *window;
	struct sonde_mal_batch *batch;
	struct mal_expr *exp;
	const char *refused; /* why the expression was; NULL: it was not */
	struct mal_error error;
};

static void vector_done(struct vector *v)
{
	mal_program_done(&v->program);
	mal_eval_done(&v->eval);
	mal_window_free(v->window);
	sonde_mal_batch_free(v->batch);
}

static int vector_init(struct vector *v)
{
	int r = mal_program_init(&v->program);

	if (r >= 0)
		r = mal_eval_init(&v->eval);
	if (r >= 0)
		r = mal_window_new(&v->window);
	if (r >= 0)
		r = sonde_mal_batch_new(&v->batch);
	v->eval.window = v->window;
	v->eval.host = &sonde_mal_vector_host;
	return r;
}

static int compile(struct vector *v, const char *text, size_t len)
{
	struct mal_checked checked;
	int r = mal_parse_expr(&v->program, MAL_TEXT_EXP, text, len, &v->error, &v->exp);

	if (r >= 0)
		r = mal_check_text(&v->program, v->exp, &v->error);
	if (r >= 0)
		r = mal_check_rule(&v->program, v->exp, NULL, NULL, &v->error, &checked);
	if (r == -EBADMSG)
		v->refused = v->error.message;
	return r == -EBADMSG ? 0 : r;
}

/* --- samples in --- */

/* 0, -EINVAL with @why, or what the batch says. */
static int add_sample(struct sonde_mal_batch *b, const char *name, const json_t *s,
		      const char **ret_why)
{
	struct sonde_mal_label labels[SONDE_MAL_LABELS_MAX];
	struct sonde_mal_sample sample = {.name = name, .labels = labels};
	json_t *value = json_object_get(s, "v"), *l = json_object_get(s, "l"),
	       *t = json_object_get(s, "t"), *label;
	const char *key;

	*ret_why = "expected a sample: an object with l, v and t";
	if (!json_is_object(s) || (l && !json_is_object(l)) || (t && !json_is_integer(t)))
		return -EINVAL;
	*ret_why = "expected a value: a number, or its text";
	if (json_is_number(value))
		sample.value = json_number_value(value);
	else if (!json_is_string(value) ||
		 mal_java_double(json_string_value(value), &sample.value) < 0)
		return -EINVAL;
	*ret_why = "expected at most 64 labels, each a text";
	json_object_foreach(l, key, label)
	{
		if (!json_is_string(label) || sample.n_labels == ELEMENTS_OF(labels))
			return -EINVAL;
		labels[sample.n_labels++] = (struct sonde_mal_label){key, json_string_value(label)};
	}
	sample.ts_ms = json_integer_value(t);
	*ret_why = "a sample without a name, or too many or too long ones";
	return sonde_mal_batch_add(b, &sample);
}

int sonde_mal_scrape_read(struct sonde_mal_batch *b, const json_t *scrape, const char **ret_why)
{
	json_t *family, *sample;
	const char *name;
	size_t i;
	int r;

	sonde_mal_batch_reset(b);
	*ret_why = "expected a scrape: an object of lists of samples";
	if (!json_is_object(scrape))
		return -EINVAL;
	json_object_foreach((json_t *)scrape, name, family)
	{
		*ret_why = "expected a list of samples";
		if (!json_is_array(family))
			return -EINVAL;
		json_array_foreach(family, i, sample)
		{
			r = add_sample(b, name, sample, ret_why);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* --- families out; NULL everywhere: no memory --- */

static json_t *text_json(const struct vector *v, uint32_t id)
{
	return id == MAL_STR_NULL ? json_null()
				  : json_string(mal_strings_text(v->eval.strings, id));
}

static json_t *labels_json(const struct vector *v, const struct mal_set *l)
{
	json_t *out = json_object();

	for (uint32_t i = 0; out && i < l->n; i++) {
		if (json_object_set_new(out, mal_strings_text(v->eval.strings, l->v[i].key),
					text_json(v, l->v[i].value)) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

static json_t *sample_json(const struct vector *v, const struct mal_sample *s)
{
	char value[SONDE_MAL_DOUBLE_SIZE];

	sonde_mal_double_text(s->value, value);
	return json_pack("{s:o, s:s, s:I, s:o}", "l", labels_json(v, s->labels), "v", value, "t",
			 (json_int_t)s->ts_ms, "n", text_json(v, s->name));
}

static json_t *samples_json(const struct vector *v, const struct mal_sample *s, size_t n)
{
	json_t *out = json_array();

	for (size_t i = 0; out && i < n; i++) {
		if (json_array_append_new(out, sample_json(v, &s[i])) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

/* What only some entities have: properties of an instance, attributes that decorate() set. */
static int add_extras(const struct vector *v, const struct mal_entity *e, json_t *out)
{
	json_t *attributes;
	bool any = false;

	if (e->properties->n > 0 &&
	    json_object_set_new(out, "props", labels_json(v, e->properties)) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ELEMENTS_OF(e->attributes); i++)
		any |= e->attributes[i] != MAL_STR_NULL;
	if (!any)
		return 0;
	attributes = json_array();
	for (size_t i = 0; attributes && i < ELEMENTS_OF(e->attributes); i++)
		(void)json_array_append_new(attributes, text_json(v, e->attributes[i]));
	return json_object_set_new(out, "attrs", attributes) < 0 ? -ENOMEM : 0;
}

static json_t *entity_json(const struct vector *v, const struct mal_entity_group *g)
{
	static const char *const sides[] = {"CLIENT", "SERVER", "PROXY"};
	const struct mal_entity *e = g->entity;
	bool relation = e->scope >= SONDE_MAL_SCOPE_SERVICE_RELATION;
	json_t *out = json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:s?, s:o, s:o}",
		"scope", sonde_mal_scope_name(e->scope), "service", text_json(v, e->service),
		"instance", text_json(v, e->instance), "endpoint", text_json(v, e->endpoint),
		"process", text_json(v, e->process), "src", text_json(v, e->source_service), "dst",
		text_json(v, e->dest_service), "srci", text_json(v, e->source_instance), "dsti",
		text_json(v, e->dest_instance), "sp", text_json(v, e->source_process), "dp",
		text_json(v, e->dest_process), "comp", (int)e->component, "side",
		relation ? sides[e->side] : NULL, "layer", text_json(v, e->layer), "s",
		samples_json(v, g->v, g->n));

	if (out && add_extras(v, e, out) < 0) {
		json_decref(out);
		return NULL;
	}
	return out;
}

static json_t *family_json(const struct vector *v, const struct mal_family *f)
{
	json_t *out, *entities;

	if (f->n == 0)
		return json_pack("{s:b}", "empty", 1);
	entities = json_array();
	for (size_t i = 0; entities && i < f->n_groups; i++) {
		if (json_array_append_new(entities, entity_json(v, &f->groups[i])) < 0) {
			json_decref(entities);
			return NULL;
		}
	}
	out = json_pack("{s:o, s:o}", "s", samples_json(v, f->v, f->n), "e", entities);
	return out;
}

/* --- a line --- */

static json_t *error_json(const char *words)
{
	json_t *out = json_pack("{s:s}", "err", words);

	/* a message may be cut inside a character */
	return out ? out : json_pack("{s:s}", "err", "failed");
}

static json_t *scrape_json(struct vector *v, const json_t *scrape)
{
	struct mal_family f = {0};
	const char *why;
	int r;

	if (v->refused)
		return error_json(v->refused);
	r = sonde_mal_scrape_read(v->batch, scrape, &why);
	if (r < 0)
		return error_json(why);
	r = mal_eval_begin(&v->eval, v->batch, &v->program);
	if (r >= 0)
		r = mal_eval_expr(&v->eval, v->exp, &f);
	return r < 0 ? error_json(v->eval.message) : family_json(v, &f);
}

static json_t *scrapes_json(struct vector *v, const json_t *scrapes)
{
	json_t *out = json_array(), *scrape;
	size_t i;

	json_array_foreach(scrapes, i, scrape)
	{
		if (!out || json_array_append_new(out, scrape_json(v, scrape)) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

static json_t *answer_json(const json_t *in)
{
	_cleanup_(vector_done) struct vector v = {0};
	json_t *exp = json_object_get(in, "exp"), *scrapes = json_object_get(in, "scrapes"),
	       *id = json_object_get(in, "id");

	if (!json_is_string(exp) || !json_is_array(scrapes) ||
	    json_array_size(scrapes) > SONDE_MAL_SCRAPES_MAX)
		return json_pack("{s:O?, s:s}", "id", id, "err",
				 "expected an object with the text exp and the list scrapes");
	if (vector_init(&v) < 0 || compile(&v, json_string_value(exp), json_string_length(exp)) < 0)
		return NULL;
	return json_pack("{s:O?, s:o}", "id", id, "res", scrapes_json(&v, scrapes));
}

static int append_chunk(const char *data, size_t n, void *ctx)
{
	return sonde_buf_append(ctx, data, n) < 0 ? -1 : 0;
}

static int append_json(json_t *json, struct sonde_buf *out)
{
	size_t len = out->len;
	int r = json ? 0 : -ENOMEM;

	if (r == 0 && json_dump_callback(json, append_chunk, out, JSON_COMPACT) < 0)
		r = -EMSGSIZE;
	if (r == 0)
		r = sonde_buf_append(out, "\n", 1);
	if (r < 0)
		out->len = len;
	json_decref(json);
	return r;
}

int sonde_mal_vector_refuse(const char *words, struct sonde_buf *out)
{
	assert(words && out);

	return append_json(json_pack("{s:n, s:s}", "id", "err", words), out);
}

int sonde_mal_vector_answer(const char *line, size_t len, struct sonde_buf *out)
{
	json_error_t error;
	char words[200];
	json_t *in;
	int r;

	assert(line && out);

	if (len > SONDE_MAL_VECTOR_BYTES)
		return sonde_mal_vector_refuse("a line longer than 8 MiB", out);
	in = json_loadb(line, len, 0, &error);
	if (!in) {
		(void)snprintf(words, sizeof(words), "no JSON object: byte %d: %.120s",
			       error.position, error.text);
		r = sonde_mal_vector_refuse(words, out);
		return r < 0 ? sonde_mal_vector_refuse("no JSON object", out) : r;
	}
	r = append_json(answer_json(in), out);
	if (r == -EMSGSIZE)
		r = append_json(json_pack("{s:O?, s:s}", "id", json_object_get(in, "id"), "err",
					  "the answer is too long"),
				out);
	json_decref(in);
	return r;
}
