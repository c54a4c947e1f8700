/* SPDX-License-Identifier: Apache-2.0 */
/* The rule files of mal/: they load, they are complete, and the SkyWalking set gives what OAP's own file gives. */
#include <dirent.h>
#include <ftw.h>

#include "mal-test.h"

#define SHARED SONDE_SOURCE_ROOT "/../shared/data/mal/rules/"

static struct sonde_mal_rules *load_file(const char *path)
{
	_cleanup_free_ char *text = test_read(path);

	return text ? test_rules(text) : NULL;
}

/* --- mal/sonde-network*.yaml against src/model/meters.def --- */

enum meter_kind {
	COUNTER,
	GAUGE,
	HISTOGRAM
};

static const struct {
	const char *name;
	enum meter_kind kind;
	const char *labels;
} meters[] = {
#define SONDE_METER(id, name, kind, signal, labels, source, help) {name, kind, labels},
#include "model/meters.def"
#undef SONDE_METER
};

static void check_labels(const struct sonde_mal_rule *rule, const char *labels)
{
	bool udp = strncmp(rule->metric, "sonde_net_udp_", strlen("sonde_net_udp_")) == 0;
	char want[256], have[256] = "";

	(void)snprintf(want, sizeof(want), "role,%sserver_port%s%s", udp ? "protocol," : "",
		       labels[0] ? "," : "", labels);
	for (size_t i = 0; i < rule->n_labels; i++) {
		if (strcmp(rule->labels[i], "le") == 0)
			continue;
		(void)strncat(have, have[0] ? "," : "", sizeof(have) - strlen(have) - 1);
		(void)strncat(have, rule->labels[i], sizeof(have) - strlen(have) - 1);
	}
	assert_string_equal(have, want);
}

static void check_meter(const struct sonde_mal_rule *rule, enum meter_kind kind, const char *labels)
{
	assert_int_equal(rule->scope, SONDE_MAL_SCOPE_PROCESS_RELATION);
	assert_int_equal(rule->n_sources, 1);
	assert_string_equal(rule->sources[0], rule->metric);
	check_labels(rule, labels);
	if (kind == HISTOGRAM) {
		assert_int_equal(rule->function.kind, SONDE_MAL_HISTOGRAM_PERCENTILE);
		assert_int_equal(rule->function.downsampling, SONDE_MAL_SUM);
		assert_int_equal(rule->function.n_ranks, 3);
		return;
	}
	assert_int_equal(rule->function.kind, SONDE_MAL_LABELED);
	if (kind == COUNTER)
		assert_int_equal(rule->function.downsampling, SONDE_MAL_SUM);
	else
		assert_int_not_equal(rule->function.downsampling, SONDE_MAL_SUM);
}

static void every_meter_has_its_rule_and_no_rule_lacks_a_meter(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules =
		load_file(SONDE_SOURCE_ROOT "/mal/sonde-network.yaml");
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *latest =
		load_file(SONDE_SOURCE_ROOT "/mal/sonde-network-latest.yaml");

	assert_non_null(rules);
	assert_non_null(latest);
	for (size_t i = 0; i < ELEMENTS_OF(meters); i++) {
		const struct sonde_mal_rule *rule = sonde_mal_rules_find(rules, meters[i].name);

		if (!rule)
			rule = sonde_mal_rules_find(latest, meters[i].name);
		if (!rule)
			print_message("no rule for %s\n", meters[i].name);
		assert_non_null(rule);
		if (!rule) /* the analyzer does not know that this ends the test */
			return;
		check_meter(rule, meters[i].kind, meters[i].labels);
	}
	assert_int_equal(sonde_mal_rules_count(rules) + sonde_mal_rules_count(latest),
			 ELEMENTS_OF(meters));
}

/* OAP before 10.4.0 has no such function and does not start with a file that asks for it. */
static void every_oap_has_the_functions_of_all_but_one_file(void **state)
{
	static const char *const files[] = {SONDE_SOURCE_ROOT "/mal/network-profiling.yaml",
					    SONDE_SOURCE_ROOT "/mal/sonde-network.yaml"};

	for (size_t f = 0; f < ELEMENTS_OF(files); f++) {
		_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules =
			load_file(files[f]);

		assert_non_null(rules);
		for (size_t i = 0; i < sonde_mal_rules_count(rules); i++)
			assert_int_not_equal(sonde_mal_rules_get(rules, i)->function.downsampling,
					     SONDE_MAL_LATEST);
	}
}

