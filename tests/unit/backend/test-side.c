/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "backend/json.h"
#include "backend/query/side.h"

static void add(struct sonde_side *s, enum sonde_meter m, const char *key, int64_t bucket,
		int64_t value)
{
	struct sonde_labels labels;

	sonde_labels_parse(key, &labels);
	assert_ok(sonde_side_add(s, m, &labels, bucket, value));
}

static void percentiles_are_nearest_rank_lower_bounds(void **state)
{
	_cleanup_(sonde_side_done) struct sonde_side s = {0};

	assert_int_equal(sonde_side_percentile(&s.rtt, 50), -1);
	add(&s, SONDE_METER_RTT, "{}", 100, 2); /* any order of buckets */
	add(&s, SONDE_METER_RTT, "{}", 10, 3);
	add(&s, SONDE_METER_RTT, "{}", 50, 4);
	add(&s, SONDE_METER_RTT, "{}", 50, 1);
	assert_int_equal(sonde_side_count(&s.rtt), 10);
	assert_int_equal(sonde_side_percentile(&s.rtt, 30), 10);
	assert_int_equal(sonde_side_percentile(&s.rtt, 31), 50);
	assert_int_equal(sonde_side_percentile(&s.rtt, 50), 50);
	assert_int_equal(sonde_side_percentile(&s.rtt, 80), 50);
	assert_int_equal(sonde_side_percentile(&s.rtt, 90), 100);
	assert_int_equal(sonde_side_percentile(&s.rtt, 100), 100);
}

static void percentiles_do_not_overflow(void **state)
{
	_cleanup_(sonde_side_done) struct sonde_side s = {0};

	add(&s, SONDE_METER_RTT, "{}", 1, INT64_MAX / 4);
	add(&s, SONDE_METER_RTT, "{}", 2, INT64_MAX / 4);
	assert_int_equal(sonde_side_percentile(&s.rtt, 50), 1);
	assert_int_equal(sonde_side_percentile(&s.rtt, 51), 2);
}

static void counts_end_at_the_largest_number(void **state)
{
	static const enum sonde_meter meters[] = {SONDE_METER_RETRANSMITS, SONDE_METER_SENT_BYTES,
						  SONDE_METER_CONNECTIONS_CLOSED, SONDE_METER_RTT};
	_cleanup_(sonde_side_done) struct sonde_side s = {0};
	_cleanup_json_ json_t *j = NULL;

	for (size_t i = 0; i < 2 * ELEMENTS_OF(meters); i++)
		add(&s, meters[i / 2], "{kind=fast}", 1, INT64_MAX);
	j = sonde_side_json(&s, NULL);
	assert_int_equal(sonde_json_get_int(json_object_get(j, "retransmits"), "fast", 0),
			 INT64_MAX);
	assert_int_equal(sonde_json_get_int(j, "sent_bytes", 0), INT64_MAX);
	assert_int_equal(sonde_json_get_int(json_object_get(j, "rtt_us"), "count", 0), INT64_MAX);
}

static void one_of_one_is_every_percentile(void **state)
{
	_cleanup_(sonde_side_done) struct sonde_side s = {0};

	add(&s, SONDE_METER_RTT, "{}", 40, 1);
	assert_int_equal(sonde_side_percentile(&s.rtt, 1), 40);
	assert_int_equal(sonde_side_percentile(&s.rtt, 99), 40);
}

static void shows_labels_as_the_contract_says(void **state)
{
	_cleanup_(sonde_side_done) struct sonde_side s = {0};
	_cleanup_json_ json_t *j = NULL;
	const json_t *drops, *closes;

	add(&s, SONDE_METER_RETRANSMITS, "{server_port=80,kind=fast}", 0, 2);
	add(&s, SONDE_METER_RETRANSMITS, "{server_port=80,kind=rto}", 0, 1);
	add(&s, SONDE_METER_RECEIVE_DROPPED, "{kind=loss,reason=NETFILTER_DROP,server_port=80}", 0,
	    5);
	add(&s, SONDE_METER_RECEIVE_DROPPED, "{kind=loss,reason=NETFILTER_DROP,server_port=81}", 0,
	    1);
	add(&s, SONDE_METER_TRANSMIT_DROPPED, "{kind=loss,reason=QDISC_DROP}", 0, 7);
	add(&s, SONDE_METER_CONNECTIONS_CLOSED, "{closer=local,kind=fin}", 0, 9);
	add(&s, SONDE_METER_CONNECT_FAILURES, "{errno=ECONNREFUSED}", 0, 3);
	add(&s, SONDE_METER_RTT, "{}", 10, 4);
	add(&s, SONDE_METER_RTT_SUM, "{}", 0, 50);
	j = sonde_side_json(&s, NULL);
	assert_int_equal(sonde_json_get_int(json_object_get(j, "retransmits"), "fast", 0), 2);
	drops = json_object_get(j, "drops");
	assert_int_equal(json_array_size(drops), 2);
	assert_string_equal(sonde_json_get_text(json_array_get(drops, 0), "direction", ""),
			    "receive");
	assert_string_equal(sonde_json_get_text(json_array_get(drops, 0), "reason", ""),
			    "NETFILTER_DROP");
	assert_string_equal(sonde_json_get_text(json_array_get(drops, 0), "class", ""), "loss");
	assert_int_equal(sonde_json_get_int(json_array_get(drops, 0), "segments", 0), 6);
	closes = json_object_get(j, "closes");
	assert_int_equal(sonde_json_get_int(json_array_get(closes, 0), "count", 0), 9);
	assert_int_equal(
		sonde_json_get_int(json_object_get(j, "connect_failures"), "ECONNREFUSED", 0), 3);
	assert_true(json_real_value(json_object_get(json_object_get(j, "rtt_us"), "mean")) == 12.5);
}

