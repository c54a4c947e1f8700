/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples a second through a rule file on one core, as JSON: bench-mal RULES [SECONDS]. A batch is what an
 * agent with 40 peers sends: each single meter of the file once a peer, each histogram with 34 buckets.
 * Filling the batch (interning all text) is part of the time; storing what is emitted is not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "mal/rules.h"
#include "mal/run.h"
#include "mal/sample.h"

#define PEERS 40
#define BUCKETS 34
#define FILE_BYTES (1U << 20)

static int count_points(void *ctx, const struct sonde_mal_emission *e)
{
	*(uint64_t *)ctx += e->n_points;
	return 0;
}

static int fill(struct sonde_mal_batch *b, const struct sonde_mal_rule *rule)
{
	struct sonde_mal_bucket buckets[BUCKETS];
	bool histogram = rule->function.kind >= SONDE_MAL_HISTOGRAM;
	char address[32], port[16];
	int r = 0;

	for (int i = 0; i < BUCKETS; i++)
		buckets[i] = (struct sonde_mal_bucket){.lower_bound = i * 10000.0, .count = i};
	for (int peer = 0; peer < PEERS && r == 0; peer++) {
		const struct sonde_mal_label labels[] = {
			{"side", "server"},	     {"server_process_id", "b5d9a9f3a9f3"},
			{"client_address", address}, {"protocol", "unknown"},
			{"is_ssl", "false"},	     {"server_port", port},
		};
		const struct sonde_mal_meter meter = {
			.name = rule->sources[0],
			.labels = labels,
			.n_labels = ELEMENTS_OF(labels),
			.service = "nginx",
			.instance = "nginx@node",
			.timestamp_ms = 1700000000000,
			.is_histogram = histogram,
			.value = peer + 1.0,
			.buckets = buckets,
			.n_buckets = BUCKETS,
		};

		(void)snprintf(address, sizeof(address), "10.0.%d.%d:%d", peer / 200, peer % 200,
			       40000 + peer);
		(void)snprintf(port, sizeof(port), "%d", 80 + peer % 3);
		r = sonde_mal_batch_add_collection(b, &meter, 1, NULL);
	}
	return r;
}

static int run(const struct sonde_mal_rules *rules, uint64_t limit_ns)
{
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	uint64_t points = 0, samples = 0, start, spent, fill_ns = 0;
	struct sonde_mal_sink sink = {.emit = count_points, .ctx = &points};
	int r;

	r = sonde_mal_engine_new(NULL, &e);
	if (r == 0)
		r = sonde_mal_batch_new(&b);
	start = sonde_mono_ns();
	while (r == 0 && sonde_mono_ns() - start < limit_ns) {
		uint64_t before = sonde_mono_ns();

		sonde_mal_batch_reset(b);
		for (size_t i = 0; i < sonde_mal_rules_count(rules) && r == 0; i++)
			r = fill(b, sonde_mal_rules_get(rules, i));
		fill_ns += sonde_mono_ns() - before;
		if (r == 0)
			r = sonde_mal_engine_run(e, rules, b, SONDE_MAL_MILLISECONDS, &sink, NULL);
		samples += sonde_mal_batch_count(b);
	}
	if (r < 0)
		return sonde_log_err(r, "cannot run the rules");
	spent = sonde_mono_ns() - start;
	printf("{\"rules\":%zu,\"samples_per_second\":%.0f,\"samples_per_second_without_fill\":%.0f,"
	       "\"samples\":%llu,\"points\":%llu,\"ns_per_sample\":%.0f}\n",
	       sonde_mal_rules_count(rules), (double)samples * 1e9 / (double)spent,
	       (double)samples * 1e9 / (double)(spent - fill_ns), (unsigned long long)samples,
	       (unsigned long long)points, (double)spent / (double)samples);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	_cleanup_free_ char *text = malloc(FILE_BYTES);
	uint64_t seconds = 3;
	size_t n;
	FILE *f;
	int r;

	if (argc < 2 || (argc > 2 && sonde_parse_u64(argv[2], 1, 600, &seconds) < 0)) {
		(void)fprintf(stderr, "usage: bench-mal RULES [SECONDS]\n");
		return 2;
	}
	f = fopen(argv[1], "re");
	if (!f || !text)
		return 1;
	n = fread(text, 1, FILE_BYTES, f);
	(void)fclose(f);
	r = sonde_mal_rules_load(argv[1], text, n, (struct sonde_mal_report){0}, &rules);
	if (r != 0)
		return 1;
	return run(rules, seconds * SONDE_NS_PER_S) < 0;
}
