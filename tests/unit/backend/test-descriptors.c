/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/services/descriptors.h"
#include "model/meters.h"
#include "sonde/v1/meter.pb-c.h"
#include "wire/message.h"

static int take(struct sonde_descriptors *d, const char *name, const char *kind, const char *help)
{
	Sonde__V1__MeterDescriptors all = SONDE__V1__METER_DESCRIPTORS__INIT;
	Sonde__V1__MeterDescriptor one = SONDE__V1__METER_DESCRIPTOR__INIT, *list[] = {&one};
	char *labels[] = {sonde_wire_text("reason")}, words[160];
	uint8_t data[4096];
	int r;

	one.name = sonde_wire_text(name);
	one.kind = sonde_wire_text(kind);
	one.help = sonde_wire_text(help);
	one.unit = sonde_wire_text("us");
	one.n_labels = 1;
	one.labels = labels;
	all.version = sonde_wire_text("9.9");
	all.n_meters = 1;
	all.meters = list;
	r = sonde_descriptors_take(d, data, sonde__v1__meter_descriptors__pack(&all, data), words);
	if (r == -EINVAL)
		assert_true(words[0] != '\0');
	return r;
}

static const json_t *find(const json_t *answer, const char *name)
{
	const json_t *list = json_object_get(answer, "meters");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i);

		if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
			return row;
	}
	return NULL;
}

static const char *text(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static void the_servers_own_are_known_without_an_agent(void **state)
{
	_cleanup_(sonde_descriptors_freep) struct sonde_descriptors *d = NULL;
	_cleanup_json_ json_t *answer = NULL;
	const json_t *row;

	assert_ok(sonde_descriptors_new(&d));
	answer = sonde_descriptors_json(d);
	assert_int_equal(json_array_size(json_object_get(answer, "meters")), _SONDE_METER_MAX);
	row = find(answer, "sonde_net_connections_closed_total");
	assert_string_equal(text(row, "kind"), "counter");
	assert_string_equal(json_string_value(json_array_get(json_object_get(row, "labels"), 1)),
			    "kind");
	row = find(answer, "sonde_net_rtt_microseconds");
	assert_string_equal(text(row, "kind"), "histogram");
	assert_string_equal(text(row, "unit"), "us");
	assert_string_equal(text(find(answer, "sonde_net_pacing_rate_bytes"), "unit"),
			    "bytes_per_second");
}

static void what_only_an_agent_has_is_told_beside_them(void **state)
{
	_cleanup_(sonde_descriptors_freep) struct sonde_descriptors *d = NULL;
	_cleanup_json_ json_t *answer = NULL;
	const json_t *row;

	assert_ok(sonde_descriptors_new(&d));
	assert_ok(take(d, "sonde_net_novel_microseconds", "gauge", "first"));
	assert_ok(take(d, "sonde_net_novel_microseconds", "histogram", "later"));
	assert_ok(take(d, "sonde_net_rtt_microseconds", "gauge", "ours is not theirs to change"));
	answer = sonde_descriptors_json(d);
	assert_int_equal(json_array_size(json_object_get(answer, "meters")), _SONDE_METER_MAX + 1);
	row = find(answer, "sonde_net_novel_microseconds");
	assert_string_equal(text(row, "kind"), "histogram");
	assert_string_equal(text(row, "help"), "later");
	assert_string_equal(text(row, "from"), "agent 9.9");
	assert_string_equal(json_string_value(json_array_get(json_object_get(row, "labels"), 0)),
			    "reason");
	assert_string_equal(text(find(answer, "sonde_net_rtt_microseconds"), "kind"), "histogram");
}

static void a_hostile_agent_is_refused_and_bounded(void **state)
{
	_cleanup_(sonde_descriptors_freep) struct sonde_descriptors *d = NULL;
	_cleanup_json_ json_t *answer = NULL;
	char name[200], words[160];

	assert_ok(sonde_descriptors_new(&d));
	assert_err(take(d, "", "gauge", ""), EINVAL);
	assert_err(take(d, "<script>", "gauge", ""), EINVAL);
	assert_err(take(d, "a", "bar", ""), EINVAL);
	assert_err(take(d, "a", "gauge", "\xff is no UTF-8"), EINVAL);
	(void)snprintf(name, sizeof(name), "%0150d", 1);
	assert_err(take(d, name, "gauge", ""), EINVAL);
	assert_err(sonde_descriptors_take(d, (const uint8_t *)"\xff", 1, words), EINVAL);
	for (int i = 0; i < SONDE_DESCRIPTORS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "m%d", i);
		assert_ok(take(d, name, "gauge", ""));
	}
	/* what was told longest ago makes room, not what is told again */
	assert_ok(take(d, "m0", "counter", ""));
	assert_ok(take(d, "one_more", "gauge", ""));
	answer = sonde_descriptors_json(d);
	assert_int_equal(json_array_size(json_object_get(answer, "meters")),
			 _SONDE_METER_MAX + SONDE_DESCRIPTORS_MAX);
	assert_string_equal(text(find(answer, "m0"), "kind"), "counter");
	assert_non_null(find(answer, "one_more"));
	assert_null(find(answer, "m1"));
	assert_non_null(find(answer, "m2"));
}

/* Each is compared with all that are known: a message of a million would hold the loop. */
static void a_message_of_too_many_is_refused_whole(void **state)
{
	_cleanup_(sonde_descriptors_freep) struct sonde_descriptors *d = NULL;
	_cleanup_json_ json_t *answer = NULL;
	static uint8_t data[(SONDE_DESCRIPTORS_MAX + 1) * 16];
	char words[160];
	size_t n = 0;

	for (int i = 0; i <= SONDE_DESCRIPTORS_MAX; i++) { /* meters = 3: {name = 1, kind = 2} */
		static const uint8_t one[] = {0x1a, 10,	 0x0a, 1,   'a', 0x12,
					      5,    'g', 'a',  'u', 'g', 'e'};

		memcpy(data + n, one, sizeof(one));
		n += sizeof(one);
	}
	assert_ok(sonde_descriptors_new(&d));
	assert_err(sonde_descriptors_take(d, data, n, words), EINVAL);
	assert_string_equal(words, "meters: more than 512");
	answer = sonde_descriptors_json(d);
	assert_null(find(answer, "a"));
	assert_ok(sonde_descriptors_take(d, data, n - 12, words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_servers_own_are_known_without_an_agent),
		cmocka_unit_test(what_only_an_agent_has_is_told_beside_them),
		cmocka_unit_test(a_message_of_too_many_is_refused_whole),
		cmocka_unit_test(a_hostile_agent_is_refused_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