static void what_was_not_measured_is_null_with_its_reason_and_never_zero(void **state)
{
	_cleanup_json_ json_t *absent =
		json_pack("[{s:s, s:s}, {s:s, s:s}]", "meter", "sonde_net_retransmits_total",
			  "reason", "hook refused", "meter", "exe_time", "reason", "not requested");
	_cleanup_(sonde_side_done) struct sonde_side s = {0};
	_cleanup_json_ json_t *j = NULL;
	const json_t *why;

	add(&s, SONDE_METER_SENT_BYTES, "{}", 0, 1);
	j = sonde_side_json(&s, absent);
	why = json_object_get(j, "absent");
	assert_true(json_is_null(json_object_get(j, "retransmits")));
	assert_string_equal(sonde_json_get_text(why, "retransmits", ""), "hook refused");
	assert_string_equal(sonde_json_get_text(why, "exe_time", ""), "not requested");
	assert_true(json_is_null(json_object_get(j, "smoothed_rtt_us")));
	assert_string_equal(sonde_json_get_text(why, "smoothed_rtt_us", ""), "no sample");
	/* a counter of 0 is not sent, so what is not absent is 0 */
	assert_true(json_is_integer(json_object_get(j, "received_bytes")));
	assert_int_equal(sonde_json_get_int(json_object_get(j, "rtt_us"), "count", -1), 0);
}

static void calls_have_family_size_and_time(void **state)
{
	_cleanup_json_ json_t *absent =
		json_pack("[{s:s, s:s}]", "meter", "sonde_net_close_time_microseconds", "reason",
			  "not requested");
	_cleanup_(sonde_side_done) struct sonde_side s = {0};
	_cleanup_json_ json_t *j = NULL;
	const json_t *time;

	add(&s, SONDE_METER_WRITE_CALLS_BY_KIND, "{kind=sendmsg}", 0, 3);
	add(&s, SONDE_METER_WRITE_CALLS_BY_KIND, "{kind=write}", 0, 1);
	add(&s, SONDE_METER_WRITE_SIZE, "{}", 1000, 4);
	add(&s, SONDE_METER_WRITE_TIME, "{}", 2, 3);
	add(&s, SONDE_METER_WRITE_TIME, "{}", 50, 1);
	add(&s, SONDE_METER_WRITE_TIME_SUM, "{}", 0, 58000); /* ns */
	add(&s, SONDE_METER_LOCAL_CONNECT_FAILURES, "{errno=ENETUNREACH}", 0, 2);
	j = sonde_side_json(&s, absent);
	assert_int_equal(
		sonde_json_get_int(json_object_get(j, "write_calls_by_kind"), "sendmsg", 0), 3);
	assert_int_equal(sonde_json_get_int(json_object_get(j, "write_size_bytes"), "p50", 0),
			 1000);
	time = json_object_get(j, "write_time_us");
	assert_int_equal(sonde_json_get_int(time, "count", 0), 4);
	assert_int_equal(sonde_json_get_int(time, "p50", 0), 2);
	assert_int_equal(sonde_json_get_int(time, "p99", 0), 50);
	assert_true(json_real_value(json_object_get(time, "mean")) == 14.5); /* us */
	assert_int_equal(
		sonde_json_get_int(json_object_get(j, "local_connect_failures"), "ENETUNREACH", 0),
		2);
	assert_int_equal(sonde_json_get_int(json_object_get(j, "read_time_us"), "count", -1), 0);
	assert_true(json_is_null(json_object_get(j, "close_time_us")));
	assert_string_equal(sonde_json_get_text(json_object_get(j, "absent"), "close_time_us", ""),
			    "not requested");
}

static void a_side_without_a_target_is_null(void **state)
{
	const struct sonde_side s = {0};
	_cleanup_json_ json_t *j = sonde_side_json(&s, NULL);

	assert_true(json_is_null(j));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(percentiles_are_nearest_rank_lower_bounds),
		cmocka_unit_test(percentiles_do_not_overflow),
		cmocka_unit_test(counts_end_at_the_largest_number),
		cmocka_unit_test(one_of_one_is_every_percentile),
		cmocka_unit_test(shows_labels_as_the_contract_says),
		cmocka_unit_test(what_was_not_measured_is_null_with_its_reason_and_never_zero),
		cmocka_unit_test(calls_have_family_size_and_time),
		cmocka_unit_test(a_side_without_a_target_is_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
