/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers of OAP's own engine for its own rules, from ../shared/data/mal/vectors.jsonl.zst beside the
 * source tree (read in place, never copied), asked of the built `sonde mal eval --vectors`. Skipped where the
 * folder is not there.
 */
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>
#include <zstd.h>

#include "mal-test.h"
#include "mal/check.h"
#include "mal/javatext.h"
#include "mal/parser.h"
#include "mal/rules.h"
#include "mal/vector.h"
#include "sonde-test.h"

#define PLAIN_BYTES_MAX (64U << 20)

/* --- comparison: samples and entities as unordered sets, values to 1e-9 --- */

static bool same_value(const json_t *got, const json_t *want)
{
	double a, b;

	assert_ok(mal_java_double(json_string_value(got), &a));
	assert_ok(mal_java_double(json_string_value(want), &b));
	return a == b || fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

static bool same_sample(const json_t *got, const json_t *want)
{
	static const char *const exact[] = {"l", "t", "n"};

	for (size_t i = 0; i < ELEMENTS_OF(exact); i++)
		if (!json_equal(json_object_get(got, exact[i]), json_object_get(want, exact[i])))
			return false;
	return same_value(json_object_get(got, "v"), json_object_get(want, "v"));
}

static bool same_set(const json_t *got, const json_t *want,
		     bool (*same)(const json_t *got, const json_t *want))
{
	_cleanup_free_ bool *used = NULL;
	size_t n = json_array_size(got);

	if (!json_is_array(got) || n != json_array_size(want))
		return false;
	used = calloc(n + 1, sizeof(*used));
	assert_non_null(used);
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < n && (used[k] || !same(json_array_get(got, i), json_array_get(want, k))))
			k++;
		if (k == n)
			return false;
		used[k] = true;
	}
	return true;
}

static bool same_entity(const json_t *got, const json_t *want)
{
	static const char *const exact[] = {"scope", "service", "instance", "endpoint", "process",
					    "src",   "dst",	"srci",	    "dsti",	"sp",
					    "dp",    "comp",	"layer",    "side"};

	static const char *const if_told[] = {"props", "attrs"};

	for (size_t i = 0; i < ELEMENTS_OF(exact); i++)
		if (!json_equal(json_object_get(got, exact[i]), json_object_get(want, exact[i])))
			return false;
	for (size_t i = 0; i < ELEMENTS_OF(if_told); i++) /* the shared vectors do not tell them */
		if (json_object_get(want, if_told[i]) &&
		    !json_equal(json_object_get(got, if_told[i]),
				json_object_get(want, if_told[i])))
			return false;
	return same_set(json_object_get(got, "s"), json_object_get(want, "s"), same_sample);
}

/* NULL: the same. */
static const char *difference(const json_t *got, const json_t *want)
{
	if (json_object_get(want, "err"))
		return json_object_get(got, "err") ? NULL : "an error";
	if (json_object_get(got, "err"))
		return json_string_value(json_object_get(got, "err"));
	if (json_is_true(json_object_get(want, "empty")))
		return json_is_true(json_object_get(got, "empty")) ? NULL : "the EMPTY family";
	if (!same_set(json_object_get(got, "s"), json_object_get(want, "s"), same_sample))
		return "samples";
	return same_set(json_object_get(got, "e"), json_object_get(want, "e"), same_entity)
		       ? NULL
		       : "entities";
}

static bool same_answer(const json_t *got, const json_t *asked)
{
	const json_t *want = json_object_get(json_object_get(asked, "oracle"), "res"),
		     *res = json_object_get(got, "res"), *id = json_object_get(asked, "id");
	bool same = json_equal(id, json_object_get(got, "id")) &&
		    json_array_size(res) == json_array_size(want);

	for (size_t i = 0; same && i < json_array_size(want); i++) {
		const char *why = difference(json_array_get(res, i), json_array_get(want, i));

		if (why)
			print_message("%s: scrape %zu: expected as OAP: %s\n",
				      json_string_value(id), i, why);
		same = !why;
	}
	return same;
}

/* --- what is known of a rule before it runs: scope and storage function --- */

