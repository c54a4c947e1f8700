/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers of OAP's own engine for its own rules, from ../shared/data/mal/vectors.jsonl.zst beside the
 * source tree (read in place, never copied). Skipped where the folder is not there.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <zstd.h>

#include "mal/check.h"
#include "mal/eval.h"
#include "mal/javatext.h"
#include "mal/parser.h"
#include "sonde-test.h"

#define PLAIN_BYTES_MAX (64U << 20)

static struct {
	unsigned cases, same, network;
	unsigned network_same;
} counts;

static int mock_process(void *ctx, enum sonde_mal_virtual kind, const char *service,
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

static int mock_pod(void *ctx, const char *pod, const char *name_space, char *ret, size_t size)
{
	(void)ctx;
	(void)snprintf(ret, size, "%s.%s", pod, name_space);
	return 0;
}

static const struct sonde_mal_host mock_host = {.virtual_process = mock_process,
						.pod_service = mock_pod};

/* --- one case --- */

struct vector {
	struct mal_program program;
	struct mal_eval eval;
	struct mal_window *window;
	struct sonde_mal_batch *batch;
	struct mal_expr *exp;
	struct mal_checked checked;
};

static void vector_done(struct vector *v)
{
	mal_program_done(&v->program);
	mal_eval_done(&v->eval);
	mal_window_free(v->window);
	sonde_mal_batch_free(v->batch);
}

static void add_sample(struct sonde_mal_batch *b, const char *name, const json_t *s)
{
	struct sonde_mal_label labels[SONDE_MAL_LABELS_MAX];
	struct sonde_mal_sample sample = {.name = name, .labels = labels};
	json_t *value;
	const char *key;

	json_object_foreach(json_object_get(s, "l"), key, value) labels[sample.n_labels++] =
		(struct sonde_mal_label){key, json_string_value(value)};
	assert_ok(mal_java_double(json_string_value(json_object_get(s, "v")), &sample.value));
	sample.ts_ms = json_integer_value(json_object_get(s, "t"));
	assert_ok(sonde_mal_batch_add(b, &sample));
}

static void fill_batch(struct vector *v, const json_t *scrape)
{
	json_t *family;
	const char *name;

	sonde_mal_batch_reset(v->batch);
	json_object_foreach((json_t *)scrape, name, family) for (size_t i = 0;
								 i < json_array_size(family); i++)
		add_sample(v->batch, name, json_array_get(family, i));
}

/* --- comparison: as unordered sets, values to 1e-9 --- */

static bool same_value(double a, double b)
{
	if (a == b)
		return true;
	return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

static bool same_sample(struct vector *v, const struct mal_sample *s, const json_t *want)
{
	json_t *labels = json_object_get(want, "l");
	const struct mal_strings *strings = v->eval.strings;
	double value;

	assert_ok(mal_java_double(json_string_value(json_object_get(want, "v")), &value));
	if (s->n_labels != json_object_size(labels) || !same_value(s->value, value) ||
	    s->ts_ms != json_integer_value(json_object_get(want, "t")) ||
	    strcmp(mal_strings_text(strings, s->name),
		   json_string_value(json_object_get(want, "n"))) != 0)
		return false;
	for (uint32_t i = 0; i < s->n_labels; i++) {
		const json_t *l =
			json_object_get(labels, mal_strings_text(strings, s->labels[i].key));

		if (!l || strcmp(json_string_value(l),
				 mal_strings_text(strings, s->labels[i].value)) != 0)
			return false;
	}
	return true;
}

static bool same_samples(struct vector *v, const struct mal_sample *s, size_t n, const json_t *want)
{
	bool used[512] = {0};

	if (n != json_array_size(want) || n > 512)
		return false;
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < n && (used[k] || !same_sample(v, &s[i], json_array_get(want, k))))
			k++;
		if (k == n)
			return false;
		used[k] = true;
	}
	return true;
}

static bool same_text(const struct vector *v, uint32_t id, const json_t *want)
{
	const char *text = json_is_string(want) ? json_string_value(want) : "";

	return strcmp(mal_strings_text(v->eval.strings, id), text) == 0;
}

static bool same_entity(struct vector *v, const struct mal_entity_group *g, const json_t *want)
{
	static const char *const sides[] = {"CLIENT", "SERVER", "PROXY"};
	const struct mal_entity *e = &g->entity;
	const char *side = json_string_value(json_object_get(want, "side"));

	if (strcmp(sonde_mal_scope_name(e->scope),
		   json_string_value(json_object_get(want, "scope"))) != 0)
		return false;
	return same_text(v, e->service, json_object_get(want, "service")) &&
	       same_text(v, e->instance, json_object_get(want, "instance")) &&
	       same_text(v, e->endpoint, json_object_get(want, "endpoint")) &&
	       same_text(v, e->process, json_object_get(want, "process")) &&
	       same_text(v, e->source_service, json_object_get(want, "src")) &&
	       same_text(v, e->dest_service, json_object_get(want, "dst")) &&
	       same_text(v, e->source_instance, json_object_get(want, "srci")) &&
	       same_text(v, e->dest_instance, json_object_get(want, "dsti")) &&
	       same_text(v, e->source_process, json_object_get(want, "sp")) &&
	       same_text(v, e->dest_process, json_object_get(want, "dp")) &&
	       same_text(v, e->layer, json_object_get(want, "layer")) &&
	       e->component == json_integer_value(json_object_get(want, "comp")) &&
	       (!side || strcmp(side, sides[e->side]) == 0) &&
	       same_samples(v, g->v, g->n, json_object_get(want, "s"));
}