static void an_address_is_a_node_of_its_own(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules =
		load_file(SONDE_SOURCE_ROOT "/mal/sonde-network.yaml");
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	char ids[3][SONDE_MAL_PROCESS_ID_SIZE];
	char want[512];

	assert_ok(sonde_mal_process_id("10.0.0.1", "s", "i", ids[0]));
	assert_ok(sonde_mal_process_id("10.0.0.2", "s", "i", ids[1]));
	assert_ok(sonde_mal_process_id("other", "s", "i", ids[2]));
	assert_ok(sonde_mal_batch_new(&b));
	test_add(
		b, "sonde_net_sent_bytes_total",
		"service=s,instance=i,side=server,server_process_id=me,client_address=10.0.0.1,server_port=80",
		7, 1);
	test_add(
		b, "sonde_net_sent_bytes_total",
		"service=s,instance=i,side=server,server_process_id=me,client_address=10.0.0.2,server_port=80",
		8, 1);
	test_add(
		b, "sonde_net_sent_bytes_total",
		"service=s,instance=i,side=server,server_process_id=me,client_address=10.0.0.2,server_port=81",
		9, 1);
	test_add(b, "sonde_net_sent_bytes_total",
		 "service=s,instance=i,side=server,server_process_id=me", 1, 1);
	test_run(NULL, rules, b, &out);
	(void)snprintf(want, sizeof(want), " %.8s>me 1.110 {role=server,server_port=80}0=7\n",
		       ids[0]);
	assert_non_null(strstr(sonde_buf_str(&out), want));
	(void)snprintf(
		want, sizeof(want),
		" %.8s>me 1.110 {role=server,server_port=80}0=8 {role=server,server_port=81}0=9\n",
		ids[1]);
	if (!strstr(sonde_buf_str(&out), want))
		(void)snprintf(
			want, sizeof(want),
			" %.8s>me 1.110 {role=server,server_port=81}0=9 {role=server,server_port=80}0=8\n",
			ids[1]);
	assert_non_null(strstr(sonde_buf_str(&out), want));
	(void)snprintf(want, sizeof(want), " %.8s>me 1.110 {role=server,server_port=}0=1\n",
		       ids[2]);
	assert_non_null(strstr(sonde_buf_str(&out), want));
}

/* --- mal/network-profiling.yaml against OAP's --- */

/* Deterministic: the same samples in each run. */
static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

static void add_random(struct sonde_mal_batch *b, const char *name, uint32_t *seed)
{
	static const char *const client[] = {"client_process_id=p1",
					     "client_process_id=p2",
					     "client_local=true",
					     "client_address=10.0.0.1:80",
					     "client_address=::1:9",
					     "client_process_id=",
					     "client_local=false,client_address=x"};
	static const char *const server[] = {"server_process_id=p1", "server_process_id=p3",
					     "server_local=true", "server_address=10.0.0.1:80"};
	static const char *const rest[] = {"", ",protocol=http,is_ssl=true",
					   ",protocol=http,is_ssl=false",
					   ",protocol=unknown,is_ssl=true", ",is_ssl=false"};
	static const char *const bounds[] = {"0.0", "10000.0", "50000.0", "1.0E7"};
	char labels[512];

	(void)snprintf(
		labels, sizeof(labels), "service=s,instance=i%u,side=%s,%s,%s,code=%u,le=%s%s",
		next(seed) % 2, next(seed) % 2 ? "client" : "server",
		client[next(seed) % ELEMENTS_OF(client)], server[next(seed) % ELEMENTS_OF(server)],
		200 + next(seed) % 3, bounds[next(seed) % ELEMENTS_OF(bounds)],
		rest[next(seed) % ELEMENTS_OF(rest)]);
	test_add(b, name, labels, (double)(next(seed) % 1000) / 4, 1700000000000);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines in order: neither the rules nor the entities have one that matters. */
static char *sorted(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	char *lines[16384], *save = NULL;
	size_t n = 0;

	for (char *p = strtok_r(copy, "\n", &save); p && n < ELEMENTS_OF(lines);
	     p = strtok_r(NULL, "\n", &save))
		lines[n++] = p;
	qsort(lines, n, sizeof(*lines), by_text);
	for (size_t i = 0; i < n; i++)
		assert_ok(sonde_buf_printf(&out, "%s\n", lines[i]));
	return strdup(sonde_buf_str(&out));
}

static void network_profiling_gives_what_oaps_file_gives(void **state)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *ours = NULL, *oaps = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_buf_ struct sonde_buf a = SONDE_BUF_INIT(TEST_TEXT_BYTES),
				       c = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	_cleanup_free_ char *x = NULL, *y = NULL;
	uint32_t seed = 1;

	ours = load_file(SONDE_SOURCE_ROOT "/mal/network-profiling.yaml");
	assert_non_null(ours);
	assert_int_equal(sonde_mal_rules_count(ours), 42);
	oaps = load_file(SHARED "meter-analyzer-config/network-profiling.yaml");
	if (!oaps)
		skip();
	assert_ok(sonde_mal_batch_new(&b));
	for (size_t i = 0; i < sonde_mal_rules_count(oaps); i++) {
		const struct sonde_mal_rule *theirs = sonde_mal_rules_get(oaps, i);
		const struct sonde_mal_rule *rule = sonde_mal_rules_find(ours, theirs->metric);

		assert_non_null(rule);
		assert_int_equal(rule->scope, theirs->scope);
		assert_memory_equal(&rule->function, &theirs->function, sizeof(rule->function));
		for (int k = 0; k < 40; k++)
			add_random(b, theirs->sources[0], &seed);
	}
	assert_int_equal(sonde_mal_rules_count(oaps), sonde_mal_rules_count(ours));
	test_run(NULL, ours, b, &a);
	test_run(NULL, oaps, b, &c);
	x = sorted(sonde_buf_str(&a));
	y = sorted(sonde_buf_str(&c));
	assert_true(strlen(x) > 10000);
	assert_string_equal(x, y);
}