/* NULL: the same. */
static const char *difference_of_meta(enum sonde_mal_scope scope,
				      const struct sonde_mal_function *function,
				      const json_t *oracle)
{
	static const char *const ds[] = {"AVG", "SUM", "LATEST", "SUM_PER_MIN", "MAX", "MIN"};
	const char *want_scope = json_string_value(json_object_get(oracle, "scope")),
		   *want_ds = json_string_value(json_object_get(oracle, "ds"));
	const json_t *hist = json_object_get(oracle, "hist");
	bool is_histogram = function->kind >= SONDE_MAL_HISTOGRAM;

	_Static_assert(ELEMENTS_OF(ds) == _SONDE_MAL_DOWNSAMPLING_MAX, "OAP's word for each");
	if (!want_scope || strcmp(want_scope, sonde_mal_scope_name(scope)) != 0)
		return "scope";
	if (!want_ds || strcmp(want_ds, ds[function->downsampling]) != 0)
		return "downsampling";
	return json_is_boolean(hist) && json_is_true(hist) == is_histogram ? NULL : "kind";
}

static bool same_meta(const json_t *asked)
{
	const char *exp = json_string_value(json_object_get(asked, "exp"));
	struct mal_program program;
	struct mal_checked checked;
	struct mal_error error;
	struct mal_expr *e;
	const char *why;

	assert_ok(mal_program_init(&program));
	assert_ok(mal_parse_expr(&program, MAL_TEXT_EXP, exp, strlen(exp), &error, &e));
	assert_ok(mal_check_text(&program, e, &error));
	assert_ok(mal_check_rule(&program, e, NULL, NULL, &error, &checked));
	why = difference_of_meta(checked.scope, &checked.function,
				 json_object_get(asked, "oracle"));
	if (why)
		print_message("%s: expected as OAP: %s\n",
			      json_string_value(json_object_get(asked, "id")), why);
	mal_program_done(&program);
	return !why;
}

/* A file and its rules, kept for the next vector: those of one file come together. */
struct rule_file {
	char *name;		       /* owned */
	struct sonde_mal_rules *rules; /* owned */
};

static void load_rules(struct rule_file *file, const char *name)
{
	_cleanup_free_ char *path = NULL, *text = NULL;

	if (file->name && strcmp(file->name, name) == 0)
		return;
	free(file->name);
	file->name = strdup(name);
	file->rules = sonde_mal_rules_free(file->rules);
	assert_true(asprintf(&path, "%s/../shared/data/mal/rules/%s", SONDE_SOURCE_ROOT, name) > 0);
	text = test_read(path);
	assert_non_null(text);
	file->rules = test_rules(text);
}

/* By its name without the file's prefix, as an id of a vector has it. */
static const struct sonde_mal_rule *find_rule(const struct sonde_mal_rules *rules, const char *name)
{
	const struct sonde_mal_rule *found = NULL;

	for (size_t i = 0; i < sonde_mal_rules_count(rules); i++) {
		const struct sonde_mal_rule *rule = sonde_mal_rules_get(rules, i);
		size_t len = strlen(rule->metric), n = strlen(name);

		if (len <= n || rule->metric[len - n - 1] != '_' ||
		    strcmp(rule->metric + len - n, name) != 0)
			continue;
		/* the prefix is the same for all: of those that end so, the shortest is the name itself */
		if (!found || len < strlen(found->metric))
			found = rule;
	}
	return found;
}

/* The same of the rule as its file gives it: with prefix, suffix and all. @asked: "id" is "FILE:RULE#NUMBER". */
static bool same_rule(struct rule_file *file, const json_t *asked)
{
	_cleanup_free_ char *id = strdup(json_string_value(json_object_get(asked, "id")));
	char *name = strchr(id, ':'), *number = strrchr(id, '#');
	const struct sonde_mal_rule *first;
	const char *why = NULL;

	assert_true(name && number && name < number);
	*name++ = *number = '\0';
	load_rules(file, id);
	first = find_rule(file->rules, name);
	assert_non_null(first);
	/* where two rules feed one metric, OAP has the same for both */
	for (size_t i = 0; first && !why && i < sonde_mal_rules_count(file->rules); i++) {
		const struct sonde_mal_rule *rule = sonde_mal_rules_get(file->rules, i);

		if (strcmp(rule->metric, first->metric) == 0)
			why = difference_of_meta(rule->scope, &rule->function,
						 json_object_get(asked, "oracle"));
	}
	if (why)
		print_message("%s: %s: expected as OAP: %s\n", id, name, why);
	return !why;
}

/* --- the file and the program --- */

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

static FILE *temporary(const char *text)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_ok(fflush(f));
	rewind(f);
	return f;
}

