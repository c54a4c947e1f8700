/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "skywalking/v3/meter.pb-c.h"
#include "skywalking/v3/process.pb-c.h"
#include "wire/message.h"

static const ProtobufCMessageDescriptor *const collection =
	&skywalking__v3__meter_data_collection__descriptor;

static int unpack(const ProtobufCMessageDescriptor *d, const struct sonde_buf *b,
		  const struct sonde_wire_limits *limits)
{
	_cleanup_(sonde_wire_freep) ProtobufCMessage *m = NULL;

	return sonde_wire_unpack(d, b->data, b->len, limits, &m);
}

/* One meter named @name in a collection. */
static void pack_meter(const char *name, struct sonde_buf *out)
{
	Skywalking__V3__MeterSingleValue single = SKYWALKING__V3__METER_SINGLE_VALUE__INIT;
	Skywalking__V3__MeterData meter = SKYWALKING__V3__METER_DATA__INIT;
	Skywalking__V3__MeterData *meters[] = {&meter};
	Skywalking__V3__MeterDataCollection all = SKYWALKING__V3__METER_DATA_COLLECTION__INIT;

	single.name = (char *)name;
	single.value = 1.5;
	meter.metric_case = SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE;
	meter.singlevalue = &single;
	meter.service = (char *)"s";
	all.n_meterdata = 1;
	all.meterdata = meters;
	assert_ok(sonde_wire_pack(&all.base, out));
}

static void a_message_comes_back_as_it_was(void **state)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1000);
	_cleanup_(sonde_wire_freep) ProtobufCMessage *m = NULL;
	Skywalking__V3__MeterDataCollection *c;

	pack_meter("bytes", &b);
	assert_ok(sonde_wire_unpack(collection, b.data, b.len, NULL, &m));
	c = (Skywalking__V3__MeterDataCollection *)m;
	assert_int_equal(c->n_meterdata, 1);
	assert_string_equal(c->meterdata[0]->singlevalue->name, "bytes");
	assert_true(c->meterdata[0]->singlevalue->value == 1.5);
}

static void an_empty_message_is_a_message(void **state)
{
	struct sonde_buf none = {0};

	assert_ok(unpack(collection, &none, NULL));
}

static void packing_stops_at_the_buffers_limit(void **state)
{
	_cleanup_buf_ struct sonde_buf small = SONDE_BUF_INIT(4);
	Skywalking__V3__Label label = SKYWALKING__V3__LABEL__INIT;

	label.name = (char *)"ab";
	assert_ok(sonde_wire_pack(&label.base, &small));
	assert_err(sonde_wire_pack(&label.base, &small), EMSGSIZE);
	assert_int_equal(small.len, 4);
}

static void bytes_that_are_no_message_are_refused(void **state)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1000);

	pack_meter("bytes", &b);
	for (size_t n = 1; n < b.len; n++) { /* cut anywhere */
		struct sonde_buf cut = {.data = b.data, .len = n};

		assert_err(unpack(collection, &cut, NULL), EBADMSG);
	}
}

static void two_bytes_each_cannot_take_a_struct_each(void **state)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1 << 20);

	for (int i = 0; i < 100000; i++) /* an empty MeterData */
		assert_ok(sonde_buf_append(&b, "\x0a\x00", 2));
	assert_err(unpack(collection, &b, NULL), EMSGSIZE);
	b.len = 200;
	assert_ok(unpack(collection, &b, NULL));
}

static void unknown_fields_are_bounded_too(void **state)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1 << 20);

	for (int i = 0; i < 100000; i++)
		assert_ok(sonde_buf_append(&b, "\x78\x00", 2)); /* field 15, varint */
	assert_err(unpack(collection, &b, NULL), EMSGSIZE);
}

static void every_string_is_utf8_of_a_bounded_length(void **state)
{
	const struct sonde_wire_limits limits = {.alloc_bytes = 10000, .string_bytes = 5};
	_cleanup_buf_ struct sonde_buf good = SONDE_BUF_INIT(100), bad = SONDE_BUF_INIT(100),
				       longer = SONDE_BUF_INIT(100);

	pack_meter("\xc3\xa4", &good);
	pack_meter("\xc3", &bad);
	pack_meter("abcdef", &longer);
	assert_ok(unpack(collection, &good, &limits));
	assert_err(unpack(collection, &bad, &limits), EILSEQ);
	assert_err(unpack(collection, &longer, &limits), EMSGSIZE);
}

static void strings_in_repeated_fields_are_checked(void **state)
{
	Skywalking__V3__EBPFProcessEntityMetadata m =
		SKYWALKING__V3__EBPFPROCESS_ENTITY_METADATA__INIT;
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(100);
	char *labels[] = {(char *)"fine", (char *)"\xff"};

	m.n_labels = 2;
	m.labels = labels;
	assert_ok(sonde_wire_pack(&m.base, &b));
	assert_err(unpack(&skywalking__v3__ebpfprocess_entity_metadata__descriptor, &b, NULL),
		   EILSEQ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_comes_back_as_it_was),
		cmocka_unit_test(an_empty_message_is_a_message),
		cmocka_unit_test(packing_stops_at_the_buffers_limit),
		cmocka_unit_test(bytes_that_are_no_message_are_refused),
		cmocka_unit_test(two_bytes_each_cannot_take_a_struct_each),
		cmocka_unit_test(unknown_fields_are_bounded_too),
		cmocka_unit_test(every_string_is_utf8_of_a_bounded_length),
		cmocka_unit_test(strings_in_repeated_fields_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
