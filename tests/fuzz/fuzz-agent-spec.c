/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend's words: the first byte says whether the rest is an extension's JSON, the JSON of continuous profiling's
 * policies, or a whole Commands message.
 */
#include <stdlib.h>

#include "agent/continuous-policy.h"
#include "agent/spec.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_json(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	char words[SONDE_SPEC_WORDS_MAX] = "";
	int r = sonde_spec_parse_json((const char *)data, size, &s, words);

	if (r == 0 && (s.n_targets == 0 || s.duration_ms <= 0))
		abort();
}

static void try_policies(const uint8_t *data, size_t size)
{
	_cleanup_free_ struct sonde_continuous_policy *list = NULL;
	char words[SONDE_CONTINUOUS_WORDS_MAX] = "";
	size_t n = 0;

	if (sonde_continuous_parse((const char *)data, size, &list, &n, words) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < list[i].n_rules; k++) {
			if (list[i].rules[k].count < 1 ||
			    list[i].rules[k].count > list[i].rules[k].period_s ||
			    list[i].rules[k].period_s > SONDE_CONTINUOUS_PERIOD_MAX_S)
				abort();
		}
	}
}

static void try_commands(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_wire_freep) ProtobufCMessage *m = NULL;
	const Skywalking__V3__Commands *c;

	if (sonde_wire_unpack(&skywalking__v3__commands__descriptor, data, size, NULL, &m) < 0)
		return;
	c = (const Skywalking__V3__Commands *)(const void *)m;
	for (size_t i = 0; i < c->n_commands; i++) {
		_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
		char words[SONDE_SPEC_WORDS_MAX] = "";
		int r = sonde_spec_from_command(c->commands[i], &s, words);

		if (r == 0 && (s.n_targets == 0 || !s.id[0]))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] == 'J')
		try_json(data + 1, size - 1);
	else if (data[0] == 'P')
		try_policies(data + 1, size - 1);
	else
		try_commands(data + 1, size - 1);
	return 0;
}