/* What `sonde mal eval --vectors` answers to @text; the caller closes it. */
static FILE *ask(const char *text)
{
	static char program[] = SONDE_PROGRAM, mal[] = "mal", eval[] = "eval", flag[] = "--vectors";
	char *argv[] = {program, mal, eval, flag, NULL};
	FILE *in = temporary(text), *out = temporary("");
	posix_spawn_file_actions_t actions;
	int status;
	pid_t pid;

	assert_ok(posix_spawn_file_actions_init(&actions));
	assert_ok(posix_spawn_file_actions_adddup2(&actions, fileno(in), STDIN_FILENO));
	assert_ok(posix_spawn_file_actions_adddup2(&actions, fileno(out), STDOUT_FILENO));
	assert_ok(posix_spawn(&pid, program, &actions, NULL, argv, environ));
	(void)posix_spawn_file_actions_destroy(&actions);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)fclose(in);
	rewind(out);
	return out;
}

static void gives_the_answers_of_oap(void **state)
{
	_cleanup_free_ char *plain = read_vectors();
	unsigned int cases = 0, same = 0, network = 0, network_same = 0;
	char *save = NULL;
	FILE *answers;

	(void)state;
	if (!plain) {
		print_message("../shared/data/mal is not there\n");
		skip();
	}
	answers = ask(plain);
	for (char *s = strtok_r(plain, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
		json_t *asked = json_loads(s, 0, NULL);
		json_t *got = json_loadf(answers, JSON_DISABLE_EOF_CHECK, NULL);
		bool is_network, is_same;

		assert_non_null(asked);
		assert_non_null(got);
		is_network = strstr(json_string_value(json_object_get(asked, "id")),
				    "network-profiling") != NULL;
		is_same = same_answer(got, asked) && same_meta(asked);
		cases++;
		same += is_same;
		network += is_network;
		network_same += is_network && is_same;
		json_decref(asked);
		json_decref(got);
	}
	(void)fclose(answers);
	print_message("vectors: %u equal of %u, network-profiling: %u of %u\n", same, cases,
		      network_same, network);
	assert_true(cases > 0 && network > 0);
	assert_int_equal(network_same, network);
	assert_int_equal(same, cases);
}

/* What each rule of a file is to OAP's compiler; that a text alone gives the same is not enough. */
static void gives_each_rule_the_scope_and_function_of_oap(void **state)
{
	_cleanup_free_ char *plain = read_vectors();
	struct rule_file file = {0};
	size_t cases = 0, same = 0;
	char *save = NULL;

	(void)state;
	if (!plain)
		skip();
	for (char *s = strtok_r(plain, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
		json_t *asked = json_loads(s, 0, NULL);

		assert_non_null(asked);
		cases++;
		same += same_rule(&file, asked);
		json_decref(asked);
	}
	free(file.name);
	(void)sonde_mal_rules_free(file.rules);
	print_message("rules: %zu equal of %zu\n", same, cases);
	assert_true(cases > 0);
	assert_int_equal(same, cases);
}

/*
 * What the shipped rules do not show: each function, operator and closure construct at its edges, and the order
 * of many groups. tests/data/mal/edges.jsonl has our inputs and the answers of OAP's engine, run at 5839d2a.
 */
static void gives_the_answers_of_oap_at_the_edges(void **state)
{
	FILE *f = fopen(SONDE_SOURCE_ROOT "/tests/data/mal/edges.jsonl", "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0, cases = 0, same = 0;
	ssize_t n;

	(void)state;
	assert_non_null(f);
	while ((n = getline(&line, &cap, f)) > 0) {
		_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_MAL_ANSWER_BYTES);
		json_t *asked = json_loadb(line, (size_t)n, 0, NULL), *got;
		bool is_same;

		assert_non_null(asked);
		assert_ok(sonde_mal_vector_answer(line, (size_t)n, &out));
		got = json_loadb(sonde_buf_str(&out), out.len, 0, NULL);
		assert_non_null(got);
		is_same = same_answer(got, asked);
		if (!is_same)
			print_message("%s\n%s\n", json_string_value(json_object_get(asked, "exp")),
				      sonde_buf_str(&out));
		cases++;
		same += is_same;
		json_decref(asked);
		json_decref(got);
	}
	(void)fclose(f);
	print_message("edges: %zu equal of %zu\n", same, cases);
	assert_true(cases > 100);
	assert_int_equal(same, cases);
}

/* --- the form of the lines --- */

static void expect_answer(const char *line, const char *want)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_MAL_ANSWER_BYTES);

	assert_ok(sonde_mal_vector_answer(line, strlen(line), &out));
	assert_string_equal(sonde_buf_str(&out), want);
}

