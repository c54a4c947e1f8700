/* SPDX-License-Identifier: Apache-2.0 */
/* A rule file: loaded, and its rules run over a collection of the native protocol. */
#include <stdint.h>
#include <stdlib.h>

#include "mal/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void found(void *ctx, const struct sonde_mal_diagnostic *d)
{
	if (d->line == 0 || d->column == 0 || !d->message[0])
		abort();
	*(unsigned *)ctx += 1;
}

static int emit(void *ctx, const struct sonde_mal_emission *e)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a = NULL;
	int r;

	(void)ctx;
	r = sonde_mal_accumulator_new(&e->rule->function, &a);
	return r < 0 ? r : sonde_mal_accumulator_accept(a, e->points, e->n_points);
}

static int fill(struct sonde_mal_batch *b)
{
	const struct sonde_mal_label labels[] = {
		{"side", "client"}, {"client_process_id", "p"}, {"server_address", "::1"}};
	const struct sonde_mal_bucket buckets[] = {{0, 1, false}, {10000, 2, false}, {0, 1, true}};
	const struct sonde_mal_meter meters[] = {
		{"m", labels, 3, "svc", "inst", 1700000000000, false, 4.5, NULL, 0},
		{"h", labels, 3, "svc", "inst", 1700000000000, true, 0, buckets, 3},
	};

	return sonde_mal_batch_add_collection(b, meters, 2, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	struct sonde_mal_sink sink = {.emit = emit};
	unsigned n = 0;
	int r;

	r = sonde_mal_rules_load("fuzz.yaml", (const char *)data, size,
				 (struct sonde_mal_report){found, &n}, &rules);
	if (r < 0)
		return 0;
	if (sonde_mal_engine_new(NULL, &e) < 0 || sonde_mal_batch_new(&b) < 0 || fill(b) < 0)
		return 0;
	r = sonde_mal_engine_run(e, rules, b, SONDE_MAL_MILLISECONDS, &sink, NULL);
	(void)r;
	return 0;
}