/* --- all files that OAP ships --- */

static const struct {
	const char *name;
	unsigned rules;
} functions[] = {
	{"avg", 815},	   {"avgLabeled", 527},	    {"avgHistogramPercentile", 59},
	{"sum", 21},	   {"sumPerMin", 17},	    {"sumHistogramPercentile", 14},
	{"max", 6},	   {"sumLabeled", 4},	    {"latest", 3},
	{"maxLabeled", 2}, {"sumPerMinLabeled", 1},
};

static struct {
	unsigned files, rules;
	unsigned of[ELEMENTS_OF(functions)];
} shipped;

static void count_functions(const struct sonde_mal_rules *rules)
{
	for (size_t i = 0; i < sonde_mal_rules_count(rules); i++) {
		char name[48];

		sonde_mal_function_name(&sonde_mal_rules_get(rules, i)->function, name);
		for (size_t f = 0; f < ELEMENTS_OF(functions); f++)
			shipped.of[f] += strcmp(functions[f].name, name) == 0;
	}
}

static int load_shipped(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	size_t len = strlen(path);

	(void)st;
	(void)ftw;
	if (type != FTW_F || len < 5 || strcmp(path + len - 5, ".yaml") != 0)
		return 0;
	rules = load_file(path);
	if (!rules)
		print_message("in %s\n", path);
	shipped.files++;
	shipped.rules += (unsigned)sonde_mal_rules_count(rules);
	count_functions(rules);
	return 0;
}

static void every_file_that_oap_ships_loads_without_a_finding(void **state)
{
	if (nftw(SHARED, load_shipped, 8, FTW_PHYS) < 0)
		skip();
	print_message("%u files, %u rules\n", shipped.files, shipped.rules);
	assert_int_equal(shipped.files, 90);
	assert_int_equal(shipped.rules, 1469);
	/* the storage functions that OAP's own compiler gave these rules */
	for (size_t i = 0; i < ELEMENTS_OF(functions); i++) {
		if (shipped.of[i] != functions[i].rules)
			print_message("%s: %u rules\n", functions[i].name, shipped.of[i]);
		assert_int_equal(shipped.of[i], functions[i].rules);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_meter_has_its_rule_and_no_rule_lacks_a_meter),
		cmocka_unit_test(every_oap_has_the_functions_of_all_but_one_file),
		cmocka_unit_test(an_address_is_a_node_of_its_own),
		cmocka_unit_test(network_profiling_gives_what_oaps_file_gives),
		cmocka_unit_test(every_file_that_oap_ships_loads_without_a_finding),
	};

	return cmocka_run_group_tests_name("mal/rule-files", tests, NULL, NULL);
}
