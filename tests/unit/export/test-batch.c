/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "export/batch.h"
#include "skywalking/v3/meter.pb-c.h"

/* Of a batch of these messages, "" is none. */
static uint64_t hash_of(const char *first, const char *second)
{
	struct sonde_batch b = SONDE_BATCH_INIT(0);
	const char *const text[] = {first, second};
	uint64_t hash;

	for (size_t i = 0; i < 2; i++) {
		if (!text[i][0])
			continue;
		b.messages[b.n] = SONDE_BUF_INIT(SONDE_BATCH_COLLECTION_MAX);
		assert_ok(sonde_buf_append(&b.messages[b.n++], text[i], strlen(text[i])));
	}
	hash = sonde_batch_hash(&b);
	sonde_batch_done(&b);
	return hash;
}

/* One report sent twice is told by it, and no two that differ are taken for one. */
static void the_hash_tells_reports_apart(void **state)
{
	assert_true(hash_of("abc", "def") == hash_of("abc", "def"));
	assert_true(hash_of("abc", "def") != hash_of("abd", "def"));
	assert_true(hash_of("abc", "def") != hash_of("def", "abc"));
	assert_true(hash_of("abc", "def") != hash_of("abcd", "ef"));
	assert_true(hash_of("abc", "def") != hash_of("abcdef", ""));
}

/* What protobuf-c makes of what was written is, serialised again, the same bytes. */
static void messages_are_as_protobuf_has_them(void **state)
{
	static const struct sonde_batch_bucket buckets[] = {
		{0, 0}, {10, 300}, {0, 1}, {5e6, 1LL << 40}, {1.5, -1}};
	struct sonde_batch b = SONDE_BATCH_INIT(1795294695070);
	Skywalking__V3__MeterDataCollection *c;
	struct sonde_batch_labels labels = {0};
	Skywalking__V3__MeterHistogram *h;
	uint8_t again[4096];
	char text[200];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	sonde_batch_begin(&b, "service", "instance");
	assert_ok(sonde_batch_single(&b, "bare", &labels, 0));
	assert_ok(sonde_batch_labels_add(&labels, "short", "a"));
	assert_ok(sonde_batch_labels_add(&labels, "long", text));
	assert_ok(sonde_batch_single(&b, "value", &labels, 0.0625));
	assert_ok(sonde_batch_histogram(&b, "histogram", &labels, buckets, ELEMENTS_OF(buckets)));

	assert_int_equal(b.n, 1);
	assert_int_equal(b.meters, 3);
	c = skywalking__v3__meter_data_collection__unpack(NULL, b.messages[0].len,
							  b.messages[0].data);
	assert_non_null(c);
	assert_int_equal(c->n_meterdata, 3);
	assert_string_equal(c->meterdata[0]->service, "service");
	assert_string_equal(c->meterdata[0]->serviceinstance, "instance");
	assert_int_equal(c->meterdata[0]->timestamp, 1795294695070);
	assert_string_equal(c->meterdata[0]->singlevalue->name, "bare");
	assert_int_equal(c->meterdata[0]->singlevalue->n_labels, 0);
	assert_true(c->meterdata[1]->singlevalue->value == 0.0625);
	assert_int_equal(c->meterdata[1]->singlevalue->n_labels, 2);
	assert_string_equal(c->meterdata[1]->singlevalue->labels[0]->name, "short");
	assert_string_equal(c->meterdata[1]->singlevalue->labels[1]->value, text);
	h = c->meterdata[2]->histogram;
	assert_int_equal(h->n_labels, 2);
	assert_int_equal(h->n_values, ELEMENTS_OF(buckets));
	for (size_t i = 0; i < ELEMENTS_OF(buckets); i++) {
		assert_true(h->values[i]->bucket == buckets[i].lower);
		assert_true(h->values[i]->count == buckets[i].count);
	}
	assert_int_equal(skywalking__v3__meter_data_collection__get_packed_size(c),
			 b.messages[0].len);
	(void)skywalking__v3__meter_data_collection__pack(c, again);
	assert_memory_equal(again, b.messages[0].data, b.messages[0].len);
	skywalking__v3__meter_data_collection__free_unpacked(c, NULL);
	sonde_batch_done(&b);
}

static void labels_are_bounded_and_stand_once(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	struct sonde_batch_labels l = {0};
	char text[SONDE_BATCH_LABELS_BYTES];

	_Static_assert(ELEMENTS_OF(names) == SONDE_BATCH_LABELS_MAX, "as many as there may be");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_ok(sonde_batch_labels_add(&l, "a", "1"));
	assert_err(sonde_batch_labels_add(&l, "a", "2"), EINVAL);
	assert_err(sonde_batch_labels_add(&l, "b", text), ENOSPC);
	assert_int_equal(l.n, 1);
	for (size_t i = 1; i < ELEMENTS_OF(names); i++)
		assert_ok(sonde_batch_labels_add(&l, names[i], "1"));
	assert_err(sonde_batch_labels_add(&l, "i", "1"), ENOSPC);
	/* What is cut off makes room. */
	sonde_batch_labels_cut(&l, 1);
	assert_ok(sonde_batch_labels_add(&l, "b", "1"));
	text[sizeof(l.bytes) - 2 * l.label[0].end - 12] = '\0';
	assert_ok(sonde_batch_labels_add(&l, "c", text));
	assert_true(l.label[2].end <= sizeof(l.bytes));
	assert_err(sonde_batch_labels_add(&l, "d", "1"), ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hash_tells_reports_apart),
		cmocka_unit_test(messages_are_as_protobuf_has_them),
		cmocka_unit_test(labels_are_bounded_and_stand_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