static void answers_every_line(void **state)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_MAL_ANSWER_BYTES);
	_cleanup_free_ char *big = calloc(1, SONDE_MAL_VECTOR_BYTES + 1);

	(void)state;
	expect_answer(
		"x",
		"{\"id\":null,\"err\":\"no JSON object: byte 1: '[' or '{' expected near 'x'\"}\n");
	expect_answer(
		"{\"id\":7}",
		"{\"id\":7,\"err\":\"expected an object with the text exp and the list scrapes\"}\n");
	expect_answer(
		"[]",
		"{\"id\":null,\"err\":\"expected an object with the text exp and the list scrapes\"}\n");
	expect_answer(
		"{\"id\":\"a\",\"exp\":\"m.sum(['a']).service(['a'],Layer.MESH)\",\"scrapes\":[{},{\"m\":[]}]}",
		"{\"id\":\"a\",\"res\":[{\"empty\":true},{\"empty\":true}]}\n");
	expect_answer(
		"{\"id\":\"a\",\"exp\":\"m.tag({tags -> tags.b = tags.c}).service(['a'],Layer.MESH)\",\"scrapes\":"
		"[{\"m\":[{\"l\":{\"a\":\"x\"},\"v\":\"1\",\"t\":5}]}]}",
		"{\"id\":\"a\",\"res\":[{\"err\":\"label 'b' was set to null\"}]}\n");
	assert_non_null(big);
	assert_ok(sonde_mal_vector_answer(big, SONDE_MAL_VECTOR_BYTES + 1, &out));
	assert_string_equal(sonde_buf_str(&out),
			    "{\"id\":null,\"err\":\"a line longer than 8 MiB\"}\n");
}

static void refuses_samples_that_are_none(void **state)
{
	static const char *const samples[] = {"5",
					      "{\"v\":true}",
					      "{\"v\":\"+Inf\"}",
					      "{\"v\":\"1\",\"t\":\"x\"}",
					      "{\"v\":\"1\",\"l\":{\"a\":null}}",
					      "{\"v\":\"1\",\"l\":[]}"};

	(void)state;
	for (size_t i = 0; i < ELEMENTS_OF(samples); i++) {
		_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_MAL_ANSWER_BYTES);
		char line[512];

		(void)snprintf(
			line, sizeof(line),
			"{\"id\":1,\"exp\":\"m.service(['a'],Layer.MESH)\",\"scrapes\":[{\"m\":[%s]},{}]}",
			samples[i]);
		assert_ok(sonde_mal_vector_answer(line, strlen(line), &out));
		assert_non_null(
			strstr(sonde_buf_str(&out), "{\"id\":1,\"res\":[{\"err\":\"expected"));
		assert_non_null(strstr(sonde_buf_str(&out), "},{\"empty\":true}]}"));
	}
}

static void the_program_goes_on_after_a_bad_line(void **state)
{
	_cleanup_free_ char *text = malloc(SONDE_MAL_VECTOR_BYTES + 4096);
	FILE *answers;
	char line[256];

	(void)state;
	assert_non_null(text);
	memset(text, 'x', SONDE_MAL_VECTOR_BYTES + 1);
	(void)snprintf(
		text + SONDE_MAL_VECTOR_BYTES + 1, 4000,
		"\n}\n{\"id\":\"last\",\"exp\":\"m.service(['a'],Layer.MESH)\",\"scrapes\":[{}]}");
	answers = ask(text);
	assert_non_null(fgets(line, sizeof(line), answers));
	assert_string_equal(line, "{\"id\":null,\"err\":\"a line longer than 8 MiB\"}\n");
	assert_non_null(fgets(line, sizeof(line), answers));
	assert_non_null(strstr(line, "{\"id\":null,\"err\":"));
	assert_non_null(fgets(line, sizeof(line), answers));
	assert_string_equal(line, "{\"id\":\"last\",\"res\":[{\"empty\":true}]}\n");
	assert_null(fgets(line, sizeof(line), answers));
	(void)fclose(answers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_answers_of_oap),
		cmocka_unit_test(gives_each_rule_the_scope_and_function_of_oap),
		cmocka_unit_test(gives_the_answers_of_oap_at_the_edges),
		cmocka_unit_test(answers_every_line),
		cmocka_unit_test(refuses_samples_that_are_none),
		cmocka_unit_test(the_program_goes_on_after_a_bad_line),
	};

	return cmocka_run_group_tests_name("mal/vectors", tests, NULL, NULL);
}
