/* SPDX-License-Identifier: Apache-2.0 */
/* A backend's words: the first byte says whether the rest is an extension's JSON or a whole Commands message. */
#include <stdlib.h>

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
	else
		try_commands(data + 1, size - 1);
	return 0;
}