static bool same_entities(struct vector *v, const struct mal_family *f, const json_t *want)
{
	bool used[512] = {0};

	if (f->n_groups != json_array_size(want) || f->n_groups > 512)
		return false;
	for (size_t i = 0; i < f->n_groups; i++) {
		size_t k = 0;

		while (k < f->n_groups &&
		       (used[k] || !same_entity(v, &f->groups[i], json_array_get(want, k))))
			k++;
		if (k == f->n_groups)
			return false;
		used[k] = true;
	}
	return true;
}

static const char *difference(struct vector *v, int r, const struct mal_family *f,
			      const json_t *want)
{
	if (json_object_get(want, "err"))
		return r < 0 ? NULL : "expected an error";
	if (r < 0)
		return "error";
	if (json_is_true(json_object_get(want, "empty")))
		return f->n == 0 ? NULL : "expected EMPTY";
	if (!same_samples(v, f->v, f->n, json_object_get(want, "s")))
		return "samples";
	return same_entities(v, f, json_object_get(want, "e")) ? NULL : "entities";
}

static const char *difference_of_meta(struct vector *v, const json_t *oracle)
{
	static const char *const ds[] = {"AVG", "SUM", "LATEST", "SUM_PER_MIN", "MAX", "MIN"};
	const char *scope = json_string_value(json_object_get(oracle, "scope"));
	const char *want = json_string_value(json_object_get(oracle, "ds"));
	const json_t *hist = json_object_get(oracle, "hist");

	if (scope && strcmp(scope, sonde_mal_scope_name(v->checked.scope)) != 0)
		return "scope";
	if (want && strcmp(want, ds[v->checked.function.downsampling]) != 0)
		return "downsampling";
	if (hist && json_is_true(hist) != (v->checked.function.kind >= SONDE_MAL_HISTOGRAM))
		return "kind";
	return NULL;
}

static const char *run_scrapes(struct vector *v, const json_t *line)
{
	const json_t *oracle = json_object_get(line, "oracle"),
		     *res = json_object_get(oracle, "res");
	const char *why = difference_of_meta(v, oracle);

	for (size_t i = 0; i < json_array_size(res) && !why; i++) {
		struct mal_family f = {0};
		int r;

		fill_batch(v, json_array_get(json_object_get(line, "scrapes"), i));
		assert_ok(mal_eval_begin(&v->eval, v->batch, &v->program));
		r = mal_eval_expr(&v->eval, v->exp, &f);
		why = difference(v, r, &f, json_array_get(res, i));
		if (why)
			print_message("scrape %zu: %s (%s)\n", i, why, v->eval.message);
	}
	return why;
}

static bool run_case(const json_t *line)
{
	_cleanup_(vector_done) struct vector v = {0};
	const char *id = json_string_value(json_object_get(line, "id"));
	const char *exp = json_string_value(json_object_get(line, "exp")), *why;
	struct mal_error error;
	int r;

	assert_ok(mal_program_init(&v.program));
	assert_ok(mal_eval_init(&v.eval));
	assert_ok(mal_window_new(&v.window));
	assert_ok(sonde_mal_batch_new(&v.batch));
	v.eval.window = v.window;
	v.eval.host = &mock_host;
	r = mal_parse_expr(&v.program, MAL_TEXT_EXP, exp, strlen(exp), &error, &v.exp);
	if (r == 0)
		r = mal_check_text(&v.program, v.exp, &error);
	if (r == 0)
		r = mal_check_rule(&v.program, v.exp, NULL, NULL, &error, &v.checked);
	if (r < 0) {
		print_message("%s: %zu: %s\n", id, error.offset, error.message);
		return false;
	}
	why = run_scrapes(&v, line);
	if (why)
		print_message("%s: differs: %s\n", id, why);
	return !why;
}

/* --- the file --- */

static char *read_vectors(void)
{
	static const char path[] = SONDE_SOURCE_ROOT "/../shared/data/mal/vectors.jsonl.zst";
	_cleanup_free_ uint8_t *packed = malloc(PLAIN_BYTES_MAX);
	FILE *f = fopen(path, "re");
	char *plain;
	size_t n;

	if (!f)
		return NULL;
	assert_non_null(packed);
	n = fread(packed, 1, PLAIN_BYTES_MAX, f);
	(void)fclose(f);
	plain = malloc(PLAIN_BYTES_MAX);
	assert_non_null(plain);
	n = ZSTD_decompress(plain, PLAIN_BYTES_MAX - 1, packed, n);
	assert_false(ZSTD_isError(n));
	plain[n] = 0;
	return plain;
}

static void gives_the_answers_of_oap(void **state)
{
	_cleanup_free_ char *plain = read_vectors();
	char *save = NULL;

	(void)state;
	if (!plain) {
		print_message("../shared/data/mal is not there\n");
		skip();
	}
	for (char *s = strtok_r(plain, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
		json_t *line = json_loads(s, 0, NULL);
		bool network, same;

		assert_non_null(line);
		network = strstr(json_string_value(json_object_get(line, "id")),
				 "network-profiling") != NULL;
		same = run_case(line);
		counts.cases++;
		counts.same += same;
		counts.network += network;
		counts.network_same += network && same;
		json_decref(line);
	}
	print_message("vectors: %u of %u the same, network-profiling: %u of %u\n", counts.same,
		      counts.cases, counts.network_same, counts.network);
	assert_true(counts.network > 0);
	assert_int_equal(counts.same, counts.cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(gives_the_answers_of_oap)};

	return cmocka_run_group_tests_name("mal/vectors", tests, NULL, NULL);
}
